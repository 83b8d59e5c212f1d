"""hf:// datasets are listed at a commit, and read from it."""

from collections.abc import Iterator

import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from tests.storage.test_listing import bodies, listed, parquet_of, tar_of
from tests.storage.web.server import Site, site


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Return a hub with one dataset."""
    files = {
        "README.md": b"",
        "data/a.jpg": b"a",
        "data/b.tar": tar_of({"c.jpg": b"c"}),
        "data/t.parquet": parquet_of({"key": ["k"], "jpg": [b"t"]}),
    }
    with site(files) as state:
        monkeypatch.setenv("HF_ENDPOINT", state.url)
        monkeypatch.setenv("HF_TOKEN", "secret")
        yield state


def test_a_dataset_is_listed_by_pages_and_read_at_its_commit(hub: Site) -> None:
    found = listed("hf://datasets/org/name")
    wanted = {"data/a.jpg": b"a", "data/b.tar/c.jpg": b"c", "k": b"t"}
    assert bodies(found) == wanted
    assert found[0].uri == "hf://datasets/org/name@sha1/data/a.jpg"
    assert bodies(listed("hf://datasets/org/name@refs%2Fconvert%2Fparquet/data")) == wanted
    assert bodies(listed("hf://datasets/org/name/data/t.parquet")) == {"k": b"t"}
    assert {headers.get("Authorization") for _, _, headers in hub.asked} == {"Bearer secret"}


def test_a_token_is_for_the_hub_alone(hub: Site) -> None:
    with site({"x.jpg": b"elsewhere"}) as other:
        hub.first["/datasets/org/name/resolve/sha1/data/a.jpg"] = [
            (302, {"Location": f"{other.url}/x.jpg"})
        ]
        found = [one for one in listed("hf://datasets/org/name") if one.image_id == "data/a.jpg"]
        store = StoreConfig(private_addresses=True)
        assert bodies(found, store) == {"data/a.jpg": b"elsewhere"}
        assert "Authorization" not in other.asked[0][2]


def test_what_is_not_there_is_said(hub: Site) -> None:
    for url in (
        "hf://datasets/org/other",
        "hf://datasets/org/name/none",
        "hf://datasets/org/name@x",
    ):
        with pytest.raises(UnreachableError, match="no such dataset or path"):
            listed(url)
    with pytest.raises(ConfigError, match="write hf://datasets/ORG/NAME"):
        listed("hf://org/name")
    assert hub.asked
