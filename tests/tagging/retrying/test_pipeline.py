"""`retry` on real files, a real Ray and a real S3 server."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ram_model import Tagger
from ram_ray.config import DecodeConfig, StoreConfig
from ram_ray.console.progress import Progress
from ram_ray.errors import ConfigError, IncompleteRunError, LeaseHeldError
from ram_ray.runs.leases import take_lease
from ram_ray.storage.stores import open_store
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.outputs.published_rows import read_finished_run
from ram_ray.tagging.outputs.verification import verify_output
from ram_ray.tagging.pipeline import tag_bucket
from ram_ray.tagging.retrying import pipeline as retrying
from ram_ray.tagging.retrying.config import DecodeLimits, RetryConfig
from ram_ray.tagging.retrying.pipeline import retry_quarantined
from tests.conftest import S3Server, photo_bytes, write_photos

pytestmark = pytest.mark.usefixtures("ray_session")

NUM_PHOTOS = 8
BROKEN = {"cut.jpg": "truncated", "empty.png": "empty", "gone.jpg": "not_found"}
LARGE = {"huge.jpg": "too_large"}


def settings(source: Path | str, output: Path | str, **changes: Any) -> TagConfig:
    decode = DecodeConfig(max_image_bytes=20_000)
    defaults = {"shard_rows": 5, "batch_size": 4, "device": "cpu", "score_floor": 0.0}
    return TagConfig(source=str(source), output=str(output), decode=decode, **(defaults | changes))


def break_files(photos: Path) -> None:
    """Let the four files that are not photos fail, each in its way."""
    (photos.parent / "later.jpg").unlink(missing_ok=True)
    (photos / "cut.jpg").write_bytes(photo_bytes(21)[:-300])
    (photos / "empty.png").write_bytes(b"")
    (photos / "huge.jpg").write_bytes(photo_bytes(22) + bytes(20_000))


def mend(photos: Path) -> None:
    """Let every file but huge.jpg be a photo."""
    for seed, name in enumerate(("cut.jpg", "empty.png"), start=30):
        (photos / name).write_bytes(photo_bytes(seed, suffix=Path(name).suffix))
    (photos.parent / "later.jpg").write_bytes(photo_bytes(32))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `photos`, eight photos and four files that fail, and a run's `out`."""
    folder = tmp_path_factory.mktemp("retry")
    write_photos(folder / "photos", NUM_PHOTOS)
    (folder / "photos/gone.jpg").symlink_to(folder / "later.jpg")
    break_files(folder / "photos")
    tag_bucket(settings(folder / "photos", folder / "out"))
    return folder


@pytest.fixture
def photos(finished: Path) -> Path:
    """Return the folder of photos, its files broken as when the run saw them."""
    break_files(finished / "photos")
    return finished / "photos"


@pytest.fixture
def output(finished: Path, photos: Path, tmp_path: Path) -> Path:
    """Return the output of a finished run of the photos, for this test alone."""
    del photos  # broken again
    return Path(shutil.copytree(finished / "out", tmp_path / "out"))


def rows(output: Path, folder: str = "tags") -> dict[str, dict[str, Any]]:
    listed = pq.read_table(output / folder).to_pylist()
    by_id = {row["image_id"]: row for row in listed}
    assert len(by_id) == len(listed)
    return by_id


def codes(output: Path) -> dict[str, str]:
    return {name: row["error_code"] for name, row in rows(output, "quarantine").items()}


def config(output: Path | str, *error: str, **changes: Any) -> RetryConfig:
    return RetryConfig(output=str(output), error=error, device="cpu", **changes)


def test_mended_images_are_tagged_and_all_other_rows_stay(photos: Path, output: Path) -> None:
    assert codes(output) == BROKEN | LARGE
    before = rows(output)
    mend(photos)
    seen: list[Progress] = []
    summary = retry_quarantined(config(output), on_progress=seen.append)
    assert (summary.num_retried, summary.num_tagged, summary.quarantined_by_code) == (
        4, 3, {"too_large": 1},
    )  # fmt: skip
    assert (summary.output_tagged, summary.output_quarantined) == (NUM_PHOTOS + 3, 1)
    assert not summary.resumed
    assert (seen[-1].images_done, seen[-1].images_total) == (4, 4)
    assert codes(output) == LARGE
    after = rows(output)
    assert {name: after[name] for name in before} == before
    tagger = Tagger.load("ram-mini", score_floor=0.0)
    for name in BROKEN:
        expected = tagger.tag_file(photos / name)
        assert after[name]["tag_ids"] == expected.tag_ids.tolist()
        assert after[name]["scores"] == pytest.approx(expected.scores.tolist(), abs=1e-5)
    parts = sorted((output / "plan").rglob("*.parquet"))
    plan = [name for part in parts for name in pq.read_table(part)["image_id"].to_pylist()]
    assert list(after) == [name for name in plan if name in after]
    assert verify_output(str(output), StoreConfig()).ok
    resumed = tag_bucket(settings(photos, output))
    assert (resumed.num_tagged, resumed.quarantined_by_code) == (11, {"too_large": 1})
    assert verify_output(str(output), StoreConfig()).ok


def test_only_the_asked_errors_are_tried(photos: Path, output: Path) -> None:
    mend(photos)
    summary = retry_quarantined(config(output, "empty", "truncated"))
    assert summary.num_retried == summary.num_tagged == 2
    assert codes(output) == {"gone.jpg": "not_found"} | LARGE
    untouched = {path: path.stat().st_mtime_ns for path in output.rglob("*.parquet")}
    nothing = retry_quarantined(config(output, "empty"))
    assert (nothing.num_retried, nothing.output_quarantined) == (0, 2)
    assert untouched == {path: path.stat().st_mtime_ns for path in output.rglob("*.parquet")}
    assert len(list((output / "retries").iterdir())) == 1


def test_limits_may_be_raised(output: Path) -> None:
    wider = DecodeLimits(max_image_bytes=50_000)
    summary = retry_quarantined(config(output, "too_large", decode=wider))
    assert (summary.num_tagged, codes(output)) == (1, BROKEN)
    assert rows(output)["huge.jpg"]["width"] == 96
    record = json.loads((output / "run.json").read_text())
    assert record["decode"]["max_image_bytes"] == 20_000, "the run is resumed with its own limits"


def test_in_a_bucket(photos: Path, s3: S3Server) -> None:
    objects = {path.name: path.read_bytes() for path in photos.rglob("*.*") if path.is_file()}
    source = s3.bucket("retry-photos", objects)
    s3.bucket("retry-tags", {})
    tag_bucket(settings(source, "s3://retry-tags/run", store=s3.config))
    assert verify_output("s3://retry-tags/run", s3.config).quarantined == 3
    s3.client.put_object(Bucket="retry-photos", Key="empty.png", Body=photo_bytes(5))
    s3.client.delete_object(Bucket="retry-photos", Key="cut.jpg")
    summary = retry_quarantined(config("s3://retry-tags/run", store=s3.config))
    assert summary.quarantined_by_code == {"not_found": 1, "too_large": 1}
    report = verify_output("s3://retry-tags/run", s3.config)
    assert (report.ok, report.tagged, report.quarantined) == (True, 9, 2)


def test_a_retry_that_stops_while_it_tags_is_resumed(
    photos: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mend(photos)

    def stop(*_: object) -> tuple[str, ...]:
        raise IncompleteRunError("2 of 3 shards are not committed.")

    with monkeypatch.context() as patch:
        patch.setattr(retrying, "tag_shards", stop)
        with pytest.raises(IncompleteRunError):
            retry_quarantined(config(output, "empty"))
    assert codes(output) == BROKEN | LARGE
    report = verify_output(str(output), StoreConfig())
    assert (report.ok, report.unfinished_retry) == (True, 1)
    with pytest.raises(ConfigError, match="interrupted retry"):
        read_finished_run(open_store(str(output), StoreConfig()))
    with pytest.raises(ConfigError, match=r"ram-ray retry .*out --error empty`"):
        retry_quarantined(config(output))
    # Another file fails with this error by now: the interrupted retry does not take it.
    summary = retry_quarantined(config(output, "empty"))
    assert (summary.resumed, summary.num_retried, summary.num_tagged) == (True, 1, 1)
    assert verify_output(str(output), StoreConfig()).unfinished_retry is None


def test_what_cannot_be_is_refused(photos: Path, output: Path) -> None:
    with pytest.raises(ConfigError, match="error is 'emtpy', but must be one of not_found"):
        config(output, "emtpy")
    with pytest.raises(ConfigError, match="holds no run"):
        retry_quarantined(config(photos))
    with pytest.raises(ConfigError, match="no model"):
        retry_quarantined(config(output, model="no-such-model"))
    record = json.loads((output / "run.json").read_text())
    (output / "run.json").write_text(json.dumps(record | {"weights_sha256": "0" * 64}))
    with pytest.raises(ConfigError, match=r"by its weights.* --model"):
        retry_quarantined(config(output))
    assert not (output / "retries").exists()


def test_an_unfinished_run_and_one_at_work_are_refused(output: Path) -> None:
    lease = take_lease(open_store(str(output), StoreConfig()))
    with pytest.raises(LeaseHeldError, match="Another driver"):
        retry_quarantined(config(output))
    lease.release()
    os.unlink(output / "commits/shard-000001.json")
    with pytest.raises(ConfigError, match="1 of 3 shards are not committed"):
        retry_quarantined(config(output))
    assert not (output / "retries").exists()


def test_changed_files_are_named_and_nothing_is_written_over(output: Path) -> None:
    (output / "quarantine/shard-000002.parquet").write_bytes(b"mine")
    tags = (output / "tags/shard-000002.parquet").read_bytes()
    with pytest.raises(ConfigError, match=r"quarantine/shard-000002.parquet .*`ram-ray verify"):
        retry_quarantined(config(output))
    assert (output / "quarantine/shard-000002.parquet").read_bytes() == b"mine"
    assert (output / "tags/shard-000002.parquet").read_bytes() == tags
