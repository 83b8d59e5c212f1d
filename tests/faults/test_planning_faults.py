"""A driver that dies while it lists a bucket: the next one goes on behind its last shard."""

import json
import threading
import time
from pathlib import Path

import pytest

from ram_ray.config import StoreConfig
from ram_ray.tagging.outputs.verification import verify_output
from tests.conftest import S3Server, photo_bytes
from tests.faults.scene import rows
from tests.faults.store_proxy import Request, spoilt_server
from tests.faults.test_storms import SHARD_ROWS, StormDriver

# In `make proof`: on a busy machine the listing may end between two looks at its notes.
pytestmark = [pytest.mark.proof, pytest.mark.timeout(1_200)]

PHOTOS = 10 * SHARD_ROWS + 3


def noted(output: Path) -> int:
    """Return how many shards the killed attempt has noted."""
    for path in (output / "plan").glob("*/progress.json"):
        attempts = json.loads(path.read_text())["attempts"]
        return sum(count for _, count in attempts)
    return 0


def test_driver_killed_while_planning(s3: S3Server, tmp_path: Path) -> None:
    objects = {f"in/{seed:04d}.jpg": photo_bytes(seed) for seed in range(PHOTOS)}
    source = f"{s3.bucket('planning', objects)}/in"
    output = tmp_path / "out"
    pages: list[str] = []
    one_page = threading.Lock()

    def slowly(request: Request) -> None:
        if "list-type=2" in request.path:
            pages.append(request.path)
            with one_page:  # however many are asked for at a time
                time.sleep(0.5)

    assert s3.config.endpoint_url
    with spoilt_server(s3.config.endpoint_url, slowly) as proxy:
        proxy.page_keys = 4
        driver = StormDriver(source, str(output), proxy.url)
        assert driver.wait_until(lambda: noted(output) >= 3), driver.finish()
        driver.kill()
        assert not (output / "plan/plan.json").exists()
        before = noted(output)
        pages.clear()
        code, printed = StormDriver(source, str(output), proxy.url).finish()
    assert code == 0, printed
    plan = json.loads((output / "plan/plan.json").read_text())
    assert [count for _, count in plan["attempts"]] == [before, 11 - before]
    assert set(rows(output)) == set(objects)
    assert verify_output(str(output), StoreConfig()).ok
    behind = f"{SHARD_ROWS * before - 1:04d}.jpg"
    assert any("start-after" in page and behind in page for page in pages)
