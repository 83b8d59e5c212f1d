"""Settings of `ram-ray serve`: frozen, validated on construction."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from ram_ray.config import (
    DecodeConfig,
    Hardware,
    ModelCalls,
    StoreConfig,
    option,
    require,
    require_at_least_one,
)
from ram_ray.errors import ConfigError
from ram_ray.options import merge_settings
from ram_ray.serving.job_locations import normal_location

LogLevel = Literal["debug", "info", "warning", "error"]


def check_prefix(name: str, prefix: str) -> None:
    """Raise ConfigError unless an operator's prefix is an absolute folder or an s3:// URL."""
    ok = normal_location(prefix) is not None
    require(ok, name, prefix, "an absolute folder or s3://bucket/prefix, without . or ..")


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitConfig:
    """What one request, one key and one ingress process may take; all checked before decoding."""

    max_body_bytes: int = 64 * 2**20
    """Of a request, counted as it arrives."""
    max_images_per_request: int = 32
    max_pending_images: int = 256
    """Accepted and unanswered images of one ingress process; the next request gets a 503. One
    client may have as many as stay free beside it, likewise of bytes and bodies; then a 429."""
    max_pending_bytes: int = 512 * 2**20
    """Bodies being read and images held, of one ingress process; the next request gets a 503."""
    max_pending_bodies: int = 192
    """Bodies on their way in, of one ingress process; below the 512 requests of HAProxy."""
    body_timeout_s: float = 30.0
    """For a body to arrive in full."""
    min_body_bytes_per_s: int = 4 * 2**10
    """Pace of a body after its first 5 s; what comes slower is given up."""
    request_timeout_s: float = 60.0
    """From acceptance to the answer, retries included."""
    max_wait_s: float = 10.0
    """While the last answers all took longer, new requests get a 503."""
    drain_s: float = 3.0
    """After SIGTERM or Ctrl-C: how long at least the server says that it is not ready, for load
    balancers to hear it, before it ends; what was accepted is waited for in any case."""
    images_per_s: float | None = None
    """Most images per second of one key (without keys: of one client address); None: no limit."""
    burst_images: int = 64
    """Images that one key may send at once above its rate."""

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "max_images_per_request", "max_pending_images",
                     "max_pending_bytes", "max_pending_bodies", "min_body_bytes_per_s",
                     "burst_images"):  # fmt: skip
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("body_timeout_s", "request_timeout_s", "max_wait_s"):
            require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        require(self.drain_s >= 0, "drain_s", self.drain_s, "at least 0")
        rate = self.images_per_s
        require(rate is None or rate > 0, "images_per_s", rate, "above 0, or left out")
        for name in ("max_images_per_request", "burst_images"):
            fits = getattr(self, name) <= self.max_pending_images or name == "burst_images"
            require(fits, name, getattr(self, name), "at most max_pending_images")
        fits = self.max_body_bytes <= self.max_pending_bytes
        require(fits, "max_body_bytes", self.max_body_bytes, "at most max_pending_bytes")
        fits = rate is None or self.burst_images >= self.max_images_per_request
        require(fits, "burst_images", self.burst_images, "at least max_images_per_request")


@dataclass(frozen=True, kw_only=True, slots=True)
class UrlConfig:
    """Images by URL: off unless hosts are named."""

    hosts: tuple[str, ...] = option((), flag="--url-host", metavar="HOST")
    """Take images by URL from this host, at ports 80 and 443 or at HOST:PORT; `*.example.org`
    for every name below; (): no URLs."""
    buckets: tuple[str, ...] = ()
    """Take images as `s3://bucket/key` (Rekognition's S3Object) from these buckets, read with the
    server's own credentials; (): none."""
    store: StoreConfig = field(default_factory=StoreConfig)
    """How to reach those buckets."""
    timeout_s: float = 20.0
    """For one image, redirects included."""
    max_redirects: int = 3

    def __post_init__(self) -> None:
        for host in self.hosts:
            name, colon, port = host.removeprefix("*.").partition(":")
            ok = bool(name) and not set("*/@") & set(name)
            ok = ok and (not colon or (port.isdecimal() and 0 < int(port) < 65536))
            require(ok, "hosts", host, "host names, such as images.example.org, *.example.org or "
                    "images.example.org:8443")  # fmt: skip
        for bucket in self.buckets:
            ok = normal_location(f"s3://{bucket}") == f"s3://{bucket}" and "/" not in bucket
            require(ok, "buckets", bucket, "the name of a bucket")
        require(self.timeout_s > 0, "timeout_s", self.timeout_s, "above 0")
        require(self.max_redirects >= 0, "max_redirects", self.max_redirects, "at least 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessConfig:
    """Who may call."""

    api_keys_file: str | None = option(None, flag="--api-keys", metavar="FILE")
    """Only callers with one of these keys, `name:secret` a line; None: the variable
    RAM_RAY_API_KEYS (`name:secret,...`) if set."""
    allow_anyone: bool = False
    """Let everybody in on an address that others can reach; needed there without keys."""
    allowed_origins: tuple[str, ...] = ()
    """Web sites, besides this server's own page, whose pages may call: https://app.example.org."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaConfig:
    """Processes of the cluster: ingress (decoding) and model, each scaled on its own."""

    min_replicas: int = 1
    """Model processes at least; 0: none while idle, the first request waits for one to load."""
    max_replicas: int = 1
    """Model processes at most."""
    gpus_per_replica: float = 0.0
    """GPU share of a model process: 0, a fraction, or a whole number."""
    cpus_per_replica: float = 0.5
    """What Ray reserves for a model process."""
    min_ingresses: int = 1
    max_ingresses: int = 1
    cpus_per_ingress: float = 0.25
    num_decoders: int = 2
    """Decoder processes of one ingress."""
    surge_percent: int = 25
    """Processes started beyond their number during an update, rounded up, so that the old ones
    serve until the new ones do; 0 where there is no room for one more."""
    upscale_delay_s: float = 5.0
    downscale_delay_s: float = 120.0

    def __post_init__(self) -> None:
        require(self.min_replicas >= 0, "min_replicas", self.min_replicas, "at least 0")
        require(self.min_ingresses >= 1, "min_ingresses", self.min_ingresses, "at least 1")
        for low, high in (("min_replicas", "max_replicas"), ("min_ingresses", "max_ingresses")):
            least = max(1, getattr(self, low))
            require(getattr(self, high) >= least, high, getattr(self, high), f"at least {least}")
        require(self.num_decoders >= 1, "num_decoders", self.num_decoders, "at least 1")
        share = self.gpus_per_replica
        ok = 0 <= share < 1 or share == int(share)
        require(ok, "gpus_per_replica", share, "0, a fraction below 1, or a whole number")
        for name in ("cpus_per_replica", "cpus_per_ingress", "surge_percent", "upscale_delay_s",
                     "downscale_delay_s"):  # fmt: skip
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class JobsConfig:
    """Tagging jobs started by requests (POST /v1/jobs): off unless both lists name something."""

    sources: tuple[str, ...] = ()
    """Folders and s3://bucket/prefixes whose images a job may read, everything below included."""
    outputs: tuple[str, ...] = ()
    """Folders and prefixes below which a job may write."""
    settings: tuple[str, ...] = ()
    """`key=value` of every job, as `ram-ray tag --set`; a request's own options come after."""
    store: StoreConfig = field(default_factory=StoreConfig)
    """How jobs reach the buckets, and this server their progress."""
    address: str | None = None
    """Ray's job server, http://HEAD:8265; None: that of the cluster this server runs on."""
    entrypoint_num_cpus: float = 0.1
    """What Ray reserves for a job's driver; above 0, so that a head without CPUs runs none."""
    timeout_s: float = 15.0
    """For the job server and the buckets to answer."""
    price_per_million: float | None = None
    """What a million images cost the operator, for the plan that is shown before a job starts; as
    `ram-ray plan` forecasts it. None: no price is shown."""
    currency: str = "USD"
    """Of that price."""

    def __post_init__(self) -> None:
        for name in ("sources", "outputs"):
            for prefix in getattr(self, name):
                check_prefix(name, prefix)
        both = bool(self.sources) == bool(self.outputs)
        require(both, "outputs", self.outputs, "given together with sources, or neither")
        merge_settings({}, settings=self.settings)  # says what is not key=value
        price = self.price_per_million
        ok = price is None or price >= 0
        require(ok, "price_per_million", price, "at least 0, or left out")
        require(len(self.currency) == 3, "currency", self.currency, "a code such as USD")
        for name in ("entrypoint_num_cpus", "timeout_s"):
            require(getattr(self, name) > 0, name, getattr(self, name), "above 0")

    @property
    def enabled(self) -> bool:
        """Whether requests may start jobs."""
        return bool(self.sources)


@dataclass(frozen=True, kw_only=True, slots=True)
class PageConfig:
    """The page at `/`."""

    examples: str | None = None
    """Folder of the pictures it offers, with an examples.json (docs/page.md); None: a few of its
    own. Anybody who reaches the page can see them."""

    def __post_init__(self) -> None:
        folder = self.examples
        ok = folder is None or (Path(folder) / "examples.json").is_file()
        require(ok, "examples", folder, "a folder with an examples.json")


@dataclass(frozen=True, kw_only=True)
class ServeConfig(Hardware, ModelCalls):
    """`ram-ray serve`: which models, where, and within what limits."""

    models: tuple[str, ...] = option(("ram-mini",), flag="--model", metavar="NAME|FOLDER")
    """Model name or folder that requests may ask for, the first where they do not."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = option(8000, bounds=(1, 65535))
    """Port."""

    batch_size: int = 16
    """Most images per model call."""
    threads: int | None = None
    """Of torch in a model process on a CPU; None: torch's own choice."""
    log_level: LogLevel = "info"
    """Least level of the JSON lines on standard error; debug: also probes and parts of the page."""
    loaded_models: int = 2
    """Models that one process keeps in memory; others wait for the least used to leave."""
    text_encoder: str | None = option(None, metavar="PATH")
    """CLIP weights that read new tags; None: the model folder's own."""
    thresholds: tuple[str, ...] = option((), metavar="TAG=X")
    """Threshold of a tag over the default model's own, such as `cat=0.7`; can change while
    serving."""

    limits: LimitConfig = field(default_factory=LimitConfig)
    decode: DecodeConfig = field(
        default_factory=lambda: DecodeConfig(max_image_bytes=32 * 2**20, decode_timeout_s=10.0)
    )
    urls: UrlConfig = field(default_factory=UrlConfig)
    access: AccessConfig = field(default_factory=AccessConfig)
    replicas: ReplicaConfig = field(default_factory=ReplicaConfig)
    jobs: JobsConfig = field(default_factory=JobsConfig)
    page: PageConfig = field(default_factory=PageConfig)

    def __post_init__(self) -> None:
        require(bool(self.models) and all(self.models), "models", self.models, "at least one name")
        require(len(set(self.models)) == len(self.models), "models", self.models, "each one once")
        require(bool(self.host), "host", self.host, "a name or address")
        require(0 < self.port < 65536, "port", self.port, "between 1 and 65535")
        Hardware.__post_init__(self)
        ModelCalls.__post_init__(self)
        require_at_least_one(self, "loaded_models", "threads")
        known = get_args(LogLevel)
        require(self.log_level in known, "log_level", self.log_level, f"one of {', '.join(known)}")
        self.threshold_of()

    def threshold_of(self) -> dict[str, float]:
        """Return `thresholds` by tag name.

        Raises:
            ConfigError: an entry is not `tag=number` with a number from 0 to 1.
        """
        found: dict[str, float] = {}
        for entry in self.thresholds:
            name, equals, text = entry.rpartition("=")
            try:
                found[name] = float(text)
            except ValueError:
                found[name] = -1.0
            ok = bool(equals and name) and 0 <= found[name] <= 1
            require(ok, "thresholds", entry, "tag=number, the number between 0 and 1")
        return found


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_access(config: ServeConfig, keys: dict[str, str]) -> None:
    """Refuse to open a door without a lock.

    Raises:
        ConfigError: the address can be reached by others, and there are no keys.
    """
    if keys or config.access.allow_anyone or is_loopback(config.host):
        return
    raise ConfigError(
        f"host is {config.host!r}, which others can reach, but there are no API keys: put one "
        "`name:secret` a line into a file and give --api-keys FILE (or set RAM_RAY_API_KEYS), or "
        "let everybody in with --allow-anyone."
    )
