"""`ram-ray status`, `rethreshold` and `export`: what is told and made of a run."""

import dataclasses
from typing import Annotated

import typer

from ram_ray.cli import flags
from ram_ray.cli.flags import command
from ram_ray.console.json_output import print_json
from ram_ray.tagging.exports.forms import Form


@command
def status(
    *,
    output: flags.ExistingOutput,
    store: flags.Store,
    as_json: flags.Json = False,
) -> None:
    """Say how far a run is, from its files: while it runs, from another terminal or machine.

    Example: `ram-ray status s3://my-bucket/tags`.
    """
    from ram_ray.tagging import terminal
    from ram_ray.tagging.outputs.status import read_status

    found = read_status(output, store)
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        terminal.print_status(found)


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
    file: Annotated[
        str,
        typer.Argument(help="FILE.parquet, .jsonl, .csv, .json (COCO); or what --as needs."),
    ],
    form: Annotated[
        Form | None,
        typer.Option("--as", help="Another form; xmp, kohya, imagefolder, webdataset: a folder."),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(metavar="X", help="Only tags with a score above X.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="kohya, imagefolder: also files that exist.")
    ] = False,
    store: flags.Store,
    as_json: flags.Json = False,
) -> None:
    """Write the tags of a finished run in the form that another tool reads.

    Example: `ram-ray export run tags.csv`; into the photos' own folder: `export run photos --as
    xmp`.
    """
    from ram_ray.tagging.exports.pipeline import export as write

    report = write(output, file, store, form=form, min_score=min_score, replace=replace)
    if as_json:
        print_json(dataclasses.asdict(report))
        return
    print(f"{report.images:,} images: {file}")
    for reason, count in report.left_out.items():
        print(f"{count:,} images left out: they {reason}.")
