"""Settings of a retry, and what they make of the settings of the run that it retries."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ram_ray.config import DecodeConfig, Fetching, Processes, Tolerance, option, part_of, require
from ram_ray.errors import ImageErrorCode
from ram_ray.tagging.config import TagConfig

if TYPE_CHECKING:  # a command reads these settings, and opens no store for it
    from ram_ray.tagging.record import RunRecord

ERROR_CODES = tuple(code.value for code in ImageErrorCode)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeLimits:
    """Limits of decoding to try with; None: as in the run (`DecodeConfig`)."""

    max_image_bytes: int | None = None
    max_image_pixels: int | None = None
    decode_timeout_s: float | None = None
    decode_memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class RetryConfig(Fetching, Processes, Tolerance):
    """`ram-ray retry`: which run, which of its errors, and with what resources."""

    output: str
    """Folder or s3:// prefix of a finished run."""
    error: tuple[str, ...] = option((), metavar="CODE")
    """Only images with this error code; (): all."""
    model: str | None = None
    """Where the run's model is now; None: where it was."""
    text_encoder: str | None = option(None, metavar="PATH")
    """Where the run's text encoder is now; None: where it was."""
    descriptions: str | None = option(None, metavar="FILE.json")
    """Where the run's descriptions are now; None: where they were."""
    decode: DecodeLimits = field(default_factory=DecodeLimits)

    def __post_init__(self) -> None:
        for part in (Fetching, Processes, Tolerance):
            part.__post_init__(self)
        require(bool(self.output), "output", self.output, "not empty")
        for code in self.error:
            require(code in ERROR_CODES, "error", code, f"one of {', '.join(ERROR_CODES)}")

    @property
    def error_codes(self) -> tuple[str, ...]:
        """Return the wanted codes, each once, sorted."""
        return tuple(sorted(set(self.error)))


def decode_settings(record: "RunRecord", config: RetryConfig) -> dict[str, Any]:
    """Return the run's limits and choices of decoding, with this call's changes.

    Raises:
        ConfigError: a limit is out of its range.
    """
    changes = {name: value for name, value in asdict(config.decode).items() if value is not None}
    settings = asdict(DecodeConfig(**record.decode | changes))
    return settings | {"formats": list(settings["formats"])}  # as JSON gives it back


def run_settings(record: "RunRecord", config: RetryConfig) -> TagConfig:
    """Return the settings of the run itself, with this call's limits and resources."""
    caption = record.caption or {}
    return TagConfig(
        source=record.source,
        output=config.output,
        model=config.model or record.model,
        tags=tuple(record.tags) if record.tags is not None else None,
        text_encoder=config.text_encoder or record.text_encoder,
        descriptions=config.descriptions or record.descriptions,
        **record.limits,
        caption=record.caption is not None,
        caption_tags=tuple(caption["tags"]) if caption.get("tags") else None,
        caption_beams=caption.get("num_beams"),
        shard_rows=record.shard_rows,
        precision=record.precision,  # pyright: ignore[reportArgumentType] - TagConfig checks it
        batch_size=record.batch_size,
        decode=DecodeConfig(**decode_settings(record, config)),
        **part_of(config, Fetching),
        **part_of(config, Processes),
        **part_of(config, Tolerance),
    )
