"""`ram-ray train`: a configuration, or a model with new tags and a folder of data."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from ram_ray.cli import flags
from ram_ray.cli.flags import Given, command, fields_of
from ram_ray.console.json_output import print_json
from ram_ray.options import build_config, merge_settings
from ram_ray.training.config import TrainConfig

_FLAGS = {
    "What": "output labels captions columns vocabulary from_model tags tag_mode",
    "How": "trains epochs batch_size learning_rate image_size_px",
    "Resources": "min_workers max_workers device address",
    "Which images": "store.endpoint_url store.region store.anonymous",
}

MAX_REMARKS = 20
"""Printed; JSON has them all."""

ConfigOrData = Annotated[
    str | None,
    typer.Argument(
        help="CONFIG.yaml, or the data: a folder, tar, Parquet file or s3:// prefix of images.",
        show_default=False,
    ),
]


@command
def train(
    *,
    config_or_data: ConfigOrData = None,
    given: Annotated[Given, fields_of(TrainConfig, _FLAGS)],
    settings: flags.Settings = None,
    as_json: flags.Json = False,
) -> None:
    """Train a model on tags or captions; a run that was stopped goes on where it was.

    The result is RUN/model: `ram-ray tag PHOTOS OUTPUT --model RUN/model`.
    """
    from ram_ray.training.pipeline import train as run

    is_file = config_or_data is not None and config_or_data.endswith((".yaml", ".yml"))
    config_file = config_or_data if is_file else None
    asked = given if is_file else {**flags.named(data=config_or_data), **given}
    merged = merge_settings(asked, config_file=config_file, settings=settings or ())
    said: set[str] = set()

    def remark(text: str) -> None:
        said.add(text)
        typer.echo(f"Note: {text}", err=True)

    trained = build_config(TrainConfig, merged)
    result = run(trained, on_progress=None if as_json else _show, on_remark=remark)
    facts = dataclasses.asdict(result)
    if as_json:
        print_json(facts)
        return
    for text in result.remarks[:MAX_REMARKS]:
        if text not in said:
            remark(text)
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
