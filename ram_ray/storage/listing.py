"""Any source of images: what it lists, and what is in its containers; no pixels are read.

list_objects   folder, prefix, tar, table, list, inventory, repository: a container is one object
list_images    the same with the members of tars and the rows of tables in place of the containers
"""

import re
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import chain

from obstore.exceptions import BaseError

from ram_ray.config import ImageTables, StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.storage.cloud_listing import list_cloud
from ram_ray.storage.lance_tables import LANCE
from ram_ray.storage.object_files import open_object, stat_object
from ram_ray.storage.reasons import first_line
from ram_ray.storage.sources import NameFilter, OnPassed, SourceObject, list_after, list_source
from ram_ray.storage.stores import split_url
from ram_ray.storage.tables.inventory import MANIFEST, list_inventory
from ram_ray.storage.tables.lance_rows import list_lance
from ram_ray.storage.tables.parquet_rows import list_table
from ram_ray.storage.tables.uri_lists import LISTS, list_uris
from ram_ray.storage.tars import COMPRESSED, TarIndex, index_tar
from ram_ray.storage.uris import member_uri, object_key, split_member, split_row, whole_uri
from ram_ray.storage.web.hub import list_hub

TARS_AT_ONCE = 8
"""Whose headers are read ahead of the listing."""
_AHEAD = 256
"""Listed objects between them."""
MAX_BRACES = 1_000_000
"""Files that a pattern may stand for."""
REPLACED = "container that was replaced while it was listed"
PACKED = "compressed tar: unpack it to .tar"
DAMAGED = "tar that is damaged or no tar"
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")

_DEFAULT = ImageTables()


def list_objects(
    url: str,
    store: StoreConfig,
    on_passed: OnPassed | None = None,
    tables: ImageTables = _DEFAULT,
) -> Iterator[SourceObject]:
    """Yield the objects of any source, in its order: containers as they are, lists read.

    Args:
        on_passed: as of `list_source`; also told rows without a URI or an id; None: they are
            errors.

    Raises:
        ConfigError: no source of a kind that is known, or a list whose columns cannot be told.
        UnreachableError: it cannot be listed.
    """
    many = expand_braces(url)
    if many is not None:
        above = url[: url.index("{")].rpartition("/")[0]
        return chain.from_iterable(
            _named_below(above, one, list_objects(one, store, on_passed, tables)) for one in many
        )
    scheme = split_url(url)[0]
    name = url.rstrip("/").rpartition("/")[2].lower()
    if name.endswith(LISTS) and scheme != "hf":
        return list_uris(url, store, tables, on_passed or _refuse)
    if name == MANIFEST:
        return list_inventory(url, store)
    if name.endswith(COMPRESSED):
        raise ConfigError(f"source is {url!r}, a compressed tar: unpack it to .tar.")
    if scheme == "hf":
        return _list_hub(url)
    if name.endswith((".tar", ".parquet", LANCE)) or scheme in ("http", "https"):
        return iter([single_object(url, store)])
    if scheme in ("gs", "az"):
        return list_cloud(url, store)
    return list_source(url, store, on_passed)


def list_images(
    url: str,
    store: StoreConfig,
    names: NameFilter,
    on_passed: OnPassed | None = None,
    tables: ImageTables = _DEFAULT,
) -> Iterator[SourceObject]:
    """Yield the images of any source, and whatever else it lists; `names.takes` tells them apart.

    Args:
        names: containers that it excludes are not opened.
        on_passed: also told what cannot be read of a container.

    Raises:
        ConfigError: as of `list_objects`; a table whose columns cannot be told.
        UnreachableError: the source cannot be listed, or a container cannot be read.
    """
    containers = _Containers(store, names, on_passed, tables, alone=is_table(url))
    try:
        listed = list_objects(url, store, on_passed, tables)
        yield from chain.from_iterable(containers.opened(listed))
    finally:
        containers.close()


def in_key_order(url: str) -> bool:
    """Tell whether a source is listed in the order of its keys, so that `images_after` goes on."""
    name = url.rstrip("/").lower()
    is_one = is_table(url) or name.endswith((".tar", *COMPRESSED))
    return split_url(url)[0] == "s3" and not is_one and expand_braces(url) is None


def images_after(
    url: str,
    last_uri: str,
    store: StoreConfig,
    names: NameFilter,
    on_passed: OnPassed | None = None,
    tables: ImageTables = _DEFAULT,
) -> Iterator[SourceObject]:
    """Yield what `list_images` yields after an image, of a source in key order.

    Where that image is a part of a container which is another by now, the rest of it is passed
    over: the parts that are planned already have other ids, or other bytes.

    Raises:
        UnreachableError: the source cannot be listed.
    """
    cell = split_row(last_uri)
    place, part = (cell[0], cell[1]) if cell is not None else split_member(last_uri)
    key = object_key(place, split_url(url)[1])
    containers = _Containers(store, names, on_passed, tables, alone=False)
    try:
        if part is not None:
            etag, size_bytes = stat_object(whole_uri(place), store)
            container = SourceObject(key, whole_uri(place), etag, size_bytes)
            within = chain.from_iterable(containers.opened(iter([container])))
            if not any(one.uri == last_uri for one in within):
                containers.on_passed(key, REPLACED)
            yield from within
        yield from chain.from_iterable(containers.opened(list_after(url, store, key)))
    finally:
        containers.close()


def is_table(url: str) -> bool:
    """Tell whether a source is a table or a list by its name, not a place of many files."""
    return url.rstrip("/").lower().endswith((".parquet", LANCE, *LISTS)) or is_inventory(url)


def is_inventory(url: str) -> bool:
    """Tell whether a source is an inventory's manifest, by its name."""
    return url.rpartition("/")[2] == MANIFEST


def single_object(url: str, store: StoreConfig) -> SourceObject:
    """Return the one object that a URL names; its id is its name without folders.

    Raises:
        UnreachableError: it is not there.
    """
    scheme, _, path = split_url(url)
    place = path if scheme == "file" else url
    name = place.rstrip("/").rpartition("/")[2] or place
    if name.lower().endswith(LANCE):
        return SourceObject(name, place.rstrip("/"), None, 0)
    if scheme in ("http", "https") and not name.lower().endswith((".tar", ".parquet")):
        return SourceObject(place, whole_uri(place), None, 0, from_row=True)
    etag, size_bytes = stat_object(whole_uri(place), store)
    return SourceObject(name, whole_uri(place), etag, size_bytes)


def expand_braces(url: str) -> list[str] | None:
    """Return the URLs that `{000..999}` stands for, as in WebDataset; None: there are no braces.

    Raises:
        ConfigError: a range that runs backwards, or too many.
    """
    match = _BRACES.search(url)
    if match is None:
        return None
    first, last = match[1], match[2]
    if int(first) > int(last) or int(last) - int(first) >= MAX_BRACES:
        raise ConfigError(
            f"source is {url!r}, but {match[0]} must go up, by at most {MAX_BRACES:,} numbers."
        )
    width = len(first) if len(first) == len(last) or first.startswith("0") else 0
    found: list[str] = []
    for number in range(int(first), int(last) + 1):
        one = f"{url[: match.start()]}{number:0{width}d}{url[match.end() :]}"
        found += expand_braces(one) or [one]
        if len(found) > MAX_BRACES:
            raise ConfigError(f"source is {url!r}, more than {MAX_BRACES:,} files.")
    return found


def _list_hub(url: str) -> Iterator[SourceObject]:
    for path, uri, etag, size_bytes in list_hub(url):
        yield SourceObject(path, whole_uri(uri), etag, size_bytes)


def _named_below(above: str, url: str, listed: Iterator[SourceObject]) -> Iterator[SourceObject]:
    """Call the one container of a URL as it is called below a folder: names repeat elsewhere."""
    name = url.removeprefix(f"{above}/")
    for one in listed:
        yield (
            one
            if one.from_row or url.rpartition("/")[2] != one.image_id
            else replace(one, image_id=name)
        )


class _Containers:
    """Puts the images of tars and tables in the place of these; headers of tars are read ahead."""

    def __init__(
        self,
        store: StoreConfig,
        names: NameFilter,
        on_passed: OnPassed | None,
        tables: ImageTables,
        *,
        alone: bool,
    ) -> None:
        self._store, self._names, self._tables, self._alone = store, names, tables, alone
        self.on_passed: OnPassed = on_passed or _refuse
        self._threads = ThreadPoolExecutor(TARS_AT_ONCE, thread_name_prefix="tar-headers")

    def opened(self, listed: Iterator[SourceObject]) -> Iterator[Iterable[SourceObject]]:
        """Yield what stands in the place of each object, in order."""
        ahead: deque[tuple[SourceObject, Future[TarIndex] | None]] = deque()
        tars = 0
        for one in listed:
            is_tar = self._is_opened(one) and one.image_id.lower().endswith(".tar")
            index = self._threads.submit(_index, one, self._store) if is_tar else None
            ahead.append((one, index))
            tars += is_tar
            while len(ahead) > _AHEAD or tars > TARS_AT_ONCE:
                first, index = ahead.popleft()
                tars -= index is not None
                yield self._within(first, index)
        for first, index in ahead:
            yield self._within(first, index)

    def close(self) -> None:
        """Read no more headers."""
        self._threads.shutdown(cancel_futures=True)

    def _is_opened(self, one: SourceObject) -> bool:
        return not one.from_row and not self._names.excludes(one.image_id)

    def _within(
        self, one: SourceObject, index: "Future[TarIndex] | None"
    ) -> Iterable[SourceObject]:
        name = one.image_id.lower()
        if index is not None:
            return self._members(one, index)
        if not self._is_opened(one):
            return (one,)
        if name.endswith(COMPRESSED):
            self.on_passed(one.image_id, PACKED)
            return ()
        if name.endswith(".parquet"):
            told = self.on_passed
            return list_table(one, self._store, self._tables, told, alone=self._alone)
        if name.endswith(LANCE) and self._alone:  # in a folder it is a file of such a table
            return list_lance(one, self._store, self._tables, self.on_passed)
        return (one,)

    def _members(self, tar: SourceObject, index: Future[TarIndex]) -> Iterator[SourceObject]:
        try:
            found = index.result()
        except (tarfile.TarError, EOFError, OSError, BaseError) as error:
            self.on_passed(f"{tar.image_id}: {first_line(error)}", DAMAGED)
            return
        for name, problem in found.problems:
            if self._names.accepts(f"{tar.image_id}/{name}"):
                self.on_passed(f"{tar.image_id}/{name}", f"member that {problem}")
        place = split_member(tar.uri)[0]
        for member in found.members:
            uri = member_uri(place, member.offset, member.size)
            # with the tar's etag: at this place another content has another picture
            yield SourceObject(f"{tar.image_id}/{member.name}", uri, tar.etag, member.size)


def _index(tar: SourceObject, store: StoreConfig) -> TarIndex:
    with closing(open_object(tar.uri, store, etag=tar.etag)) as file:
        return index_tar(file)


def _refuse(place: str, why: str) -> None:
    raise UnreachableError(f"{place} cannot be read: {why}.")
