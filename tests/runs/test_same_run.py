"""Whether a call is the run that an output holds: tag, labels parse and the engine agree."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ram_ray.cli import app as cli
from ram_ray.data_engine import engine
from ram_ray.errors import ConfigError, IncompleteRunError
from ram_ray.labels.parsing.pipeline import ParseConfig, parse_captions
from ram_ray.tagging.pipeline import tag_bucket
from tests.data_engine.photos import engine_config, write_source
from tests.tagging.test_pipeline import settings as tag_config


def parse_config(output: Path, **changes: Any) -> ParseConfig:
    vocabulary = output.parent / "names.txt"
    vocabulary.write_text("dog\ncat\ngrass\nman\nbike\n", encoding="utf-8")
    given = {"num_parsers": 1, "cpus_per_parser": 0.5, "vocabulary": str(vocabulary)}
    return ParseConfig(output=str(output), **(given | changes))


@dataclass(frozen=True)
class Door:
    """One command: how it is called, where its record lies, what it reads in a shard."""

    call: Callable[..., Any]
    record: str
    flags: tuple[str, ...]
    source: str = "in"


def tag(output: Path, **changes: Any) -> Any:
    return tag_bucket(tag_config(changes.pop("source"), output, **changes))


def parse(output: Path, **changes: Any) -> Any:
    return parse_captions(parse_config(output, **changes))


def run_engine(output: Path, **changes: Any) -> Any:
    given = {"output": str(output), "generate": False, "locate": False, "cluster": False}
    return engine.run(engine_config(output.parent, **(given | changes)), only="parse")


DOORS = {
    "tag": Door(tag, "run.json", ("tag", "in", "OUT", "--device", "cpu")),
    "parse": Door(parse, "run.json", ("labels", "parse", "in", "OUT", "--vocabulary", "NAMES")),
    "engine": Door(
        run_engine,
        "engine.json",
        ("engine", "run", "--set", "source=in", "--set", "OUTPUT", "--only", "parse"),
    ),
}
every_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with `a/in` and `b/in`, other photos and captions in each; work in `a`."""
    write_source(tmp_path / "a" / "in", 4)
    write_source(tmp_path / "b" / "in", 6)
    monkeypatch.chdir(tmp_path / "a")
    return tmp_path


@every_door
def test_the_same_words_in_another_folder_are_another_source(
    here: Path, door: Door, monkeypatch: pytest.MonkeyPatch, ray_session: None
) -> None:
    output = here / "out"
    door.call(output, source="in")
    door.call(output, source="./in")
    door.call(output, source=str(here / "a" / "in"))
    door.call(output, source=f"file://{here}/a/../a/in/")
    monkeypatch.chdir(here / "b")
    with pytest.raises(ConfigError, match=r"holds another run: its source is '.*/a/in'") as told:
        door.call(output, source="in")
    assert str(told.value).count(". ") == 0, "one sentence"
    named = {"OUT": str(output), "OUTPUT": f"output={output}", "NAMES": str(here / "names.txt")}
    found = CliRunner().invoke(cli.app, [named.get(flag, flag) for flag in door.flags])
    assert (found.exit_code, "its source is" in found.stderr) == (2, True), found.output


def test_captions_of_another_folder_are_other_captions(
    here: Path, monkeypatch: pytest.MonkeyPatch, ray_session: None
) -> None:
    source = str(here / "a" / "in")
    run_engine(here / "out", source=source, captions="in/captions.jsonl")
    monkeypatch.chdir(here / "b")
    with pytest.raises(ConfigError, match=r"its captions is '.*/a/in/captions.jsonl'"):
        run_engine(here / "out", source=source, captions="in/captions.jsonl")


@every_door
def test_another_version_of_ram_ray_resumes(here: Path, door: Door, ray_session: None) -> None:
    output, source = here / "out", str(here / "a" / "in")
    door.call(output, source=source)
    steps = sorted(os.listdir(output / "steps")) if (output / "steps").exists() else []
    path = output / door.record
    record = json.loads(path.read_text())
    old = {"versions": {"ram-ray": "0.0.9"}} if "versions" in record else {"ram_ray": "0.0.9"}
    path.write_text(json.dumps(record | old))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ram_ray.__version__", "9.9.9")
        patch.setattr("ram_ray.data_engine.steps.step.__version__", "9.9.9", raising=False)
        door.call(output, source=source)
    assert sorted(os.listdir(output / "steps")) == steps if steps else True


@every_door
def test_a_store_that_fails_in_a_wave_is_told_in_one_sentence(
    here: Path, door: Door, ray_session: None
) -> None:
    output, source = here / "out", str(here / "a" / "in")
    door.call(output, source=source)
    for commit in list(output.rglob("commits/shard-000000.json")):
        commit.unlink()
    (shard,) = (output / "plan").rglob("shard-000000.parquet")
    shard.unlink()
    shard.symlink_to("shard-000000.parquet")  # cannot be read
    cannot = r"Last reason: Cannot read plan/[\w-]+/shard-0"
    with pytest.raises(IncompleteRunError, match=cannot) as told:
        door.call(output, source=source, max_rounds=1)
    assert "Error:" not in str(told.value)


def test_an_error_of_ray_without_a_text_is_told_by_its_meaning(
    here: Path, monkeypatch: pytest.MonkeyPatch, ray_session: None
) -> None:
    import ray.data
    from ray.exceptions import WorkerCrashedError

    def fail(*_: Any, **__: Any) -> Any:
        raise _silent(WorkerCrashedError)

    for name in ("iter_batches", "iter_internal_ref_bundles"):
        monkeypatch.setattr(ray.data.Dataset, name, fail)
    with pytest.raises(IncompleteRunError, match="Last reason: a worker process died"):
        parse(here / "out", source=str(here / "a" / "in"), max_rounds=1)


def _silent(kind: type[Exception]) -> Exception:
    return type(kind.__name__, (kind,), {"__str__": lambda self: ""})()
