"""`ram-ray plan`: counts, time and cost of a run before anything is spent."""

import dataclasses
import json
from typing import Annotated

import typer

from ram_ray import exit_codes
from ram_ray.cli import flags

_ESTIMATE = "What it will take"
_PLANNED = {"sample", "machine_price", "get_price", "put_price"}

Source = Annotated[str, typer.Argument(help="A folder, or s3://bucket/prefix.", show_default=False)]
Output = Annotated[
    str, typer.Argument(help="Folder or s3:// prefix of the results.", show_default=False)
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


def plan(
    context: typer.Context,
    source: Source,
    output: Output,
    sample: SampleSize = 64,
    machine_price: Annotated[float | None, _price("one hour of a machine like this")] = None,
    get_price: Annotated[float | None, _price("1,000 GET requests")] = None,
    put_price: Annotated[float | None, _price("1,000 PUT, COPY and LIST requests")] = None,
    model: flags.Model = None,
    tags: flags.Tags = None,
    descriptions: flags.Descriptions = None,
    text_encoder: flags.TextEncoder = None,
    threshold: flags.Threshold = None,
    top_k: flags.TopK = None,
    score_floor: flags.ScoreFloor = None,
    caption: flags.Caption = None,
    caption_tags: flags.CaptionTags = None,
    max_error_rate: flags.MaxErrorRate = None,
    include: flags.Include = None,
    exclude: flags.Exclude = None,
    endpoint_url: flags.EndpointUrl = None,
    region: flags.Region = None,
    anonymous: flags.Anonymous = None,
    orientation: flags.Orientation = None,
    shard_rows: flags.ShardRows = None,
    batch_size: flags.BatchSize = None,
    device: flags.Device = None,
    precision: flags.Precision = None,
    num_decoders: flags.NumDecoders = None,
    config: flags.ConfigFile = None,
    settings: flags.Settings = None,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Count the images of SOURCE and say what tagging them takes; options as of `ram-ray tag`.

    The plan is written to OUTPUT; `ram-ray tag` with the same options goes on from it.
    """
    with exit_codes.exit_on_error(debug=debug):
        from ram_ray.console import terminal
        from ram_ray.console.progress import show_progress
        from ram_ray.options import merge_settings
        from ram_ray.tagging.config import tag_config
        from ram_ray.tagging.planning.estimate import Prices
        from ram_ray.tagging.planning.pipeline import plan_bucket

        given = flags.given_settings(context.params)
        given = {name: value for name, value in given.items() if name not in _PLANNED}
        merged = merge_settings(given, config_file=config, settings=settings or ())
        prices = Prices(
            machine_per_hour=machine_price, get_per_1000=get_price, put_per_1000=put_price
        )
        loaded = tag_config(merged)
        with show_progress() as on_progress:
            report = plan_bucket(loaded, sample=sample, prices=prices, on_progress=on_progress)
        if as_json:
            print(json.dumps(dataclasses.asdict(report)))
        else:
            terminal.print_plan(report)
