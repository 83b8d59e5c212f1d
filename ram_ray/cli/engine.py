"""`ram-ray engine`: captions in, clean labels out, and why every label is what it is."""

from typing import Annotated

import typer

from ram_ray import exit_codes
from ram_ray.cli import flags

app = typer.Typer(
    help="The data engine: clean training labels from photos with captions.", no_args_is_help=True
)

_RUN_HELP = "OUTPUT of `engine run`, or OUTPUT@REVISION."
Run = Annotated[str, typer.Argument(metavar="RUN", help=_RUN_HELP, show_default=False)]


@app.command()
def run(
    config: Annotated[
        str | None,
        typer.Argument(metavar="[CONFIG]", help="YAML file of settings (docs/data-engine.md)."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Folder or s3:// prefix of images, or of tars."),
    ] = None,
    captions: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Captions, where they do not lie in SOURCE."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Folder or s3:// prefix; resumed when it is there."),
    ] = None,
    from_step: Annotated[
        str | None,
        typer.Option(metavar="STEP", help="Start here; the steps before must be done."),
    ] = None,
    only: Annotated[str | None, typer.Option(metavar="STEP", help="Do this step alone.")] = None,
    settings: flags.Settings = None,
    endpoint_url: flags.EndpointUrl = None,
    region: flags.Region = None,
    anonymous: flags.Anonymous = None,
    address: flags.Address = None,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Clean the labels of photos with captions, step by step, and write a report."""
    with exit_codes.exit_on_error(debug=debug):
        import dataclasses
        import json

        from ram_ray.data_engine.config import engine_config
        from ram_ray.data_engine.engine import run as run_engine
        from ram_ray.data_engine.terminal import print_result, step_progress

        given = {"source": source, "captions": captions, "output": output, "address": address}
        given |= {"store.endpoint_url": endpoint_url, "store.region": region}
        given |= {"store.anonymous": anonymous}
        named = {name: value for name, value in given.items() if value is not None}
        loaded = engine_config(named, config_file=config, settings=settings or ())
        with step_progress() as on_progress:
            result = run_engine(loaded, from_step=from_step, only=only, on_progress=on_progress)
        if as_json:
            print(json.dumps(dataclasses.asdict(result)))
        else:
            print_result(result)
        code = exit_codes.of_run(result.error_rate, loaded.max_error_rate)
    raise typer.Exit(code)


@app.command()
def explain(
    run: Run,
    image_id: Annotated[str, typer.Argument(help="Id of an image, or its file name.")],
    endpoint_url: flags.EndpointUrl = None,
    region: flags.Region = None,
    anonymous: flags.Anonymous = None,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Say what was decided about every tag of an image, by which rule, on what evidence."""
    with exit_codes.exit_on_error(debug=debug):
        import dataclasses
        import json

        from ram_ray.data_engine.explain import explain_image
        from ram_ray.data_engine.terminal import print_explanation

        store = flags.store_config(endpoint_url, region, anonymous)
        found = explain_image(run, image_id, store)
        if as_json:
            print(json.dumps(dataclasses.asdict(found), ensure_ascii=False))
        else:
            print_explanation(found)


@app.command()
def diff(
    run_a: Run,
    run_b: Run,
    endpoint_url: flags.EndpointUrl = None,
    region: flags.Region = None,
    anonymous: flags.Anonymous = None,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Compare the labels of two runs, or of two revisions of one (OUTPUT@1 OUTPUT@2)."""
    with exit_codes.exit_on_error(debug=debug):
        import dataclasses
        import json

        from ram_ray.data_engine.explain import diff_runs
        from ram_ray.data_engine.terminal import print_diff

        found = diff_runs(run_a, run_b, flags.store_config(endpoint_url, region, anonymous))
        if as_json:
            print(json.dumps(dataclasses.asdict(found), ensure_ascii=False))
        else:
            print_diff(found)


@app.command()
def undo(
    run: Run,
    rule: Annotated[str, typer.Argument(help="Rule to take back, such as improbable.")],
    endpoint_url: flags.EndpointUrl = None,
    region: flags.Region = None,
    anonymous: flags.Anonymous = None,
    address: flags.Address = None,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Take a rule back: a new revision without its decisions; all other labels stay."""
    with exit_codes.exit_on_error(debug=debug):
        import dataclasses
        import json

        from ram_ray.data_engine.terminal import print_undo, step_progress
        from ram_ray.data_engine.undo import undo_rule

        store = flags.store_config(endpoint_url, region, anonymous)
        with step_progress() as on_progress:
            result = undo_rule(run, rule, store=store, address=address, on_progress=on_progress)
        if as_json:
            print(json.dumps(dataclasses.asdict(result)))
        else:
            print_undo(result)
