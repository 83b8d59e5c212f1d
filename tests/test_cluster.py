"""Placement on what Ray has, and a run on a cluster that is joined by address."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from ram_ray import cluster
from ram_ray.cluster import _check_address, _check_nodes, place
from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.outputs.verification import verify_output
from tests.conftest import write_photos

# In a process of its own: a Cluster must not meet the Ray of this test run.
ON_A_CLUSTER = """
import json, sys
import ray._private.utils
ray._private.utils.write_ray_address = lambda *args, **kwargs: None
from ray.cluster_utils import Cluster
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.pipeline import tag_bucket
small = {"object_store_memory": 100 << 20}
cluster = Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
for _ in range(2):
    cluster.add_node(num_cpus=1, **small)
summary = tag_bucket(TagConfig(address=cluster.address, **json.loads(sys.argv[1])))
print(summary.num_tagged, summary.notes)
cluster.shutdown()
"""


def settings(**changes: object) -> TagConfig:
    return TagConfig(**({"source": "in", "output": "out"} | changes))  # pyright: ignore


@pytest.mark.usefixtures("ray_session")
def test_placement_follows_the_gpus_there_are() -> None:
    whole, half, double = (place(settings(gpus_per_tagger=share)) for share in (1.0, 0.5, 2.0))
    assert (whole.num_taggers, half.num_taggers, double.num_taggers) == (2, 4, 1)
    assert (whole.gpus_per_tagger, whole.batch_size, whole.notes) == (1.0, 64, ())
    on_cpu = place(settings(device="cpu"))
    assert (on_cpu.num_taggers, on_cpu.gpus_per_tagger, on_cpu.batch_size) == (1, 0.0, 16)
    assert on_cpu.notes == ()


@pytest.mark.usefixtures("ray_session")
def test_everything_fits_on_two_cpus() -> None:
    for changes in ({"device": "cpu"}, {}, {"gpus_per_tagger": 0.5}):
        placed = place(settings(**changes))
        needed = placed.num_taggers * placed.cpus_per_tagger
        assert placed.num_decoders is not None
        needed += placed.num_decoders * placed.cpus_per_decoder + 0.1
        assert needed <= 2.0


@pytest.mark.usefixtures("ray_session")
def test_gpus_that_are_not_there_are_refused_or_said_aloud(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError, match="Ray has 2 GPUs and a tagger needs 4"):
        place(settings(device="cuda", gpus_per_tagger=4.0))
    with pytest.raises(ConfigError, match="leave room for 2"):
        place(settings(num_taggers=3))
    with pytest.raises(ConfigError, match="gpus_per_tagger is 4, but Ray has 2 GPUs"):
        place(settings(gpus_per_tagger=4.0))
    with pytest.raises(
        ConfigError, match=r"gpus_per_tagger is 1\.0, .* left out with device 'cpu'"
    ):
        settings(device="cpu", gpus_per_tagger=1.0)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    with pytest.raises(ConfigError, match="gpus_per_tagger is 1, but Ray has 0 GPUs"):
        place(settings(gpus_per_tagger=1.0))
    assert place(settings()).notes == ("No GPU found: tagging on the CPU.",)


@pytest.mark.usefixtures("ray_session")
def test_a_cluster_that_grows_from_nothing_gets_what_is_asked_for() -> None:
    placed = place(settings(device="cuda", gpus_per_tagger=4.0, num_taggers=8, address="auto"))
    assert (placed.device, placed.num_taggers, placed.num_decoders) == ("cuda", 8, None)


def test_an_address_without_a_cluster_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match=r"Ray cluster at 127\.0\.0\.1:9"):
        _check_address("127.0.0.1:9")


def not_installed() -> str:
    raise ModuleNotFoundError("No module named 'ram_ray'")


@pytest.mark.usefixtures("ray_session")
def test_workers_without_the_same_ram_ray_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself would try to start their actors for ever."""
    _check_nodes("here")
    monkeypatch.setattr(cluster, "__version__", "0.0.0")
    with pytest.raises(ConfigError, match=r"has ram-ray \d.*, this is 0\.0\.0"):
        _check_nodes("here")
    monkeypatch.setattr(cluster, "_installed_version", not_installed)
    with pytest.raises(ConfigError, match="install the wheel on every node"):
        _check_nodes("here")


@pytest.mark.slow
def test_the_same_run_on_a_cluster(tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 30)
    config = {"source": str(tmp_path / "in"), "output": str(tmp_path / "out"), "shard_rows": 10}
    done = subprocess.run(
        [sys.executable, "-c", ON_A_CLUSTER, json.dumps(config)],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert done.stdout.startswith("30 ('ram-mini") or done.stdout.startswith("30 ('No GPU")
    assert verify_output(str(tmp_path / "out"), StoreConfig()).ok


def test_a_ray_that_does_not_start_is_a_sentence(monkeypatch):
    """Ray raises a bare Exception when its start takes too long, OSError for long socket paths."""
    import ray

    from ram_ray.cluster import ray_session
    from ram_ray.errors import UnreachableError

    reasons = {
        "AF_UNIX path length cannot exceed 107 bytes": "set TMPDIR to a short one",
        "The current node timed out during startup.": "run the same command again",
    }
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for text, advice in reasons.items():

        def fails(text=text, **options):
            raise Exception(text)

        monkeypatch.setattr(ray, "init", fails)
        with pytest.raises(UnreachableError, match=advice), ray_session(None):
            pass
