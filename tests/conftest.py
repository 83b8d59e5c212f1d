"""What tests share: real image files, a real S3 server over HTTP, one Ray session for the run.

Two lanes: `make test` runs everything, in two processes; `make test-fast` leaves out what needs
Ray or a browser. Which test that is, its fixtures say: nobody marks it.
"""

import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch loads: two processes share two cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import boto3
import numpy as np
import pytest
from PIL import Image

from ram_ray.config import StoreConfig
from ram_ray.serving.environment import prepare_environment
from tests.stand_ins import write_hostile_folder, write_photo_folder


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --faults-short: a few kills instead of the full counts."""
    parser.addoption("--faults-short", action="store_true", help="a few kills, for CI")


ROOT = Path(__file__).parents[1]
HEAVY_FIXTURES = {"ray_session", "browser"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test-fast` leaves out, and say which tests share a process in `make test`.

    Tests of one file stay together, so that their fixtures are made once. Those that use Ray share
    two processes, each with its one Ray: they wait more than they compute, so two fit two cores.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & HEAVY_FIXTURES:
            item.add_marker("heavy")
        group = file = item.nodeid.split("::")[0]
        if "ray_session" in fixtures:
            group = "ray, tagging" if file.startswith("tests/tagging/") else "ray, all else"
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session", autouse=True)
def _workers_see_the_checkout() -> None:
    """Let child processes import this checkout, installed or not."""
    here = os.pathsep.join([str(ROOT), str(ROOT / "model")])
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]).rstrip(":")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the acceptance data; tests that use it carry the mark `shared`."""
    folder = _acceptance_data()
    if not folder.is_dir():
        pytest.skip(f"ACCEPTANCE DATA IS ABSENT ({folder}): set RAM_RAY_SHARED to run this test")
    return folder


def _acceptance_data() -> Path:
    return Path(os.environ.get("RAM_RAY_SHARED", ROOT / ".." / "shared")).resolve()


@pytest.fixture(scope="session")
def real_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of real photos: the acceptance data's, or those that packages ship."""
    folder = _acceptance_data() / "data" / "photos"
    if not folder.is_dir():
        folder = tmp_path_factory.mktemp("photos")
        write_photo_folder(folder)
    return folder


@pytest.fixture(scope="session")
def hostile_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of difficult and broken files, with what is expected in MANIFEST.tsv."""
    folder = _acceptance_data() / "data" / "hostile"
    if not folder.is_dir():
        folder = tmp_path_factory.mktemp("hostile")
        write_hostile_folder(folder)
    return folder


def photo_bytes(seed: int, *, size: tuple[int, int] = (96, 64), suffix: str = ".jpg") -> bytes:
    """Return an image file with smooth random content; the same seed gives the same bytes."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8))
    out = io.BytesIO()
    kinds = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
    coarse.resize(size, Image.Resampling.BICUBIC).save(out, kinds[suffix])
    return out.getvalue()


def write_photos(folder: Path, count: int) -> None:
    """Fill a folder with `count` photos in two subfolders."""
    for seed in range(count):
        suffix = (".jpg", ".png", ".webp")[seed % 3]
        path = folder / f"{'ab'[seed % 2]}" / f"photo-{seed:04d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo_bytes(seed, suffix=suffix))


@dataclass(frozen=True)
class S3Server:
    """A running S3-compatible server."""

    config: StoreConfig

    @property
    def client(self) -> "boto3.client":  # pyright: ignore[reportGeneralTypeIssues]
        """Return a boto3 client of the server."""
        return boto3.client("s3", endpoint_url=self.config.endpoint_url)

    def bucket(self, name: str, objects: dict[str, bytes]) -> str:
        """Make a bucket with these objects; return its URL."""
        client = self.client
        client.create_bucket(Bucket=name)
        for key, body in objects.items():
            client.put_object(Bucket=name, Key=key, Body=body)
        return f"s3://{name}"


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """Return moto's server, in a process of its own on a free loopback port."""
    os.environ["AWS_ACCESS_KEY_ID"] = "test"
    os.environ["AWS_SECRET_ACCESS_KEY"] = "test"
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield S3Server(StoreConfig(endpoint_url=_address(server, log)))
        finally:
            server.kill()
            server.wait()


def _address(server: subprocess.Popen, log: object) -> str:
    text = ""
    for _ in range(300):
        time.sleep(0.1)
        os.lseek(log.fileno(), 0, os.SEEK_SET)  # pyright: ignore[reportAttributeAccessIssue]
        text = os.read(log.fileno(), 10_000).decode()  # pyright: ignore[reportAttributeAccessIssue]
        if found := re.search(r"http://127\.0\.0\.1:\d+", text):
            return found.group()
        if server.poll() is not None:
            break
    raise RuntimeError(f"moto's server did not start: {text}")


@pytest.fixture(scope="session")
def ray_session(s3: S3Server) -> Iterator[None]:
    """Start the one Ray of this test run: two CPUs, and two GPUs that exist on paper only.

    After `s3`, whose credentials its workers inherit.
    """
    del s3
    import ray

    prepare_environment("127.0.0.1")  # serving's processes as `ram-ray serve` starts them
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        ray.init(
            address="local",
            num_cpus=2,
            num_gpus=2,
            object_store_memory=300 * 2**20,
            include_dashboard=False,
            _temp_dir=folder,
            log_to_driver=False,
        )
        yield
        ray.shutdown()
