"""Settings of a retry, and what they make of the settings of the run that it retries."""

from dataclasses import asdict, dataclass, field
from typing import Any

from ram_ray.config import DecodeConfig, Device, StoreConfig, require
from ram_ray.errors import ImageErrorCode
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.record import RunRecord

ERROR_CODES = tuple(code.value for code in ImageErrorCode)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeLimits:
    """Limits of decoding to try with; None: as in the run (`DecodeConfig`)."""

    max_image_bytes: int | None = None
    max_image_pixels: int | None = None
    decode_timeout_s: float | None = None
    decode_memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryConfig:
    """`ram-ray retry`: which run, which of its errors, and with what resources."""

    output: str
    """Folder or s3:// prefix of a finished run."""
    error: tuple[str, ...] = ()
    """Only images with these error codes; (): every quarantined one."""
    model: str | None = None
    """Where the run's model is now; None: where it was."""
    text_encoder: str | None = None
    """Where the run's text encoder is now; None: where it was."""
    descriptions: str | None = None
    """Where the run's descriptions are now; None: where they were."""
    store: StoreConfig = field(default_factory=StoreConfig)
    decode: DecodeLimits = field(default_factory=DecodeLimits)
    fetch_timeout_s: float = 60.0
    """Per image, retries included."""
    fetch_concurrency: int = 32
    """Requests in flight per decode worker."""
    device: Device = "auto"
    num_taggers: int | None = None
    gpus_per_tagger: float = 1.0
    num_decoders: int | None = None
    address: str | None = None
    """Ray cluster to join; None: a local Ray of this process."""
    max_error_rate: float = 0.05
    """Share of quarantined images of the whole output above which the exit code is 3."""
    max_rounds: int = 3

    def __post_init__(self) -> None:
        require(bool(self.output), "output", self.output, "not empty")
        for code in self.error:
            require(code in ERROR_CODES, "error", code, f"one of {', '.join(ERROR_CODES)}")

    @property
    def error_codes(self) -> tuple[str, ...]:
        """Return the wanted codes, each once, sorted."""
        return tuple(sorted(set(self.error)))


def decode_settings(record: RunRecord, config: RetryConfig) -> dict[str, Any]:
    """Return the run's limits and choices of decoding, with this call's changes.

    Raises:
        ConfigError: a limit is out of its range.
    """
    changes = {name: value for name, value in asdict(config.decode).items() if value is not None}
    return asdict(DecodeConfig(**record.decode | changes))


def run_settings(record: RunRecord, config: RetryConfig) -> TagConfig:
    """Return the settings of the run itself, with this call's limits and resources."""
    caption = record.caption or {}
    return TagConfig(
        source=record.source,
        output=config.output,
        model=config.model or record.model,
        tags=tuple(record.tags) if record.tags is not None else None,
        text_encoder=config.text_encoder or record.text_encoder,
        descriptions=config.descriptions or record.descriptions,
        open_set_threshold=record.open_set_threshold,
        top_k=record.top_k,
        score_floor=record.score_floor,
        caption=record.caption is not None,
        caption_tags=tuple(caption["tags"]) if caption.get("tags") else None,
        caption_beams=caption.get("num_beams"),
        shard_rows=record.shard_rows,
        precision=record.precision,  # pyright: ignore[reportArgumentType] - TagConfig checks it
        batch_size=record.batch_size,
        decode=DecodeConfig(**decode_settings(record, config)),
        store=config.store,
        fetch_timeout_s=config.fetch_timeout_s,
        fetch_concurrency=config.fetch_concurrency,
        device=config.device,
        num_taggers=config.num_taggers,
        gpus_per_tagger=config.gpus_per_tagger,
        num_decoders=config.num_decoders,
        address=config.address,
        max_error_rate=config.max_error_rate,
        max_rounds=config.max_rounds,
    )
