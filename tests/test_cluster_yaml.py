"""cluster.yaml against Ray's own schema and its launcher's own checks; nothing is launched."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cluster():
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.fixture(scope="module")
def schema():
    return json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())


def test_fits_rays_schema(cluster, schema):
    jsonschema.validate(cluster, schema)


def test_schema_is_strict_enough_to_catch_a_typing_error(cluster, schema):
    broken = copy.deepcopy(cluster)
    broken["available_node_types"]["gpu"]["max_worker"] = 1
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        jsonschema.validate(broken, schema)


def test_launcher_accepts_it_and_fills_in_no_setup_of_its_own(cluster):
    prepared = prepare_config(copy.deepcopy(cluster))
    validate_config(prepared)
    # Ray's AWS defaults would install a nightly wheel from the network.
    assert prepared["worker_setup_commands"] == cluster["setup_commands"]
    assert prepared["head_setup_commands"] == cluster["setup_commands"]
    assert prepared["available_node_types"]["head"]["max_workers"] == 0


def test_head_does_no_work_and_workers_scale_from_zero(cluster):
    types = cluster["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    workers = {name: spec for name, spec in types.items() if name != cluster["head_node_type"]}
    assert set(workers) == {"decode", "gpu"}
    assert all(spec["min_workers"] == 0 for spec in workers.values())
    assert sum(spec["max_workers"] for spec in workers.values()) <= cluster["max_workers"]


def test_every_node_installs_the_wheel_that_is_mounted(cluster):
    mounted = {target: ROOT / source for target, source in cluster["file_mounts"].items()}
    (dist,) = (target for target, source in mounted.items() if source.name == "dist")
    install = cluster["setup_commands"][-1]
    assert f"{dist.replace('/home/ubuntu', '~')}/ram_ray-*.whl" in install
    (constraints,) = (source for source in mounted.values() if source.suffix == ".txt")
    assert constraints.is_file()


def test_nobody_without_the_token_is_let_in(cluster):
    assert cluster["file_mounts"]["/home/ubuntu/.ray/auth_token"] == "~/.ray/auth_token"
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        start = cluster[commands][-1]
        assert start.startswith("export RAY_AUTH_MODE=token;")
        before, _, _ = start.partition("ray start")
        assert "python -m ram_ray.serving.environment" in before
