"""The `ram-ray` command: thin; each command calls one function that Python users call too.

Nothing heavy is imported before a command runs: `ram-ray --help` must answer at once.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from ram_ray import __version__, exit_codes
from ram_ray.cli import engine, evaluation, flags, labels, model, outputs
from ram_ray.cli.flags import Given, command, fields_of
from ram_ray.cli.plan import plan
from ram_ray.cli.retry import retry
from ram_ray.cli.serve import serve
from ram_ray.cli.train import train
from ram_ray.console.json_output import print_json
from ram_ray.options import merge_settings
from ram_ray.tagging.config import TagConfig, tag_config

app = typer.Typer(
    name="ram-ray",
    help="Recognize anything in your images: tags for a photo, a folder or a bucket.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; ends the process with the exit code."""
    app(prog_name="ram-ray")


@command
def tag(
    *,
    source: Annotated[
        str | None,
        typer.Argument(
            help="A photo, a folder, s3://bucket/prefix, or a tar, table or list of images.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Argument(
            help="Folder or s3:// prefix of the results. Left out: tags of one photo are printed.",
            show_default=False,
        ),
    ] = None,
    given: Annotated[Given, fields_of(TagConfig, flags.TAG)],
    config: flags.ConfigFile = None,
    settings: flags.Settings = None,
    as_json: flags.Json = False,
) -> int:
    """Tag a folder or a bucket into OUTPUT; or print the tags of one photo."""
    named = flags.named(source=source, output=output)
    merged = merge_settings({**named, **given}, config_file=config, settings=settings or ())
    if "output" in merged:
        return _tag_bucket(tag_config(merged), as_json=as_json)
    return _tag_photo(merged, as_json=as_json)


@command
def demo(
    output: Annotated[
        str, typer.Argument(help="Folder of the demo; a second demo starts it afresh.")
    ] = "demo-out",
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page with the photos instead.")
    ] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 8000,
) -> int:
    """Tag a small bucket of real photos on this machine, offline, and write a report."""
    if serve:
        from ram_ray.demo.page import serve_demo

        serve_demo(Path(output), port)
        return exit_codes.DONE
    from ram_ray.demo import run_demo

    return run_demo(Path(output))


@command
def verify(
    *,
    output: flags.ExistingOutput,
    store: flags.Store,
    as_json: flags.Json = False,
) -> int:
    """Recount OUTPUT from its files: every planned image exactly once, tagged or quarantined."""
    from ram_ray.tagging import terminal
    from ram_ray.tagging.outputs.verification import verify_output

    report = verify_output(output, store)
    if as_json:
        print_json(dataclasses.asdict(report) | {"ok": report.ok})
    else:
        terminal.print_verification(report)
    return exit_codes.DONE if report.ok else exit_codes.INCOMPLETE


@command
def report(
    *,
    output: flags.ExistingOutput,
    max_images: Annotated[int, typer.Option(min=1, help="Pictures on the page.")] = 120,
    store: flags.Store,
) -> None:
    """Write OUTPUT/report.html: pictures with their tags, and what was quarantined."""
    from ram_ray.tagging.outputs.contact_sheet import write_contact_sheet

    print(write_contact_sheet(output, store, max_images=max_images))


@command
def doctor(
    *,
    bucket: Annotated[
        str | None,
        typer.Option(help="Also check this s3://bucket/prefix: list, read, write, create once."),
    ] = None,
    store: flags.Store,
) -> int:
    """Check what works on this machine, and say what to do about what does not."""
    from ram_ray.cli.doctor import print_check, run_checks

    all_work = True
    for check in run_checks(bucket=bucket, store=store):
        print_check(check)
        all_work = all_work and check.status != "fail"
    return exit_codes.DONE if all_work else exit_codes.FAILED_CHECK


# In the order of `ram-ray --help`: a run, what is made of it, models.
for one in (
    tag,
    plan,
    outputs.status,
    verify,
    retry,
    report,
    outputs.rethreshold,
    outputs.export,
    demo,
):
    app.command()(one)
for one in (evaluation.evaluate, evaluation.calibrate, train, serve, doctor):
    app.command()(one)
app.add_typer(labels.app, name="labels")
app.add_typer(engine.app, name="engine")
app.add_typer(model.app, name="model")


def _show_version(show: bool) -> None:
    if show:
        print(f"ram-ray {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
    ] = False,
) -> None:
    pass


def _tag_bucket(config: TagConfig, *, as_json: bool) -> int:
    from ram_ray.console.progress import show_progress
    from ram_ray.tagging import terminal
    from ram_ray.tagging.pipeline import tag_bucket

    with show_progress() as on_progress:
        summary = tag_bucket(config, on_progress=on_progress)
    if as_json:
        print_json(dataclasses.asdict(summary))
    else:
        terminal.print_summary(summary)
    return exit_codes.of_run(summary.error_rate, config.max_error_rate)


def _tag_photo(settings: dict[str, object], *, as_json: bool) -> int:
    from ram_ray.tagging import terminal
    from ram_ray.tagging.photo import tag_photo

    photo = tag_photo(**settings)
    if as_json:
        print_json(dataclasses.asdict(photo))
    else:
        terminal.print_photo(photo)
    return exit_codes.DONE
