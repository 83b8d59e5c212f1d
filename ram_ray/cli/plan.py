"""`ram-ray plan`: counts, time and cost of a run before anything is spent."""

import dataclasses
from typing import Annotated

import typer

from ram_ray.cli import flags
from ram_ray.cli.flags import Given, command, fields_of
from ram_ray.console.json_output import print_json
from ram_ray.options import merge_settings
from ram_ray.tagging.config import TagConfig, tag_config

_ESTIMATE = "What it will take"
_ONLY_OF_RUNS = {"num_taggers", "gpus_per_tagger", "address"}
_FLAGS = {
    panel: " ".join(name for name in names.split() if name not in _ONLY_OF_RUNS)
    for panel, names in flags.TAG.items()
}

Source = Annotated[
    str | None,
    typer.Argument(help="A folder, s3://bucket/prefix, tar, table or list.", show_default=False),
]
Output = Annotated[
    str | None, typer.Argument(help="Folder or s3:// prefix of the results.", show_default=False)
]
SampleSize = Annotated[
    int,
    typer.Option(
        min=0, rich_help_panel=_ESTIMATE, help="Images to try on this machine; 0: only count."
    ),
]


def _price(of: str) -> typer.models.OptionInfo:
    return typer.Option(
        min=0, metavar="X", rich_help_panel=_ESTIMATE, help=f"Price of {of}.", show_default=False
    )


@command
def plan(
    *,
    source: Source = None,
    output: Output = None,
    sample: SampleSize = 64,
    machine_price: Annotated[float | None, _price("one hour of a machine like this")] = None,
    get_price: Annotated[float | None, _price("1,000 GET requests")] = None,
    put_price: Annotated[float | None, _price("1,000 PUT, COPY and LIST requests")] = None,
    given: Annotated[Given, fields_of(TagConfig, _FLAGS)],
    config: flags.ConfigFile = None,
    settings: flags.Settings = None,
    as_json: flags.Json = False,
) -> None:
    """Count the images of SOURCE and say what tagging them takes; options as of `ram-ray tag`.

    The plan is written to OUTPUT; `ram-ray tag` with the same options goes on from it.
    """
    from ram_ray.console.progress import show_progress
    from ram_ray.tagging import terminal
    from ram_ray.tagging.forecast.estimate import Prices
    from ram_ray.tagging.forecast.pipeline import plan_bucket

    asked = {**flags.named(source=source, output=output), **given}
    merged = merge_settings(asked, config_file=config, settings=settings or ())
    prices = Prices(machine_per_hour=machine_price, get_per_1000=get_price, put_per_1000=put_price)
    loaded = tag_config(merged)
    with show_progress() as on_progress:
        report = plan_bucket(loaded, sample=sample, prices=prices, on_progress=on_progress)
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        terminal.print_plan(report)
