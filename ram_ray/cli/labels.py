"""`ram-ray labels`: build a label system, and take vocabularies in and out of files."""

from typing import Annotated

import typer

from ram_ray import exit_codes
from ram_ray.cli import flags

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

Spacy = Annotated[
    str | None,
    typer.Option(metavar="PIPELINE", help="Installed spaCy pipeline instead of the rules."),
]

ShardBytes = Annotated[int | None, typer.Option(help="Source bytes per shard (default: 16777216).")]
NumParsers = Annotated[int | None, typer.Option(help="Parser processes.")]


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


@app.command()
def parse(
    source: Annotated[
        str, typer.Argument(help="Captions: a file, a folder or an s3://bucket/prefix.")
    ],
    output: Annotated[
        str, typer.Argument(help="Folder or s3:// prefix; resumed when it is there.")
    ],
    vocabulary: Annotated[
        str,
        typer.Option(metavar="FILE", help="Tags to look for: .parquet, .json, .csv or .txt."),
    ],
    widen: Annotated[
        bool, typer.Option("--widen", help="Also give wider tags (puppy: dog) and implied tools.")
    ] = False,
    spacy: Spacy = None,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Also write why: rule, place and words of each tag.")
    ] = False,
    shard_bytes: ShardBytes = None,
    num_parsers: NumParsers = None,
    max_error_rate: flags.MaxErrorRate = None,
    endpoint_url: flags.EndpointUrl = None,
    region: flags.Region = None,
    anonymous: flags.Anonymous = None,
    address: flags.Address = None,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Parse captions into tags with a vocabulary; frequencies and co-occurrences beside."""
    with exit_codes.exit_on_error(debug=debug):
        import dataclasses
        import json

        from ram_ray.labels.parsing.pipeline import ParseConfig, parse_captions
        from ram_ray.labels.parsing.terminal import print_parse, shard_progress

        given = {
            "shard_bytes": shard_bytes,
            "num_parsers": num_parsers,
            "max_error_rate": max_error_rate,
            "address": address,
        }
        config = ParseConfig(
            source=source,
            output=output,
            vocabulary=vocabulary,
            widen=widen,
            spacy=spacy,
            evidence=evidence,
            store=flags.store_config(endpoint_url, region, anonymous),
            **{name: value for name, value in given.items() if value is not None},  # pyright: ignore[reportArgumentType]
        )
        summary = parse_captions(config, on_shards=shard_progress())
        if as_json:
            print(json.dumps(dataclasses.asdict(summary)))
        else:
            print_parse(summary, config.store)
        code = exit_codes.of_run(summary.error_rate, config.max_error_rate)
    raise typer.Exit(code)


@app.command()
def show(
    target: Annotated[str, typer.Argument(help="A vocabulary file, or the OUTPUT of a parse.")],
    caption: Annotated[
        list[str] | None,
        typer.Option("--caption", help="Show how this is parsed and why; repeatable."),
    ] = None,
    tag: Annotated[
        str | None, typer.Option(help="Show this tag: what it is, how often, beside what.")
    ] = None,
    widen: Annotated[bool, typer.Option("--widen", help="As for `labels parse`.")] = False,
    spacy: Spacy = None,
    endpoint_url: flags.EndpointUrl = None,
    region: flags.Region = None,
    anonymous: flags.Anonymous = None,
    debug: flags.Debug = False,
) -> None:
    """Show a vocabulary, what a parse found, or why a caption gets its tags."""
    with exit_codes.exit_on_error(debug=debug):
        from ram_ray.labels.parsing import terminal as parse_terminal

        store = flags.store_config(endpoint_url, region, anonymous)
        if caption:
            parse_terminal.print_captions(target, caption, widen=widen, spacy=spacy, store=store)
        elif tag:
            parse_terminal.print_tag(target, tag, store)
        else:
            parse_terminal.print_target(target, store)
