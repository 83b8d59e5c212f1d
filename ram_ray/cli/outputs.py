"""`ram-ray rethreshold` and `ram-ray export`: what a finished run is turned into."""

import dataclasses
from typing import Annotated

import typer

from ram_ray.cli import flags
from ram_ray.cli.flags import command
from ram_ray.console.json_output import print_json


@command
def rethreshold(
    *,
    output: flags.ExistingOutput,
    target: Annotated[str, typer.Argument(help="Another folder or s3:// prefix to write to.")],
    threshold: Annotated[
        str,
        typer.Option(metavar="X|FILE", help="One for all tags, or a file with one a line."),
    ],
    store: flags.Store,
    as_json: flags.Json = False,
) -> None:
    """Write TARGET/tags with the tags of OUTPUT above new thresholds; the images are not read.

    The run must have kept its scores: `ram-ray tag SOURCE OUTPUT --score-floor 0`.
    """
    from ram_ray.options import parse_threshold, read_threshold_file
    from ram_ray.tagging.outputs import rethresholding

    given = parse_threshold(threshold)
    file = given.get("threshold_file")
    thresholds = read_threshold_file(str(file)) if file else float(str(given["threshold"]))
    report = rethresholding.rethreshold(output, target, thresholds, store)
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        print(
            f"{report.images:,} images keep {report.tags_after:,} of {report.tags_before:,} "
            f"tags: {target}/tags"
        )


@command
def export(
    *,
    output: flags.ExistingOutput,
    file: Annotated[str, typer.Argument(help="FILE.parquet, .jsonl, .csv or .json (COCO).")],
    store: flags.Store,
) -> None:
    """Write the tags of a finished run into one local file; its suffix tells the format."""
    from ram_ray.tagging.outputs import exports

    count = exports.export(output, file, store)
    print(f"{count:,} images: {file}")
