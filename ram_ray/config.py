"""Parts of the pipelines' settings: each option is written once, and the settings inherit it.

A field's docstring is also the help text of its flag (`ram_ray.cli.flags`); "None: ..." at its end
tells the default. All are frozen and validated on construction, before any work starts.
"""

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, get_args

from ram_ray.errors import ConfigError

Orientation = Literal["ignore", "apply"]
WideGrey = Literal["clip", "scale"]
ExtraFormat = Literal["heic", "jxl"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16"]


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise ConfigError, naming field, value and what is allowed, unless `condition` holds."""
    if not condition:
        told = "not given" if value is None else repr(value)
        raise ConfigError(f"{name} is {told}, but must be {allowed}.")


def require_at_least_one(config: object, *names: str) -> None:
    """Raise ConfigError unless each of these fields is None or from 1 up."""
    for name in names:
        value = getattr(config, name)
        require(value is None or value >= 1, name, value, "at least 1")


def require_share(config: object, *names: str) -> None:
    """Raise ConfigError unless each of these fields is None or from 0 to 1."""
    for name in names:
        value = getattr(config, name)
        require(value is None or 0 <= value <= 1, name, value, "between 0 and 1")


def part_of(config: Any, part: type) -> dict[str, Any]:
    """Return the fields of settings that they inherit from `part`, by name."""
    return {one.name: getattr(config, one.name) for one in fields(part)}


def option(
    default: Any = MISSING,
    *,
    flag: str | None = None,
    metavar: str | None = None,
    as_text: bool = False,
    bounds: tuple[int, int] | None = None,
    since: str | None = None,
) -> Any:
    """Return a field whose flag is not all told by the field's name and type.

    Args:
        flag: its name, such as "--from".
        metavar: what the help shows as its value.
        as_text: the flag takes one text, which `ram_ray.options` reads.
        bounds: least and greatest value, checked and shown by the flag.
        since: of `Recorded` settings: the version that brought the field.
    """
    told = {"flag": flag, "metavar": metavar, "as_text": as_text, "bounds": bounds}
    told |= {"since": since} if since else {}
    return field(default=default, metadata=told)


class Recorded:
    """Settings whose repr stands in the records of runs, so that it may never change.

    A field that is added later says `metadata={"since": VERSION}` and is shown only where it
    differs from its default: runs of earlier versions stay the same runs.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        shown: list[str] = []
        for one in fields(self):  # pyright: ignore[reportArgumentType] - subclasses are dataclasses
            value = getattr(self, one.name)
            if "since" not in one.metadata or value != one.default:
                shown.append(f"{one.name}={value!r}")
        return f"{type(self).__qualname__}({', '.join(shown)})"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreConfig:
    """How to reach object stores; credentials come from the environment, never from here."""

    endpoint_url: str | None = option(None, metavar="URL")
    """An S3-compatible server, such as http://127.0.0.1:9000; None: the cloud's own."""
    region: str | None = None
    """S3 region; None: from the environment."""
    anonymous: bool = False
    """Unsigned requests (public bucket)."""
    gcs_endpoint_url: str | None = option(None, metavar="URL")
    """A server in place of Google Cloud Storage, for gs://; None: Google's own."""
    azure_endpoint_url: str | None = option(None, metavar="URL")
    """A server in place of Azure Blob Storage, for az://; None: Azure's own."""
    azure_account: str | None = option(None, metavar="NAME")
    """Storage account of az:// containers; None: AZURE_STORAGE_ACCOUNT_NAME."""
    private_addresses: bool = False
    """Also fetch http:// and https:// images from hosts inside private networks."""
    requests_per_host: int = 8
    """Of http:// and https:// images: requests in flight per host and decode worker."""

    def __post_init__(self) -> None:
        for name in ("endpoint_url", "gcs_endpoint_url", "azure_endpoint_url"):
            url = getattr(self, name)
            ok = url is None or url.startswith(("http://", "https://"))
            require(ok, name, url, "an http:// or https:// address")
        require_at_least_one(self, "requests_per_host")


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class DecodeConfig(Recorded):
    """Limits and choices of image decoding; every limit exceeded is a quarantine row."""

    orientation: Orientation = "ignore"
    """`apply` turns photos upright by EXIF; `ignore` sees them as stored, as the reference does."""
    max_image_bytes: int = 256 * 2**20
    """Files above this are `too_large`, unread."""
    max_image_pixels: int = 100_000_000
    """Width x height, checked before pixels are allocated; 100 MP is about 400 MB decoded."""
    decode_timeout_s: float = 30.0
    """Wall-clock limit per image."""
    decode_memory_bytes: int = 1536 * 2**20
    """Address-space limit of a decoder process."""
    wide_grey: WideGrey = option("clip", since="0.2.0")
    """16-bit grey: `clip` turns all above 255 white, as the reference does; `scale` divides it by
    257."""
    formats: tuple[ExtraFormat, ...] = option((), since="0.2.0")
    """Formats read beside the usual ones: heic, jxl; each needs a package on every machine
    (docs/decoding.md); (): none."""

    def __post_init__(self) -> None:
        for name, kind in (("orientation", Orientation), ("wide_grey", WideGrey)):
            value, choices = getattr(self, name), get_args(kind)
            require(value in choices, name, value, " or ".join(choices))
        for value in self.formats:
            require(value in get_args(ExtraFormat), "formats", value, "heic or jxl")
        # One order, and a tuple again after JSON: the same formats are the same run.
        object.__setattr__(self, "formats", tuple(sorted(set(self.formats))))
        for name in ("max_image_bytes", "max_image_pixels", "decode_timeout_s"):
            value = getattr(self, name)
            require(value > 0, name, value, "above 0")
        require(
            self.decode_memory_bytes >= 256 * 2**20,
            "decode_memory_bytes",
            self.decode_memory_bytes,
            "at least 268435456 (256 MiB)",
        )


@dataclass(frozen=True, kw_only=True)
class Fetching:
    """How bytes are fetched."""

    store: StoreConfig = field(default_factory=StoreConfig)
    fetch_timeout_s: float = 60.0
    """Per image, retries included."""
    fetch_concurrency: int = 32
    """Requests in flight per decode worker."""

    def __post_init__(self) -> None:
        require(self.fetch_timeout_s > 0, "fetch_timeout_s", self.fetch_timeout_s, "above 0")
        require_at_least_one(self, "fetch_concurrency")


@dataclass(frozen=True, kw_only=True)
class CaptionTables:
    """How tables of captions are read."""

    columns: tuple[str, ...] | None = option(None, metavar="A,B", as_text=True)
    """What the columns of caption tables without names are, in order, such as caption,url; None:
    told from the rows."""

    def __post_init__(self) -> None:
        value = self.columns
        require(value is None or len(value) > 0, "columns", value, "at least one name, or unset")


@dataclass(frozen=True, kw_only=True)
class ImageTables:
    """How lists and tables of images are read."""

    uri_column: str | None = option(None, metavar="NAME")
    """Column of a list or table that says where each image is; None: told from names and rows."""
    image_column: str | None = option(None, metavar="NAME")
    """Column of a table that holds each image's bytes; None: told from names and types."""
    id_column: str | None = option(None, metavar="NAME")
    """Column with your own id of each image, or `#row`: file and row; None: of a list the URI, of
    a table image_id, key, file_name or the image's path, else file and row."""

    def __post_init__(self) -> None:
        for one in fields(ImageTables):
            value = getattr(self, one.name)
            require(value is None or value != "", one.name, value, "a column's name, or unset")
        both = self.uri_column is not None and self.image_column is not None
        require(not both, "image_column", self.image_column, "left out when uri_column is given")


@dataclass(frozen=True, kw_only=True)
class OnCluster:
    """Where Ray is."""

    address: str | None = None
    """Ray cluster to join, such as `auto`; None: a local Ray of this process."""


@dataclass(frozen=True, kw_only=True)
class Hardware(OnCluster):
    """What a model runs on."""

    device: Device = "auto"
    """`auto` takes GPUs where there are any."""

    def __post_init__(self) -> None:
        require(self.device in get_args(Device), "device", self.device, "auto, cpu or cuda")


@dataclass(frozen=True, kw_only=True)
class Processes(Hardware):
    """How many processes do the work, and their share of GPUs."""

    num_taggers: int | None = None
    """Model processes; None: one per GPU share, or one on a CPU."""
    gpus_per_tagger: float | None = None
    """GPU share of a model process: a whole number, or a fraction; None: 1 where there are GPUs."""
    num_decoders: int | None = None
    """Fetch-and-decode processes; None: as many as the CPUs carry."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_one(self, "num_taggers", "num_decoders")
        share = self.gpus_per_tagger
        require(
            share is None or 0 < share < 1 or (share >= 1 and share == int(share)),
            "gpus_per_tagger",
            share,
            "a fraction between 0 and 1, or a whole number",
        )
        on_gpus = share is None or self.device != "cpu"
        require(on_gpus, "gpus_per_tagger", share, "left out with device 'cpu'")


@dataclass(frozen=True, kw_only=True)
class ModelCalls:
    """How a model is called."""

    precision: Precision = "fp32"
    """Number format of the network."""
    batch_size: int | None = None
    """Images per model call; None: 16 on a CPU, 64 on a GPU."""

    def __post_init__(self) -> None:
        require(self.precision in get_args(Precision), "precision", self.precision, "fp32 or bf16")
        require_at_least_one(self, "batch_size")


@dataclass(frozen=True, kw_only=True)
class Resources(Processes, ModelCalls):
    """What a run over images may use; `ram_ray.cluster.place` decides what is left open."""

    def __post_init__(self) -> None:
        Processes.__post_init__(self)
        ModelCalls.__post_init__(self)


@dataclass(frozen=True, kw_only=True)
class TagChoice:
    """What is asked of a model: which tags, from which score up, and captions."""

    model: str = "ram-mini"
    """Model name or folder."""
    tags: tuple[str, ...] | None = option(None, metavar="A,B|FILE", as_text=True)
    """Only these tags; any words, where the model has a text encoder; None: its vocabulary."""
    descriptions: str | None = option(None, metavar="FILE.json")
    """Sentences about new tags, for RAM++: [{tag: [sentence, ...]}, ...]; None: the model folder's
    own."""
    text_encoder: str | None = option(None, metavar="PATH")
    """CLIP weights that read new tags; None: the model folder's own."""
    open_set_threshold: float | None = None
    """Of new tags, 0..1, where `threshold` is not given; None: the model's own."""
    threshold: float | None = option(None, metavar="X|FILE", as_text=True)
    """One threshold for all tags, 0..1, or a file with one a line; None: the model's own."""
    threshold_file: str | None = None
    """One threshold a line, in tag order; excludes `threshold`."""
    top_k: int | None = None
    """At most this many tags per image."""
    score_floor: float | None = None
    """Also keep scores down to this value, 0..1, so that thresholds can change later."""
    caption: bool = False
    """Also write a caption of each image; the model needs a caption decoder (tag2text)."""
    caption_tags: tuple[str, ...] | None = option(None, metavar="A,B", as_text=True)
    """Words that guide the captions; None: the tags found in the image."""
    caption_beams: int | None = None
    """Texts kept while a caption is written, 1 being greedy; None: 3, as the reference."""

    def __post_init__(self) -> None:
        require(bool(self.model), "model", self.model, "not empty")
        require(
            self.threshold is None or self.threshold_file is None,
            "threshold_file",
            self.threshold_file,
            "left out when threshold is given",
        )
        require_share(self, "threshold", "open_set_threshold", "score_floor")
        for name in ("caption_tags", "caption_beams"):
            value = getattr(self, name)
            require(self.caption or value is None, name, value, "left out without caption")
        require_at_least_one(self, "top_k", "caption_beams")
        for name in ("tags", "caption_tags"):
            value = getattr(self, name)
            require(value is None or len(value) > 0, name, value, "at least one tag, or unset")


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How much may go wrong."""

    max_error_rate: float = 0.05
    """More quarantined images than this share end with exit code 3."""
    max_rounds: int = 3
    """Passes over uncommitted shards before giving up."""

    def __post_init__(self) -> None:
        require_share(self, "max_error_rate")
        require_at_least_one(self, "max_rounds")
