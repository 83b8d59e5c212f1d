"""What a job would read: how many images, how many bytes, counted within a bound of time."""

import time
from dataclasses import dataclass

from ram_ray.config import StoreConfig
from ram_ray.storage.listing import list_images
from ram_ray.storage.sources import NameFilter, PassedOver


@dataclass(frozen=True, kw_only=True, slots=True)
class CountedSource:
    """Images, those in tars and tables of the source included."""

    num_images: int
    num_bytes: int
    is_complete: bool
    """False: the time was up; there are more."""


def count_source(
    source: str,
    store: StoreConfig,
    *,
    include: list[str] | None,
    exclude: list[str] | None,
    seconds: float,
) -> CountedSource:
    """Count what `ram-ray tag` would plan.

    Raises:
        UnreachableError: the source cannot be listed.
    """
    names = NameFilter(include or (), exclude or ())
    until = time.monotonic() + seconds
    num_images = num_bytes = 0
    for found in list_images(source, store, names, PassedOver()):
        if time.monotonic() > until:
            return CountedSource(num_images=num_images, num_bytes=num_bytes, is_complete=False)
        if names.takes(found):
            num_images += 1
            num_bytes += found.size_bytes
    return CountedSource(num_images=num_images, num_bytes=num_bytes, is_complete=True)
