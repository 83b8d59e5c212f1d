"""A row that names an image, as an object of a source; one that names none is told."""

import os
from dataclasses import dataclass

from ram_ray.storage.pins import local_etag
from ram_ray.storage.sources import OnPassed, SourceObject
from ram_ray.storage.stores import split_url
from ram_ray.storage.uris import split_member, whole_uri

WITHOUT_URI = "row that does not say where its image is"
WITHOUT_ID = "row without an id"


def base_name(place: str) -> str:
    """Return what a file is called without its folder."""
    return place.rpartition("/")[2]


def text_of(value: object) -> str:
    """Return a cell as text; "" where it holds nothing."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return str(value)


@dataclass(frozen=True, slots=True)
class RowReader:
    """Makes objects of the rows of one list."""

    list_uri: str
    """Names without a scheme are below its folder."""
    by_row: bool
    """An image is called after the list and its row."""
    on_passed: OnPassed

    def object_of(self, uri: object, image_id: object, row: int) -> SourceObject | None:
        """Return the object of a row; None where it names none, which is told.

        Args:
            image_id: the caller's; None: the URI is the id.
            row: from 1.
        """
        where, name = text_of(uri), f"{base_name(split_member(self.list_uri)[0])}/{row}"
        own_id = where if image_id is None else text_of(image_id)
        if self.by_row:
            own_id = name
        if not where or not own_id:
            self.on_passed(name, WITHOUT_ID if where else WITHOUT_URI)
            return None
        place = self._place(where)
        etag, size_bytes = _local_facts(place)
        return SourceObject(own_id, whole_uri(place), etag, size_bytes, from_row=True)

    def _place(self, where: str) -> str:
        if "://" in where or where.startswith("/"):
            return where
        list_place = split_member(self.list_uri)[0]
        if "://" not in list_place:
            return os.path.join(os.path.dirname(os.path.abspath(list_place)), where)
        return f"{list_place.rpartition('/')[0]}/{where}"


def _local_facts(place: str) -> tuple[str | None, int]:
    """Return what a local file is pinned by; nothing is asked of servers, one by one."""
    if "://" in place and not place.startswith("file://"):
        return None, 0
    try:
        told = os.stat(split_url(place)[2])
    except (OSError, ValueError):  # planned; quarantined with the reason when it is fetched
        return None, 0
    return local_etag(told), told.st_size
