"""The options of `ram-ray tag`: name, help text, and the setting each of them stands for."""

from collections.abc import Mapping
from typing import Annotated

import typer

from ram_ray.config import StoreConfig

_SOURCES, _RESULTS, _RESOURCES = "Which images", "Which tags", "Resources"

Source = Annotated[
    str | None, typer.Argument(help="A photo, a folder, or s3://bucket/prefix.", show_default=False)
]
Output = Annotated[
    str | None,
    typer.Argument(
        help="Folder or s3:// prefix of the results. Left out: tags of one photo are printed.",
        show_default=False,
    ),
]

ExistingOutput = Annotated[
    str, typer.Argument(help="Folder or s3:// prefix that `ram-ray tag` wrote.")
]


def _option(*names: str, help: str, panel: str, metavar: str | None = None) -> object:
    return typer.Option(
        *names, help=help, rich_help_panel=panel, metavar=metavar, show_default=False
    )


Include = Annotated[
    list[str] | None,
    _option("--include", metavar="GLOB", panel=_SOURCES, help="Only names like this; repeatable."),
]
Exclude = Annotated[
    list[str] | None,
    _option("--exclude", metavar="GLOB", panel=_SOURCES, help="No names like this; repeatable."),
]
EndpointUrl = Annotated[
    str | None,
    _option("--endpoint-url", metavar="URL", panel=_SOURCES, help="An S3-compatible server."),
]
Region = Annotated[str | None, _option("--region", panel=_SOURCES, help="S3 region.")]
Anonymous = Annotated[
    bool | None, _option("--anonymous", panel=_SOURCES, help="Unsigned requests (public bucket).")
]
Orientation = Annotated[
    str | None,
    _option(
        "--orientation",
        metavar="ignore|apply",
        panel=_SOURCES,
        help="`apply` turns photos upright by EXIF; `ignore` (default) sees them as stored.",
    ),
]

Model = Annotated[
    str | None,
    _option("--model", panel=_RESULTS, help="Model name or folder (default: ram-mini)."),
]
Tags = Annotated[
    str | None,
    _option(
        "--tags",
        metavar="A,B|FILE",
        panel=_RESULTS,
        help="Only these tags; any words, where the model has a text encoder.",
    ),
]
Descriptions = Annotated[
    str | None,
    _option(
        "--descriptions",
        metavar="FILE.json",
        panel=_RESULTS,
        help="Sentences about new tags, for RAM++: [{tag: [sentence, ...]}, ...].",
    ),
]
TextEncoder = Annotated[
    str | None,
    _option(
        "--text-encoder",
        metavar="PATH",
        panel=_RESULTS,
        help="CLIP weights that read new tags (default: the model folder's own).",
    ),
]
Threshold = Annotated[
    str | None,
    _option(
        "--threshold",
        metavar="X|FILE",
        panel=_RESULTS,
        help="One threshold for all tags, or a file with one a line (default: the model's own).",
    ),
]
TopK = Annotated[
    int | None, _option("--top-k", panel=_RESULTS, help="At most this many tags per image.")
]
ScoreFloor = Annotated[
    float | None,
    _option("--score-floor", panel=_RESULTS, help="Also keep scores down to this value."),
]
Caption = Annotated[
    bool | None,
    _option("--caption", panel=_RESULTS, help="Also write a caption (a model like tag2text)."),
]
CaptionTags = Annotated[
    str | None,
    _option(
        "--caption-tags",
        metavar="A,B",
        panel=_RESULTS,
        help="Words that guide the captions (default: the tags found).",
    ),
]
MaxErrorRate = Annotated[
    float | None,
    _option(
        "--max-error-rate",
        panel=_RESULTS,
        help="More quarantined images than this share end with exit code 3 (default: 0.05).",
    ),
]

ShardRows = Annotated[
    int | None,
    _option("--shard-rows", panel=_RESOURCES, help="Images per shard (default: 10000)."),
]
BatchSize = Annotated[
    int | None, _option("--batch-size", panel=_RESOURCES, help="Images per model call.")
]
Device = Annotated[
    str | None,
    _option(
        "--device",
        metavar="auto|cpu|cuda",
        panel=_RESOURCES,
        help="`auto` (default) takes GPUs where there are any.",
    ),
]
Precision = Annotated[
    str | None,
    _option(
        "--precision", metavar="fp32|bf16", panel=_RESOURCES, help="Number format (default: fp32)."
    ),
]
NumTaggers = Annotated[
    int | None, _option("--num-taggers", panel=_RESOURCES, help="Model processes.")
]
NumDecoders = Annotated[
    int | None, _option("--num-decoders", panel=_RESOURCES, help="Fetch-and-decode processes.")
]
GpusPerTagger = Annotated[
    float | None,
    _option(
        "--gpus-per-tagger", panel=_RESOURCES, help="GPU share of a model process (default: 1)."
    ),
]
Address = Annotated[
    str | None,
    _option("--address", panel=_RESOURCES, help="Ray cluster to join, e.g. `auto`."),
]

ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config", metavar="FILE.yaml", help="Options from a file; flags win.", show_default=False
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any setting, e.g. decode.max_image_pixels=50000000; wins over flags; repeatable.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

# Flags that are not fields of TagConfig itself.
_SECTIONS = {
    "endpoint_url": "store.endpoint_url",
    "region": "store.region",
    "anonymous": "store.anonymous",
    "orientation": "decode.orientation",
}
_NOT_SETTINGS = {"config", "settings", "as_json", "debug"}


def given_settings(parameters: Mapping[str, object]) -> dict[str, object]:
    """Return the settings among a command's parameters, by dotted field name.

    Parameters that were not given (None, or an empty repeatable option) are left out.
    """
    return {
        _SECTIONS.get(name, name): value
        for name, value in parameters.items()
        if name not in _NOT_SETTINGS and value not in (None, (), [])
    }


def store_config(
    endpoint_url: str | None, region: str | None, anonymous: bool | None
) -> StoreConfig:
    """Return the store of a command that reads an OUTPUT."""
    return StoreConfig(endpoint_url=endpoint_url, region=region, anonymous=bool(anonymous))
