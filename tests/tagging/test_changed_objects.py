"""What happens to an object between its listing and its fetch is said, or refused."""

import os
from pathlib import Path
from typing import Any

import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.storage.pins import local_etag
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.forecast.pipeline import plan_bucket
from ram_ray.tagging.outputs.verification import verify_output
from ram_ray.tagging.pipeline import tag_bucket
from ram_ray.tagging.remark_notes import remark_notes
from tests.conftest import photo_bytes
from tests.tagging.test_pipeline import read_rows, settings

pytestmark = pytest.mark.usefixtures("ray_session")


def planned(tmp_path: Path, **changes: Any) -> TagConfig:
    """Return the settings of a run that is planned, and whose photos then change."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(4):
        (photos / f"{seed}.jpg").write_bytes(photo_bytes(seed))
    config = settings(photos, tmp_path / "out", **changes)
    plan_bucket(config, sample=0)
    (photos / "1.jpg").write_bytes(photo_bytes(7, size=(80, 40)))
    os.utime(photos / "2.jpg", ns=(5, 5))  # the same bytes, written again
    (photos / "3.jpg").unlink()
    return config


def test_new_content_is_tagged_counted_and_named(tmp_path: Path) -> None:
    config = planned(tmp_path)
    summary = tag_bucket(config)
    rows = read_rows(config.output)
    assert {name: row["changed_etag"] for name, row in rows.items()} == {
        "0.jpg": None,
        "1.jpg": local_etag((tmp_path / "photos/1.jpg").stat()),
        "2.jpg": "mtime:5",
    }
    assert (rows["1.jpg"]["width"], rows["1.jpg"]["height"]) == (80, 40)
    codes = {
        name: row["error_code"] for name, row in read_rows(config.output, "quarantine").items()
    }
    assert codes == {"3.jpg": "not_found"}
    assert summary.remarks == {"changed_since_listed": 2}
    assert remark_notes(summary.remarks) == (
        "2 pictures were replaced after they were listed; their new content is tagged.",
    )
    assert verify_output(config.output, StoreConfig()).ok


def test_pinned_takes_only_what_was_listed(tmp_path: Path) -> None:
    config = planned(tmp_path, pinned=True)
    summary = tag_bucket(config)
    assert set(read_rows(config.output)) == {"0.jpg"}
    assert summary.quarantined_by_code == {"changed": 2, "not_found": 1}
    with pytest.raises(ConfigError, match="its pinned is True"):
        tag_bucket(settings(config.source, config.output))
