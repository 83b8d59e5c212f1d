"""Settings of `ram-ray tag`: frozen, validated on construction, before any work starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from ram_ray.config import DecodeConfig, Device, Precision, StoreConfig, require
from ram_ray.options import build_config


@dataclass(frozen=True, kw_only=True, slots=True)
class TagConfig:
    """`ram-ray tag`: which images, which model, where to, and with what resources."""

    source: str
    """Folder, or s3://bucket/prefix."""
    output: str
    """Folder or s3:// prefix of the run; made when missing, resumed when it holds this run."""
    model: str = "ram-mini"
    """A name of `ram_model` or a model folder."""
    tags: tuple[str, ...] | None = None
    """Only these tags, any words where the model has a text encoder; None: its vocabulary."""
    text_encoder: str | None = None
    """Folder or weight file that embeds new words; None: the model folder's own."""
    descriptions: str | None = None
    """JSON file that describes new words, for RAM++; None: the model folder's own."""
    open_set_threshold: float | None = None
    """Of new words, 0..1, where `threshold` is not given; None: the model's own."""
    threshold: float | None = None
    """One threshold for every tag, 0..1; None: the model's own, tag by tag."""
    threshold_file: str | None = None
    """One threshold a line, in tag order; excludes `threshold`."""
    top_k: int | None = None
    """At most this many tags per image."""
    score_floor: float | None = None
    """Also keep scores down to this value, 0..1, so that thresholds can change later."""
    caption: bool = False
    """Also write a caption of each image; the model needs a caption decoder (tag2text)."""
    caption_tags: tuple[str, ...] | None = None
    """Words that guide every caption; None: the tags found in the image."""
    caption_beams: int | None = None
    """Texts kept while a caption is written, 1 being greedy; None: 3, as the reference."""

    include: tuple[str, ...] = ()
    """Globs over names; () plans the known image suffixes and counts the rest as skipped."""
    exclude: tuple[str, ...] = ()
    """Globs over names that are never planned."""
    shard_rows: int = 10_000
    """Images per shard, the unit of commit and resume."""

    store: StoreConfig = field(default_factory=StoreConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    fetch_timeout_s: float = 60.0
    """Per image, retries included."""
    fetch_concurrency: int = 32
    """Requests in flight per decode worker."""

    device: Device = "auto"
    """`auto` takes GPUs where the cluster has them."""
    precision: Precision = "fp32"
    batch_size: int | None = None
    """Images per model call; None: 16 on a CPU, 64 on a GPU."""
    num_taggers: int | None = None
    """Model processes; None: one per GPU share, or one on a CPU."""
    gpus_per_tagger: float = 1.0
    """GPU share of a model process: 1, a whole number, or a fraction."""
    num_decoders: int | None = None
    """Fetch-and-decode processes; None: as many as the CPUs carry."""

    address: str | None = None
    """Ray cluster to join; None: a local Ray of this process."""
    max_error_rate: float = 0.05
    """Share of quarantined images above which the exit code is 3."""
    max_rounds: int = 3
    """Passes over uncommitted shards before giving up."""

    def __post_init__(self) -> None:
        for name in ("source", "output", "model"):
            require(bool(getattr(self, name)), name, getattr(self, name), "not empty")
        require(
            self.threshold is None or self.threshold_file is None,
            "threshold_file",
            self.threshold_file,
            "left out when threshold is given",
        )
        for name in ("threshold", "open_set_threshold", "score_floor", "max_error_rate"):
            value = getattr(self, name)
            require(value is None or 0 <= value <= 1, name, value, "between 0 and 1")
        for name in ("caption_tags", "caption_beams"):
            value = getattr(self, name)
            require(self.caption or value is None, name, value, "left out without caption")
        for name in ("top_k", "caption_beams", "shard_rows", "batch_size", "num_taggers",
                     "num_decoders", "fetch_concurrency", "max_rounds"):  # fmt: skip
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "at least 1")
        require(self.fetch_timeout_s > 0, "fetch_timeout_s", self.fetch_timeout_s, "above 0")
        require(self.device in get_args(Device), "device", self.device, "auto, cpu or cuda")
        require(self.precision in get_args(Precision), "precision", self.precision, "fp32 or bf16")
        share = self.gpus_per_tagger
        require(
            0 < share < 1 or (share >= 1 and share == int(share)),
            "gpus_per_tagger",
            share,
            "a fraction between 0 and 1, or a whole number",
        )
        for name in ("tags", "caption_tags"):
            value = getattr(self, name)
            require(value is None or len(value) > 0, name, value, "at least one tag, or unset")


def tag_config(settings: Mapping[str, object]) -> TagConfig:
    """Return the TagConfig of merged settings.

    Raises:
        ConfigError: unknown key, wrong type or value; names the key and what is allowed.
    """
    return build_config(TagConfig, settings)
