"""Many walks at once give what one walk gives, in the same order, whatever the keys are."""

from bisect import bisect_right

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ram_ray.storage.again import UnsettledError
from ram_ray.storage.key_ranges import Page, keys_between, walk_keys
from tests.storage.paged_server import NAMES


class Listing:
    """Pages of some keys, and how often they were asked for."""

    def __init__(self, keys: list[str], page_keys: int) -> None:
        self.keys = sorted(set(keys))
        self.page_keys = page_keys
        self.requests = 0

    def read(self, after: str, stop: str | None) -> Page[str]:
        self.requests += 1
        start = bisect_right(self.keys, after)
        page = self.keys[start : start + self.page_keys]
        return Page(page, page, start + self.page_keys < len(self.keys))


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("count", [0, 1, 10, 11, 3_000])
def test_keys_of_usual_shapes(names: str, count: int) -> None:
    listing = Listing([NAMES[names](number) for number in range(count)], page_keys=10)
    assert list(walk_keys(listing.read)) == listing.keys
    assert listing.requests <= 3 * (count // 10) + 100  # a bad guess costs a request


@settings(max_examples=60, deadline=None)
@given(
    keys=st.lists(st.text(st.sampled_from("ab/~é\U0001f600 0"), min_size=1, max_size=5)),
    page_keys=st.integers(1, 4),
)
def test_any_keys(keys: list[str], page_keys: int) -> None:
    listing = Listing(keys, page_keys)
    assert list(walk_keys(listing.read, at_once=4)) == listing.keys


def test_a_walk_goes_on_after_a_key_and_below_a_prefix() -> None:
    listing = Listing([NAMES["flat"](number) for number in range(500)], page_keys=10)
    after = listing.keys[123]
    assert list(walk_keys(listing.read, prefix="photos/", after=after)) == listing.keys[124:]


def test_few_keys_cost_one_request_a_page() -> None:
    listing = Listing([NAMES["flat"](number) for number in range(20)], page_keys=10)
    assert len(list(walk_keys(listing.read))) == 20
    assert listing.requests == 2


def test_a_store_without_order_is_refused() -> None:
    def same_page(after: str, stop: str | None) -> Page[str]:
        return Page(["a", "b"], ["a", "b"], True)

    with pytest.raises(UnsettledError, match="in order"):
        list(walk_keys(same_page))


def test_pages_held_ahead_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ram_ray.storage.key_ranges.MAX_PAGES_AHEAD", 4)
    listing = Listing([NAMES["hashes"](number) for number in range(2_000)], page_keys=10)
    walk = walk_keys(listing.read)
    first = [next(walk) for _ in range(30)]
    assert listing.requests < 70  # of 200 pages
    assert first + list(walk) == listing.keys


def test_cuts_lie_between_two_keys_in_order() -> None:
    cuts = keys_between("img-000120", "img-000990", 5, "0123456789")
    assert cuts == sorted(set(cuts))
    assert len(cuts) == 5
    assert "img-000120" < cuts[0]
    assert cuts[-1] < "img-000990"
