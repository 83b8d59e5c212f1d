"""A disk that is really full, and a bucket as run folder."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ram_ray.storage.stores import open_store
from ram_ray.training.checkpoints import newest_whole
from ram_ray.training.pipeline import TrainingFailedError, train
from tests.conftest import S3Server
from tests.training.scene import config_of, write_scene

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with room for the first checkpoint, but not for one with an optimizer."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=7m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("A SMALL DISK CANNOT BE MOUNTED: run as root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_sentence_and_leaves_no_half_checkpoint(
    small_disk: Path, tmp_path: Path
) -> None:
    settings = write_scene(tmp_path / "scene") | {"output": str(small_disk / "run")}
    with pytest.raises(
        TrainingFailedError, match=r"is full: checkpoint 2 .* whole one is 0\. Free"
    ):
        train(config_of(settings))
    names = {path.name for path in (small_disk / "run" / "checkpoints").iterdir()}
    assert names == {"step-00000000.pt", "step-00000000.json"}
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert train(config_of(settings)).attempts[0].first_step == 0


def test_a_run_in_a_bucket_resumes(s3: S3Server, tmp_path: Path) -> None:
    url = s3.bucket("runs", {})
    settings: dict[str, Any] = write_scene(tmp_path)
    settings |= {"output": f"{url}/first", "store": s3.config}

    def stop(line: dict[str, Any]) -> None:
        if line["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config_of(settings), on_progress=stop)
    result = train(config_of(settings))
    assert result.attempts[0].first_step == 2
    store = open_store(f"{url}/first", s3.config)
    assert newest_whole(store) == (6, [])
    assert {"model/config.json", "model/checksums.json"} <= set(store.list("model"))
