"""`ram-ray model`: which models there are, getting them, and what is in them."""

from pathlib import Path
from typing import Annotated

import typer

from ram_ray import exit_codes
from ram_ray.cli import flags
from ram_ray.cli.flags import Given, command, fields_of
from ram_ray.console.json_output import print_json
from ram_ray.models.config import ConvertConfig, FetchConfig
from ram_ray.options import build_config

app = typer.Typer(
    help="Models: which there are, getting them, what is in them.", no_args_is_help=True
)

_FETCH = {None: "mirror sha256 text_encoder dtype tensors_only keep_download"}
_CONVERT = {
    None: "vocabulary mirror templates descriptions text_encoder captions weights "
    "word_pieces license dtype tensors_only"
}


@app.command("list")
@command
def list_models(as_json: flags.Json = False) -> None:
    """List the models by name: bundled, fetched, or to be fetched."""
    from ram_ray.models import terminal as model_report

    models = model_report.known_models()
    if as_json:
        print_json(models)
    else:
        model_report.print_models(models)


@app.command()
@command
def fetch(
    *,
    name: Annotated[str, typer.Argument(help="ram, ram-plus or tag2text.")],
    folder: Annotated[
        str | None,
        typer.Argument(help="Where it goes (default: where --model NAME finds it)."),
    ] = None,
    given: Annotated[Given, fields_of(FetchConfig, _FETCH)],
    as_json: flags.Json = False,
) -> None:
    """Download a released model and make a model folder of it; resumes and checks."""
    from ram_model.files.pretrained import models_home
    from ram_ray.models import terminal as model_report
    from ram_ray.models.download_progress import show_downloads
    from ram_ray.models.fetch import fetch_model

    where = models_home() / name if folder is None else Path(folder)
    config = build_config(FetchConfig, {"name": name, "folder": where, **given})
    with show_downloads() as on_bytes:
        facts = fetch_model(config, on_bytes=on_bytes, say=model_report.say)
    model_report.show(facts, as_json=as_json)


@app.command()
@command
def convert(
    *,
    checkpoint: Annotated[
        str, typer.Argument(help="RAM, RAM++ or Tag2Text: .pth or .safetensors.")
    ],
    folder: Annotated[str, typer.Argument(help="Becomes the model folder.")],
    given: Annotated[Given, fields_of(ConvertConfig, _CONVERT)],
    as_json: flags.Json = False,
) -> None:
    """Make a model folder of a checkpoint file; nothing in the file is run."""
    from ram_ray.models import terminal as model_report
    from ram_ray.models.convert import convert_model

    config = build_config(ConvertConfig, {"checkpoint": checkpoint, "folder": folder, **given})
    model_report.show(convert_model(config), as_json=as_json)


@app.command()
@command
def info(
    model: Annotated[str, typer.Argument(help="Model name or folder.")] = "ram-mini",
    as_json: flags.Json = False,
) -> int:
    """Show what a model is: sizes, cost per image, tags, checksums, licence."""
    from ram_ray.models import terminal as model_report

    facts = model_report.inspect(model)
    model_report.show(facts, as_json=as_json)
    return exit_codes.FAILED_CHECK if facts.damaged else exit_codes.DONE
