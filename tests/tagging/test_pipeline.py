"""The whole pipeline on real files, a real Ray and a real S3 server."""

import dataclasses
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ram_ray.config import DecodeConfig, StoreConfig
from ram_ray.console.progress import Progress
from ram_ray.errors import (
    ConfigError,
    DiskFullError,
    IncompleteRunError,
    LeaseHeldError,
    UnreachableError,
)
from ram_ray.runs import opening
from ram_ray.runs.leases import take_lease
from ram_ray.runs.plan_files import plan_place
from ram_ray.runs.waves import Committers
from ram_ray.storage.sources import SPECIAL_FILE
from ram_ray.storage.stores import open_store
from ram_ray.tagging import rounds as tag_rounds
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.outputs.verification import verify_output
from ram_ray.tagging.pipeline import tag_bucket
from ram_ray.tagging.tables import QUARANTINE, tags_schema
from tests.conftest import S3Server, photo_bytes, write_photos
from tests.unreadable import odd_folder

NUM_PHOTOS = 22

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 22 photos, five broken files and a text file."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, NUM_PHOTOS)
    (folder / "cut.jpg").write_bytes(photo_bytes(1)[:-300])
    (folder / "empty.png").touch()
    (folder / "gone.jpg").symlink_to("nowhere")
    (folder / "huge.jpg").write_bytes(photo_bytes(2) + bytes(20_000))
    (folder / "text.jpg").write_text("no image")
    (folder / "notes.txt").write_text("not planned")
    return folder


def settings(source: Path | str, output: Path | str, **changes: Any) -> TagConfig:
    defaults = {
        "shard_rows": 10,
        "batch_size": 4,
        "device": "cpu",
        "score_floor": 0.0,
        "decode": DecodeConfig(max_image_bytes=20_000),
        "max_error_rate": 1.0,
    }
    return TagConfig(source=str(source), output=str(output), **(defaults | changes))


def read_rows(output: Path | str, folder: str = "tags") -> dict[str, dict[str, Any]]:
    table = pq.read_table(Path(output) / folder)
    return {row["image_id"]: row for row in table.to_pylist()}


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the output of one undisturbed run."""
    output = tmp_path_factory.mktemp("runs") / "finished"
    tag_bucket(settings(photos, output))
    return output


def test_every_planned_image_is_one_row(finished: Path, photos: Path) -> None:
    tagged, quarantined = read_rows(finished), read_rows(finished, "quarantine")
    assert len(tagged) == NUM_PHOTOS
    assert {key: row["error_code"] for key, row in quarantined.items()} == {
        "cut.jpg": "truncated",
        "empty.png": "empty",
        "gone.jpg": "not_found",
        "huge.jpg": "too_large",
        "text.jpg": "not_an_image",
    }
    assert tagged["a/photo-0000.jpg"]["uri"] == str(photos / "a/photo-0000.jpg")
    assert verify_output(str(finished), StoreConfig()).ok


def test_links_and_pipes_cost_nothing_but_themselves(tmp_path: Path) -> None:
    with odd_folder(photo_bytes(1)) as folder:
        (folder / "locked").chmod(0o755)  # Ray's workers are root where the tests are
        summary = tag_bucket(settings(folder, tmp_path / "out"))
    assert set(read_rows(tmp_path / "out")) == {
        "a.jpg", "into-locked.jpg", "locked/b.jpg", "z.jpg",
    }  # fmt: skip
    codes = {k: row["error_code"] for k, row in read_rows(tmp_path / "out", "quarantine").items()}
    assert codes == {"loop.jpg": "not_found"}
    assert summary.passed_over == {SPECIAL_FILE: 6}
    assert summary.passed_examples == {SPECIAL_FILE: "pipe-link.jpg"}


def test_rows_are_sorted_by_score_and_carry_sizes(finished: Path) -> None:
    row = read_rows(finished)["a/photo-0000.jpg"]
    assert (row["width"], row["height"]) == (96, 64)
    assert row["scores"] == sorted(row["scores"], reverse=True)
    assert len(row["tags"]) == len(row["tag_ids"]) == len(row["scores"]) > 10


def test_files_have_the_contract_s_columns_and_nothing_is_left_over(finished: Path) -> None:
    ((attempt, _),) = plan_place(open_store(str(finished), StoreConfig())).attempts
    names = sorted(str(path.relative_to(finished)) for path in finished.rglob("*.parquet"))
    shards = [f"shard-{n:06d}.parquet" for n in range(3)]
    assert names == [
        f"{kind}/{s}" for kind in (f"plan/{attempt}", "quarantine", "tags") for s in shards
    ]
    assert pq.read_schema(finished / "tags/shard-000000.parquet").equals(tags_schema(changes=True))
    assert pq.read_schema(finished / "quarantine/shard-000002.parquet").equals(QUARANTINE)
    assert not (finished / "staging").exists() or not any((finished / "staging").iterdir())


def test_a_bucket_gives_the_same_rows_as_a_folder(
    finished: Path, photos: Path, s3: S3Server
) -> None:
    objects = {
        str(path.relative_to(photos)): path.read_bytes()
        for path in sorted(photos.rglob("*"))
        if path.is_file()
    }
    source = s3.bucket("photos", objects)
    s3.bucket("tags", {})
    summary = tag_bucket(settings(source, "s3://tags/run", store=s3.config))
    assert (summary.num_tagged, summary.num_quarantined, summary.num_skipped) == (22, 4, 1)
    report = verify_output("s3://tags/run", s3.config)
    assert (report.ok, report.planned) == (True, 26)
    store = open_store("s3://tags/run", s3.config)
    rows = [
        row
        for key in store.list("tags")
        for row in pq.read_table(pa.BufferReader(store.read(key))).to_pylist()
    ]
    expected = read_rows(finished)
    # gone.jpg is no object, so one photo shares its batch with other neighbours.
    for row in rows:
        assert row["scores"] == pytest.approx(expected[row["image_id"]]["scores"], abs=1e-5)
        assert len(row["tags"]) == len(expected[row["image_id"]]["tags"])
    assert {row["image_id"] for row in rows} == set(expected)


def test_a_lost_commit_is_redone_bit_for_bit(photos: Path, finished: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    tag_bucket(settings(photos, output))
    for name in ("commits/shard-000001.json", "tags/shard-000001.parquet"):
        (output / name).unlink()
    assert verify_output(str(output), StoreConfig()).missing == 10
    seen: list[Progress] = []
    summary = tag_bucket(settings(photos, output), on_progress=seen.append)
    assert summary.resumed
    assert (seen[0].images_done, seen[0].shards_committed) == (17, 2)
    assert (seen[-1].images_done, seen[-1].shards_committed) == (27, 3)
    done = [progress.images_done for progress in seen]
    assert done == sorted(done)
    assert read_rows(output) == read_rows(finished)


def test_a_wave_leaves_no_thread_behind(
    photos: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would keep its stack and its part of the heap for as long as the driver runs."""
    monkeypatch.setattr(tag_rounds, "wave_shards", lambda *_: 1)
    before = set(threading.enumerate())
    tag_bucket(settings(photos, tmp_path / "out", shard_rows=14))  # two waves
    assert [thread.name for thread in set(threading.enumerate()) - before] == []
    assert read_rows(tmp_path / "out") == read_rows(finished)


def test_a_finished_run_is_left_alone(photos: Path, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished / "tags").iterdir()}
    summary = tag_bucket(settings(photos, finished))
    assert (summary.num_tagged, summary.resumed) == (NUM_PHOTOS, True)
    assert before == {path: path.stat().st_mtime_ns for path in (finished / "tags").iterdir()}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"threshold": 0.9}, "threshold"),
        ({"top_k": 3}, "top_k"),
        ({"exclude": ("a/*",)}, "exclude"),
        ({"decode": DecodeConfig(orientation="apply")}, "decode"),
    ],
)
def test_another_run_s_output_is_refused(
    photos: Path, finished: Path, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(ConfigError, match=f"its {field}"):
        tag_bucket(settings(photos, finished, **changes))


def test_a_second_driver_is_refused(photos: Path, tmp_path: Path) -> None:
    lease = take_lease(open_store(str(tmp_path / "out"), StoreConfig(), create=True))
    with pytest.raises(LeaseHeldError, match="Another driver"):
        tag_bucket(settings(photos, tmp_path / "out"))
    lease.release()


def test_a_driver_that_was_overtaken_stops(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    monkeypatch.setattr(opening, "take_lease", partial(take_lease, beat_s=0.05))

    def overtake(progress: Progress) -> None:
        if progress.phase == "tagging" and progress.images_done:
            (output / "leases/run/000002.json").write_text("{}")
            time.sleep(0.5)

    with pytest.raises(LeaseHeldError, match="taken over"):
        tag_bucket(settings(photos, output), on_progress=overtake)


@pytest.mark.parametrize(("gpus", "gpu_ids"), [(0.5, {"0", "1"}), (2.0, {"0,1", "1,0"})])
def test_taggers_get_the_gpu_share_they_ask_for(
    photos: Path, tmp_path: Path, gpus: float, gpu_ids: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()
    drain = Committers.drain

    def note(committers: Committers) -> list[str]:
        failures = drain(committers)
        seen.update(gpu_ids for each in committers.counts for _, gpu_ids in each.taggers)
        return failures

    monkeypatch.setattr(Committers, "drain", note)
    changes = {"device": "auto", "gpus_per_tagger": gpus, "num_taggers": 1}
    summary = tag_bucket(settings(photos, tmp_path / "out", **changes))
    assert seen
    assert seen <= gpu_ids
    assert any("sees none" in note for note in summary.notes)


def test_bad_settings_write_nothing(photos: Path, tmp_path: Path, s3: S3Server) -> None:
    output = tmp_path / "out"
    cases: list[tuple[type[Exception], str, TagConfig]] = [
        (ConfigError, "no model", settings(photos, output, model="no-such-model")),
        (ConfigError, "too long", settings(photos, output, tags=("unicorn " * 90,))),
        (ConfigError, "no images", settings(photos, output, include=("*.xyz",))),
        (ConfigError, "inside the source", settings(photos, photos / "out")),
        (UnreachableError, "does not exist", settings(tmp_path / "none", output)),
        (UnreachableError, "no such bucket", settings("s3://none-here", output, store=s3.config)),
        (UnreachableError, "no such bucket", settings(photos, "s3://none-here/x", store=s3.config)),
    ]
    for error, sentence, config in cases:
        with pytest.raises(error, match=sentence):
            tag_bucket(config)
    assert not output.exists()


def test_a_shard_that_cannot_be_committed_ends_the_run_as_incomplete(
    photos: Path, tmp_path: Path
) -> None:
    config = settings(photos, tmp_path / "out", max_rounds=2)
    tag_bucket(config)
    # A plan shard that changed after the fact: its images are no longer those that were tagged.
    (tmp_path / "out/commits/shard-000001.json").unlink()
    (shard,) = (tmp_path / "out/plan").rglob("shard-000001.parquet")
    shard.unlink()
    with pytest.raises(IncompleteRunError, match=r"1 of 3 shards are not committed \(1\)"):
        tag_bucket(config)


def test_only_the_asked_tags_are_given(photos: Path, finished: Path, tmp_path: Path) -> None:
    every = read_rows(finished)["a/photo-0000.jpg"]
    wanted = every["tags"][3:5]
    tag_bucket(settings(photos, tmp_path / "out", tags=tuple(wanted)))
    row = read_rows(tmp_path / "out")["a/photo-0000.jpg"]
    assert row["tags"] == wanted
    assert row["tag_ids"] == every["tag_ids"][3:5]
    assert row["scores"] == pytest.approx(every["scores"][3:5], abs=1e-5)


def test_config_is_recorded(finished: Path, photos: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert record["source"] == str(photos)
    assert record["batch_size"] == 4
    decode = dataclasses.asdict(DecodeConfig(max_image_bytes=20_000))
    assert record["decode"] == json.loads(json.dumps(decode))
    assert len(record["weights_sha256"]) == 64


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with room for 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("A SMALL DISK CANNOT BE MOUNTED: run as root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_the_run_at_once_with_a_sentence(photos: Path, small_disk: Path) -> None:
    phases: list[str] = []

    def fill(progress: Progress) -> None:
        if progress.phase == "tagging" and "tagging" not in phases:
            with suppress(OSError):
                (small_disk / "filler").write_bytes(bytes(400_000))
        phases.append(progress.phase)

    config = settings(photos, small_disk / "out")
    with pytest.raises(DiskFullError, match=r"The disk of .*/out is full: make room") as raised:
        tag_bucket(config, on_progress=fill)
    assert raised.value.exit_code == 4
    assert phases.count("committing") <= 1  # one wave, no further round
    (small_disk / "filler").unlink()
    assert tag_bucket(config).num_tagged == NUM_PHOTOS
    assert verify_output(str(small_disk / "out"), StoreConfig()).ok
