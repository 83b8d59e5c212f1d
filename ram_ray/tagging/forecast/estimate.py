"""From a sample to the time and the bill of a run: arithmetic, nothing measured here."""

from dataclasses import dataclass

from ram_ray.config import require
from ram_ray.tagging.forecast.sample import Sample

REQUESTS_PER_SHARD = 5
"""Writes of a commit: two staged files, the commit, two copies to the final names."""
LISTED_PER_REQUEST = 1_000
"""Keys per page of an S3 listing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """What the user pays, in any currency; None: that part of the bill is left out."""

    machine_per_hour: float | None = None
    get_per_1000: float | None = None
    """GET requests."""
    put_per_1000: float | None = None
    """PUT, COPY and LIST requests."""

    def __post_init__(self) -> None:
        for name in ("machine_per_hour", "get_per_1000", "put_per_1000"):
            value = getattr(self, name)
            require(value is None or value >= 0, name, value, "at least 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a run will take on a machine like this one; without Ray's start."""

    images_per_s: float
    wall_s: float
    wall_low_s: float
    wall_high_s: float
    """Two standard errors of the sample's means to each side."""
    bottleneck: str
    """fetching, decoding or model."""
    core_hours: float
    """Of decoding, on one core."""
    model_hours: float
    """Of one device of the sample's kind."""
    output_bytes: int
    """Of tags/."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """What a run costs; None where a price was not given."""

    get_requests: int
    put_requests: int
    machine: float | None
    requests: float | None
    total: float | None


def estimate_run(sample: Sample, images: int, *, cpus: int, gpus: int, fetchers: int) -> Estimate:
    """Return what `images` images take on a machine.

    Beside a GPU, decoding and the model run at the same time; on a CPU they share its cores.

    Args:
        sample: with at least one image that could be decoded.
        cpus: cores that decode.
        gpus: devices of the model; 0: it runs on the cores.
        fetchers: processes that fetch.
    """
    parts = {
        "fetching": sample.fetch_s / fetchers,
        "decoding": sample.decode_s / cpus,
        "model": sample.model_s / max(1, gpus),
    }
    errors = (2 * sample.decode_error_s / cpus, 2 * sample.model_error_s / max(1, gpus))
    if gpus:
        per_image_s, error_s = max(parts.values()), max(errors)
    else:
        on_cores = parts["decoding"] + parts["model"]
        per_image_s, error_s = max(on_cores, parts["fetching"]), sum(errors)
    return Estimate(
        images_per_s=round(1 / per_image_s, 2),
        wall_s=round(images * per_image_s, 1),
        wall_low_s=round(images * max(0.0, per_image_s - error_s), 1),
        wall_high_s=round(images * (per_image_s + error_s), 1),
        bottleneck=max(parts, key=parts.__getitem__),
        core_hours=round(images * sample.decode_s / 3600, 4),
        model_hours=round(images * sample.model_s / 3600, 4),
        output_bytes=round(images * sample.row_bytes),
    )


def bill_of(
    estimate: Estimate | None,
    prices: Prices,
    *,
    images: int,
    shards: int,
    source_is_bucket: bool,
    output_is_bucket: bool,
) -> Bill:
    """Return requests and cost of the images and shards that are left."""
    gets = images * source_is_bucket + 2 * shards * output_is_bucket  # the plan is read twice
    puts = REQUESTS_PER_SHARD * shards * output_is_bucket
    puts += -(-images // LISTED_PER_REQUEST) * source_is_bucket
    machine = requests = None
    if prices.machine_per_hour is not None and estimate is not None:
        machine = prices.machine_per_hour * estimate.wall_s / 3600
    if prices.get_per_1000 is not None or prices.put_per_1000 is not None:
        per_get, per_put = prices.get_per_1000 or 0.0, prices.put_per_1000 or 0.0
        requests = (gets * per_get + puts * per_put) / 1000
    known = [part for part in (machine, requests) if part is not None]
    return Bill(
        get_requests=gets,
        put_requests=puts,
        machine=machine,
        requests=requests,
        total=sum(known) if known else None,
    )
