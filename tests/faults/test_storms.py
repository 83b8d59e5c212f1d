"""A store that fails at random: one call is enough, nothing is lost, nothing is there twice.

Every kind of fault that can happen to a request has the given share of it: with 1.5 % of each, 8 %
of all reads and 9 to 12 % of all writes go wrong; with 5 %, a quarter and up to two fifths.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ram_ray.config import StoreConfig
from ram_ray.runs.commits import read_commits, read_published
from ram_ray.runs.plans import read_plan
from ram_ray.storage.stores import open_store
from ram_ray.tagging.outputs.verification import verify_output
from tests.conftest import S3Server, photo_bytes
from tests.faults.scene import Driver
from tests.faults.store_proxy import stormy_server, what_happened

pytestmark = [pytest.mark.faults, pytest.mark.timeout(6_000)]

PHOTOS = 240
SHARD_ROWS = 8
MAX_CALLS = {0.015: 1, 0.05: 2}
"""By the share of each fault."""


@pytest.fixture(scope="module")
def short(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--faults-short"))


@pytest.fixture(scope="module")
def photos(s3: S3Server) -> str:
    """Return a bucket of photos, and of three objects that are none."""
    objects = {f"in/{seed:04d}.jpg": photo_bytes(seed) for seed in range(PHOTOS)}
    objects |= {"in/text.jpg": b"no image", "in/empty.png": b"", "in/cut.jpg": photo_bytes(1)[:900]}
    objects |= {"in/sub//double.jpg": photo_bytes(2), "in/notes.txt": b"skipped"}
    return f"{s3.bucket('storms', objects)}/in"


class StormDriver(Driver):
    """One call of `tag_bucket` on a store behind an address."""

    script = Driver.script.replace(
        "TagConfig(**json.loads(sys.argv[1]))", "tag_config(json.loads(sys.argv[1]))"
    ).replace("import TagConfig", "import tag_config")

    def __init__(self, source: str, output: str, endpoint_url: str) -> None:
        own = {"store.endpoint_url": endpoint_url, "shard_rows": SHARD_ROWS}
        self._start({**self.defaults, **own, "source": source, "output": output})


def outcome(output: str, config: StoreConfig) -> tuple[dict[str, object], dict[str, str]]:
    """Return tagged rows and error codes by image id, of a whole run that verifies."""
    report = verify_output(output, config)
    assert report.ok, report
    store = open_store(output, config)
    plan = read_plan(store)
    assert plan
    tags: dict[str, object] = {}
    codes: dict[str, str] = {}
    for commit in read_commits(store, range(plan.shards)):
        rows: list[pa.Table] = [read_published(store, file) for file in commit.files]
        tags |= {row["image_id"]: row for row in rows[0].to_pylist()}
        codes |= {row["image_id"]: row["error_code"] for row in rows[1].to_pylist()}
    return tags, codes


@pytest.fixture(scope="module")
def undisturbed(photos: str, s3: S3Server) -> tuple[dict[str, object], dict[str, str]]:
    assert s3.config.endpoint_url
    code, printed = StormDriver(photos, "s3://storms/calm", s3.config.endpoint_url).finish()
    assert code == 0, printed
    return outcome("s3://storms/calm", s3.config)


def storms(short: bool) -> Iterator[tuple[float, int]]:
    for rate in MAX_CALLS:
        for seed in range(1 if short else 10):
            yield rate, seed


def test_one_call_through_a_storm(
    photos: str,
    s3: S3Server,
    undisturbed: tuple[dict[str, object], dict[str, str]],
    short: bool,
    tmp_path: Path,
) -> None:
    assert s3.config.endpoint_url
    told: list[dict[str, Any]] = []
    for rate, seed in storms(short):
        output = f"s3://storms/out-{rate}-{seed}"
        started = time.monotonic()
        with stormy_server(s3.config.endpoint_url, rate, seed) as url:
            calls = 0
            code, printed = 4, ""
            while code in (4, 5) and calls < 6:
                calls += 1
                code, printed = StormDriver(photos, output, url).finish()
            faults = {name: n for name, n in what_happened(url).items() if "well" not in name}
        told.append({"rate": rate, "seed": seed, "calls": calls, "exit_code": code})
        told[-1] |= {"faults": sum(faults.values()), "wall_s": round(time.monotonic() - started, 1)}
        print(json.dumps(told[-1] | {"by_kind": faults}), flush=True)
        (tmp_path / f"{rate}-{seed}.log").write_text(printed)
        assert code == 0, printed
        tags, codes = outcome(output, s3.config)
        assert codes == undisturbed[1]
        assert tags == undisturbed[0]
    late = [trial for trial in told if trial["calls"] not in range(1, 1 + MAX_CALLS[trial["rate"]])]
    assert not late
