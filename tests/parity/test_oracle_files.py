"""The oracle is what was measured once: nobody has made it again, and no file is missing."""

import hashlib
import tomllib
from pathlib import Path


def test_every_file_is_the_one_that_was_measured(oracle: Path) -> None:
    lines = (oracle / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    pinned = {name: digest for digest, name in (line.split() for line in lines)}

    found = {path.name: path for path in oracle.iterdir()}
    assert set(found) == {*pinned, "README.md", "SHA256SUMS"}
    for name, digest in pinned.items():
        assert hashlib.sha256(found[name].read_bytes()).hexdigest() == digest, name


def test_it_travels_in_no_wheel_and_no_sdist() -> None:
    with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
        targets = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"]["packages"] == ["ram_ray", "model/ram_model"]
    assert "/tests/parity/oracle" in targets["sdist"]["exclude"]
