"""Settings of the pipelines: frozen, validated on construction, before any work starts."""

from dataclasses import dataclass
from typing import Literal, get_args

from ram_ray.errors import ConfigError

Orientation = Literal["ignore", "apply"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16"]


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise ConfigError, naming field, value and what is allowed, unless `condition` holds."""
    if not condition:
        raise ConfigError(f"{name} is {value!r}, but must be {allowed}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreConfig:
    """How to reach object stores; credentials come from the environment, never from here."""

    endpoint_url: str | None = None
    """S3-compatible server, e.g. http://127.0.0.1:9000; None: the cloud's own."""
    region: str | None = None
    """S3 region; None: from the environment."""
    anonymous: bool = False
    """Unsigned requests, for public buckets."""

    def __post_init__(self) -> None:
        url = self.endpoint_url
        ok = url is None or url.startswith(("http://", "https://"))
        require(ok, "endpoint_url", url, "an http:// or https:// address")


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeConfig:
    """Limits and choices of image decoding; every limit exceeded is a quarantine row."""

    orientation: Orientation = "ignore"
    """`ignore` sees pixels as the reference does (parity); `apply` turns them upright by EXIF."""
    max_image_bytes: int = 256 * 2**20
    """Files above this are `too_large`, unread."""
    max_image_pixels: int = 100_000_000
    """Width x height, checked before pixels are allocated; 100 MP is about 400 MB decoded."""
    decode_timeout_s: float = 30.0
    """Wall-clock limit per image."""
    decode_memory_bytes: int = 1536 * 2**20
    """Address-space limit of a decoder process."""

    def __post_init__(self) -> None:
        choices = get_args(Orientation)
        require(self.orientation in choices, "orientation", self.orientation, " or ".join(choices))
        for name in ("max_image_bytes", "max_image_pixels", "decode_timeout_s"):
            value = getattr(self, name)
            require(value > 0, name, value, "above 0")
        require(
            self.decode_memory_bytes >= 256 * 2**20,
            "decode_memory_bytes",
            self.decode_memory_bytes,
            "at least 268435456 (256 MiB)",
        )
