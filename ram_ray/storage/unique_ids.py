"""Ids that come from a list or a table are the caller's: two rows of one id are refused by name."""

from array import array
from collections.abc import Callable, Iterator

import numpy as np

from ram_ray.errors import ConfigError
from ram_ray.storage.sources import SourceObject

MAX_SHOWN = 3


def refuse_twice(listing: Callable[[], Iterator[SourceObject]]) -> Iterator[SourceObject]:
    """Yield what a listing yields, and refuse it at its end where two rows share an id.

    Holds 8 bytes a row; only where two hashes meet is it listed again, to compare the ids.

    Args:
        listing: starts to list, also a second time.

    Raises:
        ConfigError: at the end; names the first ids that are there twice.
    """
    hashes = array("q")
    for listed in listing():
        if listed.from_row:
            hashes.append(hash(listed.image_id))
        yield listed
    ordered = np.sort(np.frombuffer(hashes, np.int64)) if hashes else np.empty(0, np.int64)
    alike = {int(one) for one in ordered[1:][ordered[1:] == ordered[:-1]]}
    if not alike:
        return
    seen: set[str] = set()
    twice: list[str] = []
    for listed in listing():
        if listed.from_row and hash(listed.image_id) in alike:
            if listed.image_id in seen and listed.image_id not in twice:
                twice.append(listed.image_id)
            seen.add(listed.image_id)
    if twice:
        more = f" and {len(twice) - MAX_SHOWN:,} more" if len(twice) > MAX_SHOWN else ""
        raise ConfigError(
            f"Two rows have the id {', '.join(map(repr, twice[:MAX_SHOWN]))}{more}: name a column "
            "whose values are unique with --id-column, or --id-column '#row' for file and row."
        )
