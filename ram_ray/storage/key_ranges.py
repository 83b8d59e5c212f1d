"""Walk a sorted key space that is given page by page, at many places at once; yield it in order.

A store gives the keys after some key, a page at a time. One walk waits for every page; here each
idle slot reads at a place of its own, a cut between two known keys. Cuts are guesses: a bad one
costs one request and an empty page.

1. After two pages: a cut after all that begins like the last key, for each of its beginnings.
2. Then a part that goes on behind its page is cut evenly, into about as many pieces as it seems
   to have pages left, the earliest parts first.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ram_ray.storage.again import UnsettledError

AT_ONCE = 32
MAX_PAGES_AHEAD = 256
"""Pages held because earlier ones are not there yet: bounds the memory, about 100 MB."""
MAX_KEY_BYTES = 1_024
"""Of S3."""
_MOST_PIECES = 16
"""Of a part whose length cannot be guessed."""
_DIGITS = 16
"""Characters of a cut beyond what its part's two ends have in common."""
_CLASSES = ("0123456789", "abcdef", "ABCDEF", "abcdefghijklmnopqrstuvwxyz",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ")  # fmt: skip
_LAST = "~"
"""Of the characters that cuts are made of."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some keys in order, and what the listing says of each."""

    keys: list[str]
    items: list[T]
    more: bool
    """There are keys after the last one."""


ReadPage = Callable[[str, str | None], Page[T]]
"""(after, stop): the first page of the keys after `after`; empty and the last one where the first
of them comes after `stop`. Called from several threads."""


@dataclass(slots=True, eq=False)
class _Part(Generic[T]):
    """Keys after `after`, up to and including `stop`; None: to the end."""

    after: str
    stop: str | None
    pages: list[Page[T]] = field(default_factory=list)
    done: bool = False
    pages_left: float = 0.0
    """As it seems; 0 before a page is read, and once it has been cut."""


def walk_keys(
    read_page: ReadPage[T],
    *,
    prefix: str = "",
    after: str = "",
    at_once: int = AT_ONCE,
) -> Iterator[T]:
    """Yield what all pages hold, in the order of their keys.

    Args:
        read_page: asks the store.
        prefix: all keys begin with it.
        after: the walk begins after this key.

    Raises:
        UnsettledError: the store does not list its keys in order.
    """
    walk = _Walk(read_page, prefix, after, at_once)
    try:
        yield from walk.items()
    finally:
        walk.close()


class _Walk(Generic[T]):
    def __init__(self, read_page: ReadPage[T], prefix: str, after: str, at_once: int) -> None:
        self._read_page = read_page
        self._prefix = prefix
        self._at_once = at_once
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="list")
        self._parts: list[_Part[T]] = [_Part(after, None)]
        self._reading: dict[Future[Page[T]], _Part[T]] = {}
        self._num_pages = 0
        self._alphabet: set[str] = set()

    def items(self) -> Iterator[T]:
        while self._parts:
            front = self._parts[0]
            while front.pages:
                yield from front.pages.pop(0).items
            if front.done:
                self._parts.pop(0)
                continue
            self._start_reading()
            finished, _ = wait(self._reading, return_when=FIRST_COMPLETED)
            for future in finished:
                self._take(self._reading.pop(future), future.result())

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start_reading(self) -> None:
        """Give each idle slot the next page of the earliest parts, then new parts."""
        ahead = sum(len(part.pages) for part in self._parts)
        under_way = set(self._reading.values())
        for place, part in enumerate(self._parts):
            if len(self._reading) >= self._at_once or (place and ahead >= MAX_PAGES_AHEAD):
                return
            if not part.done and part not in under_way:
                self._read(part)
        for part in list(self._parts):
            idle = self._at_once - len(self._reading)
            if idle <= 0:
                return
            if part.pages_left >= 2:
                pieces = min(idle, _MOST_PIECES, math.ceil(min(part.pages_left, _MOST_PIECES)))
                alphabet = "".join(sorted(self._alphabet))
                self._cut(part, keys_between(part.after, part.stop, pieces, alphabet))

    def _cut(self, part: _Part[T], cuts: list[str]) -> None:
        """Split a part at some keys, and read the new parts as slots are free."""
        part.pages_left = 0.0
        if not cuts:
            return
        new = [_Part[T](cut, stop) for cut, stop in zip(cuts, [*cuts[1:], part.stop], strict=True)]
        part.stop = cuts[0]
        place = self._parts.index(part) + 1
        self._parts[place:place] = new
        for one in new:
            if len(self._reading) < self._at_once:
                self._read(one)

    def _read(self, part: _Part[T]) -> None:
        self._reading[self._threads.submit(self._read_page, part.after, part.stop)] = part

    def _take(self, part: _Part[T], page: Page[T]) -> None:
        """Keep of a page what lies in its part, which may have been cut meanwhile."""
        keys, stop = page.keys, part.stop
        if keys and (keys[0] <= part.after or keys != sorted(keys)):
            raise UnsettledError("the store does not list its keys in order")
        if keys and stop is not None and keys[-1] >= stop:
            size = sum(key <= stop for key in keys)
            page = Page(keys[:size], page.items[:size], False)
        part.done = not page.more
        if page.keys:
            part.after = page.keys[-1]
            part.pages.append(page)
        elif part.done and not part.pages and part is not self._parts[0]:
            self._parts.remove(part)
        self._num_pages += 1
        if part.done or self._at_once == 1:
            return
        self._alphabet |= alphabet_of(page.keys)
        if self._num_pages == 2 and len(self._parts) == 1:
            self._cut(part, cuts_by_beginning(part.after, len(self._prefix)))
        elif self._num_pages > 2:
            part.pages_left = pages_left(page.keys, part.stop, self._alphabet)


def alphabet_of(keys: list[str]) -> set[str]:
    """Return the characters in which the keys of a page differ, whole classes of them."""
    some = keys[:: max(1, len(keys) // 50)]
    columns = (set(column) for column in zip(*some, strict=False))
    seen = {char for column in columns if len(column) > 1 for char in column}
    for kind in _CLASSES:
        if seen & set(kind) and (kind[0] not in "aA" or len(kind) == 6 or seen & set(kind[6:])):
            seen |= set(kind)
    return {char for char in seen if " " <= char <= _LAST}


def cuts_by_beginning(last: str, length: int) -> list[str]:
    """Return keys, in order, each after all that begin like `last`: with ever less of it.

    Args:
        length: of what all keys begin with.
    """
    return [last[:at] + _LAST for at in range(len(last) - 1, length - 1, -1) if last[at] < _LAST]


def pages_left(keys: list[str], stop: str | None, alphabet: set[str]) -> float:
    """Return how many pages like this one fit between its last key and `stop`, about."""
    if stop is None or len(keys) < 2:
        return math.inf
    shared = _shared(keys[0], stop)
    digits = "".join(sorted(alphabet))
    first, last, end = (_number(key[shared:], digits) for key in (keys[0], keys[-1], stop))
    return (end - last) / (last - first) if last > first else math.inf


def keys_between(after: str, stop: str | None, count: int, alphabet: str) -> list[str]:
    """Return at most `count` made-up keys, in order, evenly between two others.

    Args:
        stop: None: no end.
        alphabet: sorted; what the keys are made of. Keys of other characters are found, too: they
            lie between cuts like all others.
    """
    if len(alphabet) < 2:
        return []
    shared = 0 if stop is None else _shared(after, stop)
    low = _number(after[shared:], alphabet)
    high = len(alphabet) ** _DIGITS
    if stop is not None:
        high = min(high, _number(stop[shared:], alphabet))
    found: list[str] = []
    for at in range(1, count + 1):
        left = low + (high - low) * at // (count + 1)
        text = ""
        for _ in range(_DIGITS):
            left, digit = divmod(left, len(alphabet))
            text = alphabet[digit] + text
        cut = after[:shared] + text
        fits = (found[-1] if found else after) < cut and (stop is None or cut < stop)
        if fits and len(cut.encode()) <= MAX_KEY_BYTES:
            found.append(cut)
    return found


def _shared(one: str, other: str) -> int:
    """Return how many characters two keys begin with in common."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _number(text: str, alphabet: str) -> int:
    """Return the first characters as a number in base len(alphabet)."""
    number = 0
    for at in range(_DIGITS):
        char = text[at : at + 1]
        digit = sum(other < char for other in alphabet) if char else 0
        number = number * len(alphabet) + digit  # of "~" more than any digit: a carry
    return number
