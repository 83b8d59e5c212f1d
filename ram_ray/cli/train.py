"""`ram-ray train`: a configuration, or a model with new tags and a folder of data."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from ram_ray import exit_codes
from ram_ray.cli import flags

_WHAT, _HOW, _RESOURCES = "What", "How", "Resources"


def _option(*names: str, help: str, panel: str, metavar: str | None = None) -> object:
    return typer.Option(
        *names, help=help, rich_help_panel=panel, metavar=metavar, show_default=False
    )


ConfigOrData = Annotated[
    str | None,
    typer.Argument(
        help="CONFIG.yaml, or the data: a folder, tar, Parquet file or s3:// prefix of images.",
        show_default=False,
    ),
]
Output = Annotated[
    str | None, _option("--output", metavar="RUN", panel=_WHAT, help="Run folder; resumed.")
]
Labels = Annotated[
    str | None,
    _option("--labels", metavar="PATH", panel=_WHAT, help="Tags per image: .parquet or .jsonl."),
]
Captions = Annotated[
    str | None,
    _option("--captions", metavar="PATH", panel=_WHAT, help="Captions, parsed into tags."),
]
VocabularyFile = Annotated[
    str | None, _option("--vocabulary", metavar="FILE", panel=_WHAT, help="The tags to learn.")
]
From = Annotated[
    str | None,
    _option("--from", metavar="MODEL", panel=_WHAT, help="Start from this model or folder."),
]
Tags = Annotated[
    str | None,
    _option("--tags", metavar="A,B|FILE", panel=_WHAT, help="With --from: tags to add."),
]
TagMode = Annotated[
    str | None,
    _option("--tag-mode", metavar="add|replace", panel=_WHAT, help="`replace`: only these tags."),
]
Trains = Annotated[
    str | None,
    _option(
        "--trains",
        metavar="all|decoder|labels",
        panel=_HOW,
        help="`decoder`: only the new tags' labels; scores of all others stay as they are.",
    ),
]
Epochs = Annotated[int | None, _option("--epochs", panel=_HOW, help="Passes over the data (5).")]
BatchSize = Annotated[
    int | None,
    _option("--batch-size", panel=_HOW, help="Images per step over all workers (256)."),
]
LearningRate = Annotated[
    float | None, _option("--learning-rate", panel=_HOW, help="Peak of the schedule (1e-4).")
]
ImageSize = Annotated[
    int | None, _option("--image-size", metavar="PX", panel=_HOW, help="Side of the input.")
]
MinWorkers = Annotated[
    int | None, _option("--min-workers", panel=_RESOURCES, help="Fewest training processes (1).")
]
MaxWorkers = Annotated[
    int | None,
    _option("--max-workers", panel=_RESOURCES, help="Most of them, as the cluster has room (1)."),
]


def train(
    context: typer.Context,
    config_or_data: ConfigOrData = None,
    output: Output = None,
    labels: Labels = None,
    captions: Captions = None,
    vocabulary: VocabularyFile = None,
    from_model: From = None,
    tags: Tags = None,
    tag_mode: TagMode = None,
    trains: Trains = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    image_size_px: ImageSize = None,
    min_workers: MinWorkers = None,
    max_workers: MaxWorkers = None,
    device: flags.Device = None,
    endpoint_url: flags.EndpointUrl = None,
    region: flags.Region = None,
    anonymous: flags.Anonymous = None,
    address: flags.Address = None,
    settings: flags.Settings = None,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Train a model on tags or captions; a run that was stopped goes on where it was.

    The result is RUN/model: `ram-ray tag PHOTOS OUTPUT --model RUN/model`.
    """
    with exit_codes.exit_on_error(debug=debug):
        from ram_ray.options import build_config, merge_settings
        from ram_ray.training.config import TrainConfig
        from ram_ray.training.pipeline import train as run

        given = flags.given_settings(context.params)
        named = given.pop("config_or_data", None)
        is_file = str(named).endswith((".yaml", ".yml"))
        if named is not None and not is_file:
            given["data"] = named
        merged = merge_settings(
            given, config_file=str(named) if is_file else None, settings=settings or ()
        )
        result = run(build_config(TrainConfig, merged), on_progress=None if as_json else _show)
        facts = dataclasses.asdict(result)
        if as_json:
            print(json.dumps(facts))
        else:
            _print_result(facts)


def _show(line: dict) -> None:
    losses = {k: v for k, v in line.items() if isinstance(v, float) and k != "images_per_s"}
    shown = "  ".join(f"{name} {value:.4g}" for name, value in losses.items())
    typer.echo(
        f"step {line['step']:,}  epoch {line['epoch']}  {shown}  "
        f"{line['images_per_s']:.1f} images/s",
        err=True,
    )


def _print_result(facts: dict) -> None:
    for remark in facts["remarks"][:20]:
        typer.echo(remark, err=True)
    print(
        f"{facts['steps']:,} steps on {facts['samples']:,} images"
        + (f" ({facts['unlabelled']:,} without a label left out)" if facts["unlabelled"] else "")
    )
    if len(facts["attempts"]) > 1:
        print(
            f"Workers started {len(facts['attempts'])} times; {facts['recomputed_steps']:,} steps "
            "were done again."
        )
    print(f"Model: {facts['model']}")
    print(f"Losses: {Path(facts['output']) / 'loss.svg'}")
