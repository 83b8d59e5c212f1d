"""`ram-ray labels`: build a label system, and take vocabularies in and out of files."""

from typing import Annotated, cast

import typer

from ram_ray import exit_codes
from ram_ray.cli import flags
from ram_ray.cli.flags import Given, command, fields_of
from ram_ray.console.json_output import print_json
from ram_ray.labels.builder.config import BuildConfig, list_config, load_build_config
from ram_ray.labels.parsing.config import ParseConfig
from ram_ray.options import build_config

app = typer.Typer(
    help="The label system: which tags there are, and what they mean.", no_args_is_help=True
)

_SOURCES = fields_of(BuildConfig, {None: "captions lists"})
_BUILD = {None: "captions columns lists decisions min_frequency max_tags text_encoder"}
_PARSE = {
    None: "vocabulary columns widen spacy evidence shard_bytes num_parsers",
    "Which tags": "max_error_rate",
    "Which images": "store.endpoint_url store.region store.anonymous",
    "Resources": "address",
}


@app.command()
@command
def build(
    *,
    output: Annotated[str, typer.Argument(help="Folder; a rebuild keeps its tag ids.")],
    given: Annotated[Given, fields_of(BuildConfig, _BUILD)],
    config: flags.ConfigFile = None,
    as_json: flags.Json = False,
) -> None:
    """Build a vocabulary from captions and lists, with a page to review it."""

    from ram_ray.labels.builder.build import build_vocabulary
    from ram_ray.labels.builder.output import report_of
    from ram_ray.labels.builder.terminal import print_build

    loaded = load_build_config({"output": output, **given}, config_file=config)
    made = build_vocabulary(loaded)
    if as_json:
        print_json(report_of(made))
    else:
        print_build(made, loaded.output)


@app.command()
@command
def overlay(
    *,
    vocabulary: Annotated[str, typer.Argument(help="A vocabulary that lacks kinds or parents.")],
    output: Annotated[str, typer.Argument(help="File to write: .parquet, .json, .csv or .txt.")],
    sources: Annotated[Given, _SOURCES],
    thresholds: Annotated[
        str | None, typer.Option(metavar="FILE", help="One threshold a line, in id order.")
    ] = None,
    chinese: Annotated[
        str | None, typer.Option(metavar="FILE", help="One Chinese name a line, in id order.")
    ] = None,
) -> None:
    """Derive kind, aliases and parents for a vocabulary whose ids must stay, such as RAM's."""
    from ram_ray.labels.builder.overlay import overlay_file

    made, problems = overlay_file(
        vocabulary,
        output,
        captions=cast(list[str], sources.get("captions", [])),
        lists=[list_config(text) for text in cast(list[str], sources.get("lists", []))],
        thresholds=thresholds,
        names_zh=chinese,
    )
    for problem in problems:
        typer.echo(str(problem), err=True)
    typer.echo(f"{output}: {len(made):,} tags")


@app.command()
@command
def convert(
    source: Annotated[str, typer.Argument(help="Vocabulary: .parquet, .json, .csv or .txt.")],
    output: Annotated[str, typer.Argument(help="File to write, in the format of its suffix.")],
    thresholds: Annotated[
        str | None, typer.Option(metavar="FILE", help="One threshold a line, in id order.")
    ] = None,
    chinese: Annotated[
        str | None, typer.Option(metavar="FILE", help="One Chinese name a line, in id order.")
    ] = None,
) -> None:
    """Convert a vocabulary: Parquet, JSON, CSV, or text lists as RAM publishes them."""
    from ram_ray.labels.vocabulary_files import read_vocabulary, write_vocabulary

    vocabulary = read_vocabulary(source, thresholds=thresholds, names_zh=chinese)
    for path in write_vocabulary(vocabulary, output):
        typer.echo(f"{path}: {len(vocabulary):,} tags")


@app.command()
@command
def parse(
    *,
    source: Annotated[
        str, typer.Argument(help="Captions: a file, a folder or an s3://bucket/prefix.")
    ],
    output: Annotated[
        str, typer.Argument(help="Folder or s3:// prefix; resumed when it is there.")
    ],
    given: Annotated[Given, fields_of(ParseConfig, _PARSE, required=("vocabulary",))],
    as_json: flags.Json = False,
) -> int:
    """Parse captions into tags with a vocabulary; frequencies and co-occurrences beside."""
    import dataclasses

    from ram_ray.labels.parsing.pipeline import parse_captions
    from ram_ray.labels.parsing.terminal import print_parse, shard_progress

    config = build_config(ParseConfig, {"source": source, "output": output, **given})
    summary = parse_captions(config, on_shards=shard_progress())
    if as_json:
        print_json(dataclasses.asdict(summary))
    else:
        print_parse(summary, config.store)
    return exit_codes.of_run(summary.error_rate, config.max_error_rate)


@app.command()
@command
def show(
    *,
    target: Annotated[str, typer.Argument(help="A vocabulary file, or the OUTPUT of a parse.")],
    caption: Annotated[
        list[str] | None,
        typer.Option("--caption", help="Show how this is parsed and why; repeatable."),
    ] = None,
    tag: Annotated[
        str | None, typer.Option(help="Show this tag: what it is, how often, beside what.")
    ] = None,
    parser: Annotated[Given, fields_of(ParseConfig, {None: "widen spacy"})],
    store: flags.Store,
) -> None:
    """Show a vocabulary, what a parse found, or why a caption gets its tags."""
    from ram_ray.labels.parsing import terminal as parse_terminal

    if caption:
        spacy = str(parser["spacy"]) if "spacy" in parser else None
        parse_terminal.print_captions(
            target, caption, widen=bool(parser.get("widen")), spacy=spacy, store=store
        )
    elif tag:
        parse_terminal.print_tag(target, tag, store)
    else:
        parse_terminal.print_target(target, store)
