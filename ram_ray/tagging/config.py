"""Settings of `ram-ray tag`: frozen, validated on construction, before any work starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ram_ray.config import (
    DecodeConfig,
    Fetching,
    ImageTables,
    Resources,
    TagChoice,
    Tolerance,
    option,
    require,
    require_at_least_one,
)
from ram_ray.options import build_config


@dataclass(frozen=True, kw_only=True)
class TagConfig(TagChoice, Fetching, ImageTables, Resources, Tolerance):
    """`ram-ray tag`: which images, which model, where to, and with what resources."""

    source: str
    """Folder, s3://bucket/prefix, or a tar, table, list or inventory (docs/sources.md)."""
    output: str
    """Folder or s3:// prefix of the run; made when missing, resumed when it holds this run."""
    include: tuple[str, ...] = option((), metavar="GLOB")
    """Only names like this; (): the known image suffixes, the rest is counted as skipped."""
    exclude: tuple[str, ...] = option((), metavar="GLOB")
    """No names like this."""
    shard_rows: int = 10_000
    """Images per shard, the unit of commit and resume."""
    pinned: bool = False
    """Only images whose content is still the one that was listed: others are `changed`."""
    decode: DecodeConfig = field(default_factory=DecodeConfig)

    def __post_init__(self) -> None:
        for name in ("source", "output"):
            require(bool(getattr(self, name)), name, getattr(self, name), "not empty")
        for part in (TagChoice, Fetching, ImageTables, Resources, Tolerance):
            part.__post_init__(self)
        require_at_least_one(self, "shard_rows")


def tag_config(settings: Mapping[str, object]) -> TagConfig:
    """Return the TagConfig of merged settings.

    Raises:
        ConfigError: unknown key, wrong type or value; names the key and what is allowed.
    """
    return build_config(TagConfig, settings)
