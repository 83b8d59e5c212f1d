"""`ram-ray model`: which models there are, getting them, and what is in them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ram_ray import exit_codes
from ram_ray.cli import flags

app = typer.Typer(
    help="Models: which there are, getting them, what is in them.", no_args_is_help=True
)

Mirror = Annotated[
    str | None,
    typer.Option(
        metavar="URL|FOLDER",
        help="Take the published files from here, by their names.",
        show_default=False,
    ),
]
Dtype = Annotated[
    str, typer.Option(metavar="FORMAT", help="Of the weights on disk: float32, float16, bfloat16.")
]
TensorsOnly = Annotated[
    bool,
    typer.Option("--tensors-only", help="Skip, unrun, what a checkpoint holds besides tensors."),
]


def _file(help: str) -> object:
    return typer.Option(metavar="FILE", help=help, show_default=False)


@app.command("list")
def list_models(as_json: flags.Json = False, debug: flags.Debug = False) -> None:
    """List the models by name: bundled, fetched, or to be fetched."""
    with exit_codes.exit_on_error(debug=debug):
        from ram_ray.models import terminal as model_report

        models = model_report.known_models()
        if as_json:
            print(json.dumps(models))
        else:
            model_report.print_models(models)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="ram, ram-plus or tag2text.")],
    folder: Annotated[
        str | None,
        typer.Argument(help="Where it goes (default: where --model NAME finds it)."),
    ] = None,
    mirror: Mirror = None,
    sha256: Annotated[
        str | None, typer.Option(help="What the checkpoint must have.", show_default=False)
    ] = None,
    text_encoder: Annotated[
        bool, typer.Option(help="Also what reads new words (600 MB to download).")
    ] = True,
    dtype: Dtype = "float32",
    tensors_only: TensorsOnly = False,
    keep_download: Annotated[
        bool, typer.Option("--keep-download", help="Leave the downloaded files in the folder.")
    ] = False,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Download a released model and make a model folder of it; resumes and checks."""
    with exit_codes.exit_on_error(debug=debug):
        from ram_model.files.pretrained import models_home
        from ram_ray.models import terminal as model_report
        from ram_ray.models.download_progress import show_downloads
        from ram_ray.models.fetch import FetchConfig, fetch_model

        config = FetchConfig(
            name=name,
            folder=models_home() / name if folder is None else Path(folder),
            mirror=mirror,
            sha256=sha256,
            text_encoder=text_encoder,
            dtype=dtype,
            tensors_only=tensors_only,
            keep_download=keep_download,
        )
        with show_downloads() as on_bytes:
            facts = fetch_model(config, on_bytes=on_bytes, say=model_report.say)
        model_report.show(facts, as_json=as_json)


@app.command()
def convert(
    checkpoint: Annotated[str, typer.Argument(help="Official .pth file of RAM, RAM++, Tag2Text.")],
    folder: Annotated[str, typer.Argument(help="Becomes the model folder.")],
    vocabulary: Annotated[
        str | None, _file("Parquet file with the tags (default: the published tags).")
    ] = None,
    mirror: Mirror = None,
    templates: Annotated[str | None, _file("Prompt templates for new words, one a line.")] = None,
    descriptions: Annotated[str | None, _file("Sentences about new words, for RAM++.")] = None,
    text_encoder: Annotated[str | None, _file("CLIP weights that read new words.")] = None,
    captions: Annotated[
        bool | None,
        typer.Option(help="Keep the caption side (default: Tag2Text's, not RAM's)."),
    ] = None,
    word_pieces: Annotated[
        str | None, _file("BERT's vocab.txt, for captions (default: the published one).")
    ] = None,
    license: Annotated[str | None, _file("Licence text of the weights.")] = None,
    dtype: Dtype = "float32",
    tensors_only: TensorsOnly = False,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Make a model folder of a checkpoint file; nothing in the file is run."""
    with exit_codes.exit_on_error(debug=debug):
        from ram_ray.models import terminal as model_report
        from ram_ray.models.convert import ConvertConfig, convert_model

        paths = {
            "vocabulary": vocabulary,
            "templates": templates,
            "descriptions": descriptions,
            "text_encoder": text_encoder,
            "word_pieces": word_pieces,
            "license": license,
        }
        config = ConvertConfig(
            checkpoint=Path(checkpoint),
            folder=Path(folder),
            mirror=mirror,
            captions=captions,
            dtype=dtype,
            tensors_only=tensors_only,
            **{name: Path(path) for name, path in paths.items() if path is not None},
        )
        model_report.show(convert_model(config), as_json=as_json)


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="Model name or folder.")] = "ram-mini",
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Show what a model is: sizes, cost per image, tags, checksums, licence."""
    with exit_codes.exit_on_error(debug=debug):
        from ram_ray.models import terminal as model_report

        facts = model_report.inspect(model)
        model_report.show(facts, as_json=as_json)
    raise typer.Exit(exit_codes.FAILED_CHECK if facts.damaged else exit_codes.DONE)
