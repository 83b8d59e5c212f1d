"""`ram-ray engine`: captions in, clean labels out, and why every label is what it is."""

from typing import Annotated

import typer

from ram_ray import exit_codes
from ram_ray.cli import flags
from ram_ray.cli.flags import Given, command, fields_of
from ram_ray.config import OnCluster
from ram_ray.console.json_output import print_json
from ram_ray.data_engine.config import EngineConfig, engine_config

app = typer.Typer(
    help="The data engine: clean training labels from photos with captions.", no_args_is_help=True
)

_RUN_HELP = "OUTPUT of `engine run`, or OUTPUT@REVISION."
Run = Annotated[str, typer.Argument(metavar="RUN", help=_RUN_HELP, show_default=False)]

_WHERE = {
    "Which images": "store.endpoint_url store.region store.anonymous",
    "Resources": "address",
}


@app.command()
@command
def run(
    *,
    config: Annotated[
        str | None,
        typer.Argument(metavar="[CONFIG]", help="YAML file of settings (docs/data-engine.md)."),
    ] = None,
    paths: Annotated[Given, fields_of(EngineConfig, {None: "source captions output columns"})],
    from_step: Annotated[
        str | None,
        typer.Option(metavar="STEP", help="Start here; the steps before must be done."),
    ] = None,
    only: Annotated[str | None, typer.Option(metavar="STEP", help="Do this step alone.")] = None,
    settings: flags.Settings = None,
    where: Annotated[Given, fields_of(EngineConfig, _WHERE)],
    as_json: flags.Json = False,
) -> int:
    """Clean the labels of photos with captions, step by step, and write a report."""
    import dataclasses

    from ram_ray.data_engine.engine import run as run_engine
    from ram_ray.data_engine.terminal import print_result, step_progress

    given = {**paths, **where}
    loaded = engine_config(given, config_file=config, settings=settings or ())
    with step_progress() as on_progress:
        result = run_engine(loaded, from_step=from_step, only=only, on_progress=on_progress)
    if as_json:
        print_json(dataclasses.asdict(result))
    else:
        print_result(result)
    return exit_codes.of_run(result.error_rate, loaded.max_error_rate)


@app.command()
@command
def explain(
    *,
    run: Run,
    image_id: Annotated[str, typer.Argument(help="Id of an image, or its file name.")],
    store: flags.Store,
    as_json: flags.Json = False,
) -> None:
    """Say what was decided about every tag of an image, by which rule, on what evidence."""
    import dataclasses

    from ram_ray.data_engine.explain import explain_image
    from ram_ray.data_engine.terminal import print_explanation

    found = explain_image(run, image_id, store)
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        print_explanation(found)


@app.command()
@command
def diff(
    *,
    run_a: Run,
    run_b: Run,
    store: flags.Store,
    as_json: flags.Json = False,
) -> None:
    """Compare the labels of two runs, or of two revisions of one (OUTPUT@1 OUTPUT@2)."""
    import dataclasses

    from ram_ray.data_engine.explain import diff_runs
    from ram_ray.data_engine.terminal import print_diff

    found = diff_runs(run_a, run_b, store)
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        print_diff(found)


@app.command()
@command
def undo(
    *,
    run: Run,
    rule: Annotated[str, typer.Argument(help="Rule to take back, such as improbable.")],
    store: flags.Store,
    where: Annotated[OnCluster, fields_of(OnCluster, {"Resources": "address"})],
    as_json: flags.Json = False,
) -> None:
    """Take a rule back: a new revision without its decisions; all other labels stay."""
    import dataclasses

    from ram_ray.data_engine.terminal import print_undo, step_progress
    from ram_ray.data_engine.undo import undo_rule

    with step_progress() as on_progress:
        result = undo_rule(run, rule, store=store, address=where.address, on_progress=on_progress)
    if as_json:
        print_json(dataclasses.asdict(result))
    else:
        print_undo(result)
