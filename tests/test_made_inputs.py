"""No command ends in a traceback for inputs as other tools write them: `faults/make_inputs.py`."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ram_ray.cli import app as cli

pytestmark = [
    pytest.mark.shared,
    pytest.mark.proof,
]  # the forms themselves: labels/captions/cases.py

EXIT_CODES = {0, 2, 3, 4, 5}
"""Of docs/runs.md: what a user can do something about."""
PLANNED = {"apple-double", "img2dataset", "pictures", "tar-sparse"}
FOLDERS = ("apple-double", "conceptual-captions", "img2dataset", "sidecar", "tar-latin1",
           "tar-same-names", "tar-sparse", "tar-updated")  # fmt: skip


@pytest.fixture(scope="module")
def made(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of all inputs."""
    folder = tmp_path_factory.mktemp("made")
    command = [sys.executable, str(shared / "faults" / "make_inputs.py"), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def run(*arguments: str) -> int:
    """Run a command in this process; return its exit code."""
    result = CliRunner().invoke(cli.app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), arguments
    assert "Traceback" not in result.output + result.stderr, arguments
    assert result.exit_code in EXIT_CODES, (arguments, result.output)
    return result.exit_code


def test_captions_vocabularies_and_plans(made: Path, tmp_path: Path) -> None:
    built = []
    for number, path in enumerate(sorted(made.iterdir())):
        output = str(tmp_path / str(number))
        code = run("labels", "build", output, "--captions", str(path), "--min-frequency", "1")
        built += [path.name] * (code == 0)
        if path.name in PLANNED:
            run("plan", str(path), f"{output}-plan", "--sample", "0")
        if path.is_file():
            run("labels", "convert", str(path), f"{output}.txt")
    assert {"sidecar", "img2dataset", "laion", "coco-2014.json", "captions-latin1.csv"} <= {*built}


def test_pictures(made: Path) -> None:
    for path in sorted((made / "pictures").iterdir()):
        assert run("tag", str(path)) == 0


@pytest.mark.parametrize("door", ["labels", "captions"])
def test_training(made: Path, tmp_path: Path, door: str) -> None:
    trained = []
    wanted = made.glob("labels-*") if door == "labels" else [made / name for name in FOLDERS]
    for path in sorted(wanted):
        data = path if path.is_dir() else made / "photos"
        code = run(
            "train", str(data), f"--{door}", str(path), "--output", str(tmp_path / path.name),
            "--vocabulary", str(made / "vocabulary.txt"), "--epochs", "1", "--batch-size", "4",
            "--image-size", "32", "--set", "variant=tiny", "--set", "num_decoders=0",
            "--set", "tensorboard=false", "--device", "cpu",
        )  # fmt: skip
        trained += [path.name] * (code == 0)
    expected = {
        "labels": {"labels-bom.jsonl", "labels-other-column.jsonl", "labels-spaces.jsonl"},
        "captions": {"sidecar", "img2dataset", "tar-latin1", "tar-same-names", "tar-updated"},
    }
    assert expected[door] <= {*trained}
