"""`ram-ray labels`: build a label system, and take vocabularies in and out of files."""

from typing import Annotated

import typer

from ram_ray import exit_codes, flags

app = typer.Typer(
    help="The label system: which tags there are, and what they mean.", no_args_is_help=True
)

_LIST_HELP = (
    "A list of tags: FILE[,name=NAME][,kind=object|scene|attribute|action][,cover=no]; "
    "repeatable. cover=no: it speaks only for words that other sources name."
)
Captions = Annotated[
    list[str] | None,
    typer.Option("--captions", metavar="PATH", help="A file or folder of captions; repeatable."),
]
Lists = Annotated[list[str] | None, typer.Option("--list", metavar="FILE", help=_LIST_HELP)]


@app.command()
def build(
    output: Annotated[str, typer.Argument(help="Folder; a rebuild keeps its tag ids.")],
    captions: Captions = None,
    lists: Lists = None,
    decisions: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Your decisions (default: OUTPUT/decisions.txt)."),
    ] = None,
    min_frequency: Annotated[
        int | None, typer.Option(help="Captions that must say a word that no list has (5).")
    ] = None,
    max_tags: Annotated[int | None, typer.Option(help="Keep the best this many.")] = None,
    text_encoder: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="CLIP text tower: propose near neighbours as merges."),
    ] = None,
    config: flags.ConfigFile = None,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Build a vocabulary from captions and lists, with a page to review it."""
    with exit_codes.exit_on_error(debug=debug):
        import json

        from ram_ray.labels.builder.build import build_vocabulary
        from ram_ray.labels.builder.config import load_build_config
        from ram_ray.labels.builder.output import report_of
        from ram_ray.labels.builder.terminal import print_build

        given = {
            "output": output,
            "captions": captions,
            "lists": lists,
            "decisions": decisions,
            "min_frequency": min_frequency,
            "max_tags": max_tags,
            "text_encoder": text_encoder,
        }
        loaded = load_build_config(given, config_file=config)
        made = build_vocabulary(loaded)
        if as_json:
            print(json.dumps(report_of(made), ensure_ascii=False))
        else:
            print_build(made, loaded.output)


@app.command()
def overlay(
    vocabulary: Annotated[str, typer.Argument(help="A vocabulary that lacks kinds or parents.")],
    output: Annotated[str, typer.Argument(help="File to write: .parquet, .json, .csv or .txt.")],
    captions: Captions = None,
    lists: Lists = None,
    thresholds: Annotated[
        str | None, typer.Option(metavar="FILE", help="One threshold a line, in id order.")
    ] = None,
    chinese: Annotated[
        str | None, typer.Option(metavar="FILE", help="One Chinese name a line, in id order.")
    ] = None,
    debug: flags.Debug = False,
) -> None:
    """Derive kind, aliases and parents for a vocabulary whose ids must stay, such as RAM's."""
    with exit_codes.exit_on_error(debug=debug):
        from ram_ray.labels.builder.config import list_config
        from ram_ray.labels.builder.overlay import overlay_file

        made, problems = overlay_file(
            vocabulary,
            output,
            captions=captions or (),
            lists=[list_config(text) for text in lists or ()],
            thresholds=thresholds,
            names_zh=chinese,
        )
        for problem in problems:
            typer.echo(str(problem), err=True)
        typer.echo(f"{output}: {len(made):,} tags")


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="Vocabulary: .parquet, .json, .csv or .txt.")],
    output: Annotated[str, typer.Argument(help="File to write, in the format of its suffix.")],
    thresholds: Annotated[
        str | None, typer.Option(metavar="FILE", help="One threshold a line, in id order.")
    ] = None,
    chinese: Annotated[
        str | None, typer.Option(metavar="FILE", help="One Chinese name a line, in id order.")
    ] = None,
    debug: flags.Debug = False,
) -> None:
    """Convert a vocabulary: Parquet, JSON, CSV, or text lists as RAM publishes them."""
    with exit_codes.exit_on_error(debug=debug):
        from ram_ray.labels.vocabulary_files import read_vocabulary, write_vocabulary

        vocabulary = read_vocabulary(source, thresholds=thresholds, names_zh=chinese)
        for path in write_vocabulary(vocabulary, output):
            typer.echo(f"{path}: {len(vocabulary):,} tags")
