"""`plan`: what is counted, what a sample costs here, and the arithmetic of time and bill."""

import os
from pathlib import Path
from typing import Any

import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, LeaseHeldError, UnreachableError
from ram_ray.runs.leases import take_lease
from ram_ray.runs.plans import read_plan, write_plan
from ram_ray.runs.record import check_record
from ram_ray.storage.sources import NameFilter, SourceObject
from ram_ray.storage.stores import open_store
from ram_ray.tagging import source_changes
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.forecast import pipeline as planning
from ram_ray.tagging.forecast.estimate import Prices, bill_of, estimate_run
from ram_ray.tagging.forecast.pipeline import plan_bucket
from ram_ray.tagging.forecast.sample import Sample, choose_rows
from ram_ray.tagging.model import identify_model
from ram_ray.tagging.record import tag_record
from tests.conftest import S3Server, photo_bytes, write_photos

NUM_PHOTOS = 10


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    write_photos(folder, NUM_PHOTOS)
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("no image")
    (folder / "notes.txt").write_text("not planned")
    return folder


def settings(source: Path | str, output: Path | str, **changes: Any) -> TagConfig:
    defaults = {"shard_rows": 5, "batch_size": 4, "device": "cpu"}
    return TagConfig(source=str(source), output=str(output), **(defaults | changes))


def test_the_plan_is_written_and_a_sample_measured(photos: Path, tmp_path: Path) -> None:
    report = plan_bucket(settings(photos, tmp_path / "out"))
    assert (report.num_images, report.num_skipped, report.num_shards) == (12, 1, 3)
    assert (report.num_done, report.planned_before) == (0, False)
    assert report.size_bytes == sum(
        path.stat().st_size for path in photos.rglob("*") if path.suffix not in ("", ".txt")
    )
    sample, estimate = report.sample, report.estimate
    assert sample is not None
    assert estimate is not None
    assert (sample.num_images, sample.device, sample.batch_size) == (12, "cpu", 4)
    assert sample.failed_by_code == {"empty": 1, "not_an_image": 1}
    assert min(sample.fetch_s, sample.decode_s, sample.model_s, sample.row_bytes) > 0
    per_image_s = sample.decode_s / (os.cpu_count() or 1) + sample.model_s
    assert estimate.images_per_s == pytest.approx(1 / per_image_s, rel=0.01)
    assert estimate.wall_low_s <= estimate.wall_s <= estimate.wall_high_s
    assert "17% of the sample cannot be tagged" in report.notes[-1]
    assert report.bill.total is None
    assert (report.bill.get_requests, report.bill.put_requests) == (0, 0)


def test_a_run_goes_on_from_the_plan(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(photos, tmp_path / "out")
    plan_bucket(config, sample=0)
    store = open_store(config.output, StoreConfig())
    assert (tmp_path / "out/run.json").exists()
    assert check_record(store, tag_record(config, identify_model(config)))  # it is this very run
    (photos / "later.jpg").write_bytes(photo_bytes(1))
    first, second = sorted(path for path in photos.rglob("*.*") if path.name != "later.jpg")[:2]
    gone, kept = first.read_bytes(), second.read_bytes()
    first.unlink()
    second.write_bytes(kept + b"more")
    monkeypatch.setattr("ram_ray.tagging.plan.list_images", None)  # nothing is listed again
    again = plan_bucket(config, sample=0)
    assert (again.num_images, again.planned_before, again.sample) == (12, True, None)
    new, lost, changed = again.notes[-3:]
    assert f"Images in {photos} that are new and not in the plan: 1; tag" in new
    assert "in the plan, but gone: 1; the plan stays" in lost
    assert "in the plan, but changed since: 1; the plan stays" in changed
    first.write_bytes(gone)
    second.write_bytes(kept)
    (photos / "later.jpg").unlink()
    assert not [note for note in plan_bucket(config, sample=0).notes if "new" in note]
    monkeypatch.setattr(source_changes, "MAX_COMPARED", 5)
    assert "was not listed again" in plan_bucket(config, sample=0).notes[-1]
    plan = read_plan(store)
    assert plan is not None
    assert plan.rows == 12
    with pytest.raises(ConfigError, match="its top_k is not given, this call's is"):
        plan_bucket(settings(photos, tmp_path / "out", top_k=3), sample=0)


def test_what_is_done_is_left_out(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(photos, tmp_path / "out")
    plan_bucket(config, sample=0)
    monkeypatch.setattr(planning, "committed_shards", lambda _: {0, 2})
    report = plan_bucket(config, sample=2)
    assert report.num_done == 7
    assert report.estimate is not None
    # the time is rounded to 0.1 s: on a fast machine five small images take less than that
    assert report.estimate.wall_s == pytest.approx(5 / report.estimate.images_per_s, abs=0.06)
    monkeypatch.setattr(planning, "committed_shards", lambda _: {0, 1, 2})
    done = plan_bucket(config)
    assert (done.num_done, done.sample, done.estimate) == (12, None, None)


def test_a_bucket_with_its_bill(photos: Path, s3: S3Server) -> None:
    objects = {path.name: path.read_bytes() for path in photos.rglob("*.*")}
    source = s3.bucket("plan-photos", objects)
    s3.bucket("plan-tags", {})
    config = settings(source, "s3://plan-tags/run", store=s3.config)
    prices = Prices(machine_per_hour=3600.0, get_per_1000=1.0, put_per_1000=10.0)
    report = plan_bucket(config, sample=4, prices=prices)
    bill = report.bill
    assert (bill.get_requests, bill.put_requests) == (12 + 6, 15 + 1)
    assert bill.requests == pytest.approx(0.018 + 0.16)
    assert report.estimate is not None
    assert bill.machine == pytest.approx(report.estimate.wall_s)
    assert bill.total == pytest.approx(report.estimate.wall_s + 0.178)


def test_a_source_where_nothing_can_be_tagged_has_no_estimate(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_text("no image")
    report = plan_bucket(settings(folder, tmp_path / "out"))
    assert (report.estimate, report.sample and report.sample.num_failed) == (None, 3)
    assert "check the source first" in report.notes[-1]


def test_bad_settings_write_nothing(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    cases: list[tuple[type[Exception], str, TagConfig]] = [
        (ConfigError, "no model", settings(photos, output, model="no-such-model")),
        (ConfigError, "no images", settings(photos, output, include=("*.xyz",))),
        (ConfigError, "inside the source", settings(photos, photos / "out")),
        (UnreachableError, "does not exist", settings(tmp_path / "none", output)),
    ]
    for error, sentence, config in cases:
        with pytest.raises(error, match=sentence):
            plan_bucket(config)
    with pytest.raises(ConfigError, match="sample is -1"):
        plan_bucket(settings(photos, output), sample=-1)
    with pytest.raises(ConfigError, match="get_per_1000 is -1"):
        Prices(get_per_1000=-1)
    assert not output.exists()


def test_a_run_at_work_is_not_planned_beside(photos: Path, tmp_path: Path) -> None:
    lease = take_lease(open_store(str(tmp_path / "out"), StoreConfig(), create=True))
    with pytest.raises(LeaseHeldError, match="Another driver"):
        plan_bucket(settings(photos, tmp_path / "out"), sample=0)
    lease.release()


def test_a_sample_is_spread_over_the_plan(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), StoreConfig())
    objects = [SourceObject(f"{n:03}.jpg", f"/in/{n}", None, 1) for n in range(100)]
    names = NameFilter((), ())
    plan = write_plan(store, objects, names, shard_rows=4, on_listed=lambda _: None)
    numbers = [int(row["image_id"][:3]) for row in choose_rows(store, plan, 10)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 10
    assert numbers[0] < 10
    assert numbers[-1] >= 80
    assert len(choose_rows(store, plan, 1_000)) == 4 * 16  # shards read, whatever is asked for


SAMPLE = Sample(
    num_images=100,
    failed_by_code={},
    device="cuda",
    batch_size=64,
    fetch_s=0.001,
    decode_s=0.012,
    decode_error_s=0.001,
    model_s=0.001,
    model_error_s=0.0,
    row_bytes=50.0,
)


def test_beside_a_gpu_the_slowest_part_sets_the_pace() -> None:
    few = estimate_run(SAMPLE, 10_000, cpus=6, gpus=1, fetchers=6)
    assert (few.bottleneck, few.wall_s) == ("decoding", 20.0)
    assert few.wall_high_s == pytest.approx(20.0 + 10_000 * 0.002 / 6, abs=0.1)
    many = estimate_run(SAMPLE, 10_000, cpus=48, gpus=2, fetchers=48)
    assert (many.bottleneck, many.wall_s) == ("model", 5.0)
    slow = estimate_run(SAMPLE, 10_000, cpus=100, gpus=4, fetchers=1)
    assert (slow.bottleneck, slow.wall_s) == ("fetching", 10.0)
    assert (few.core_hours, few.model_hours) == (many.core_hours, many.model_hours)
    assert (few.core_hours, few.output_bytes) == (0.0333, 500_000)


def test_on_a_cpu_decoding_and_the_model_share_its_cores() -> None:
    found = estimate_run(SAMPLE, 1_000, cpus=4, gpus=0, fetchers=2)
    assert found.wall_s == pytest.approx(1_000 * (0.003 + 0.001))


def test_only_known_prices_are_billed() -> None:
    sizes = {"images": 2_500, "shards": 1, "source_is_bucket": True, "output_is_bucket": False}
    found = estimate_run(SAMPLE, 2_500, cpus=4, gpus=1, fetchers=2)
    bill = bill_of(found, Prices(), **sizes)
    assert (bill.get_requests, bill.put_requests, bill.total) == (2_500, 3, None)
    assert bill_of(None, Prices(machine_per_hour=2.0), **sizes).total is None
    assert bill_of(found, Prices(get_per_1000=0.4), **sizes).total == pytest.approx(1.0)
