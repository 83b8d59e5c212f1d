"""The engine as a whole, without Ray: labels, provenance, resume, undo, bad input."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ram_ray.config import StoreConfig
from ram_ray.data_engine import undo
from ram_ray.data_engine.config import FilterConfig
from ram_ray.data_engine.engine import EngineResult, run
from ram_ray.data_engine.explain import diff_runs, explain_image
from ram_ray.data_engine.revisions.decision_log import replay
from ram_ray.data_engine.undo import undo_rule
from ram_ray.errors import ConfigError
from tests.data_engine.inline import no_ray, run_inline
from tests.data_engine.photos import engine_config, present, rows, write_source

COUNT = 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run, with a person's corrections."""
    folder = tmp_path_factory.mktemp("engine")
    write_source(folder / "in", COUNT)
    (folder / "in" / "photo-003.jpg").write_bytes(b"no photo")
    with (folder / "in" / "captions.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"file_name": "gone.jpg", "caption": "a dog"}\n{broken\n')
    (folder / "fix.csv").write_text(
        "image_id,tag,present\nphoto-000.jpg,dog,0\nphoto-001,horse,1\nphoto-001.jpg,man,1\n"
        "nowhere.jpg,dog,1\nphoto-002.jpg,unicorn,1\n",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        run_inline(patch)
        run(settings(folder))
    return folder


def settings(folder: Path, **changes: Any) -> Any:
    # Promises so loose that the filter removes something in a world of random photos.
    loose = FilterConfig(min_precision=0.01, max_over_removal=0.9)
    given = {"filtering": loose, "corrections": str(folder / "fix.csv"), "max_error_rate": 1.0}
    return engine_config(folder, **(given | changes))


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    run_inline(monkeypatch)
    monkeypatch.setattr(undo, "ray_session", no_ray)
    return monkeypatch


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """Return an output of the same run that a test may change; the source stays where it is."""
    shutil.copytree(whole / "out", tmp_path / "out")
    return tmp_path / "out"


def rerun(whole: Path, output: Path, **changes: Any) -> EngineResult:
    return run(settings(whole, output=str(output), **changes))


def test_every_image_and_every_named_tag_is_there(whole: Path) -> None:
    images = {row["image_id"]: row for row in rows(whole / "out", table="images")}
    assert len(images) == COUNT
    labels = rows(whole / "out")
    pairs = [(row["image_id"], row["tag_id"]) for row in labels]
    assert len(set(pairs)) == len(pairs)
    dog = next(r for r in labels if (r["image_id"], r["tag"]) == ("photo-005.jpg", "dog"))
    assert dog["captions"] == [0]
    assert dog["score"] is not None
    for name, image in images.items():
        kept = [row["tag"] for row in labels if row["image_id"] == name and row["present"]]
        assert image["tags"] == kept


def test_replaying_the_log_gives_the_final_labels(whole: Path) -> None:
    folder = whole / "out" / "revisions" / "000001"
    for file in sorted((folder / "log").iterdir()):
        final = replay([pq.read_table(file)])
        labels = pq.read_table(folder / "labels" / file.name).to_pylist()
        assert final == {(row["image_id"], row["tag_id"]): row["present"] for row in labels}


def test_a_person_has_the_last_word(whole: Path) -> None:
    labels = {(row["image_id"], row["tag"]): row for row in rows(whole / "out")}
    removed, kept = labels["photo-000.jpg", "dog"], labels["photo-001.jpg", "man"]
    added = labels["photo-001.jpg", "horse"]
    assert (removed["present"], kept["present"], added["present"]) == (False, True, True)
    assert {row["decided_by"] for row in (removed, kept, added)} == {"human"}
    problems = {(r["image_id"], r["code"]) for r in rows(whole / "out", table="problems")}
    assert problems == {("nowhere.jpg", "unknown_image"), ("photo-002.jpg", "unknown_tag")}


def test_an_image_that_cannot_be_seen_keeps_the_tags_of_its_captions(whole: Path) -> None:
    labels = [row for row in rows(whole / "out") if row["image_id"] == "photo-003.jpg"]
    assert labels
    assert all(row["present"] and row["score"] is None for row in labels)
    reasons = {
        one["evidence"] for row in labels for one in row["decisions"] if one["action"] == "keep"
    }
    assert reasons == {'{"reason": "the image could not be seen"}'}


def test_the_report_names_every_problem(whole: Path) -> None:
    page = (whole / "out" / "report.html").read_text(encoding="utf-8")
    for text in ("gone.jpg", "photo-003.jpg", "is not JSON", "nowhere.jpg", "unknown tag"):
        assert text in page
    assert "data:image/jpeg;base64," in page
    assert "http" not in page.replace("http-equiv", "")


def test_steps_done_again_give_the_same_labels(
    whole: Path, copy: Path, inline: pytest.MonkeyPatch
) -> None:
    """Every step lost all but one of its shards; tests/faults kills a real run in each step."""
    for folder in (copy / "steps").iterdir():
        for commit in sorted((folder / "commits").iterdir())[1:]:
            commit.unlink()
    shutil.rmtree(copy / "revisions")
    rerun(whole, copy)
    assert rows(copy) == rows(whole / "out")
    assert rows(copy, table="log") == rows(whole / "out", table="log")


def test_steps_are_told_apart_by_what_0_1_0_told_them_apart_by(whole: Path) -> None:
    records = Path(__file__).parents[1] / "runs" / "records" / "engine-steps.json"
    old = {one["step"]: one for one in json.loads(records.read_text("utf-8")).values()}
    for folder in (whole / "out" / "steps").iterdir():
        new = json.loads((folder / "step.json").read_text("utf-8"))
        before = old[new["step"]]["settings"]
        of_the_model = {name: None for name in ("models", "pixels_px") if name in before}
        assert new["settings"] | of_the_model == before | of_the_model
        assert new.keys() == old[new["step"]].keys()


def test_another_setting_makes_another_revision_and_keeps_the_steps(
    whole: Path, copy: Path, inline: pytest.MonkeyPatch
) -> None:
    before = sorted(path.name for path in (copy / "steps").iterdir())
    result = rerun(whole, copy, filter=False, sample_images=10_000)
    assert result.revision == 2
    new = {p.name.split("-")[0] for p in (copy / "steps").iterdir() if p.name not in before}
    assert "parse" not in new
    assert rows(copy) == rows(whole / "out")
    diff = diff_runs(f"{copy}@1", f"{copy}@2", StoreConfig())
    assert diff.num_images == COUNT
    assert diff.lost == 0
    assert diff.gained == result.num_labels - len(present(copy, 1)) > 0


def test_trusted_labels_check_what_the_filter_promises(
    whole: Path, copy: Path, tmp_path: Path, inline: pytest.MonkeyPatch
) -> None:
    named: dict[str, list[str]] = {}
    for row in rows(copy):
        if row["captions"]:
            named.setdefault(row["image_id"], []).append(row["tag"])
    trusted = tmp_path / "trusted.jsonl"
    lines = [json.dumps({"image_id": name, "present": tags}) for name, tags in named.items()]
    trusted.write_text("\n".join(lines) + "\n", encoding="utf-8")
    rerun(whole, copy, trusted=str(trusted))
    fitted = json.loads((copy / "revisions/000002/filter.json").read_text(encoding="utf-8"))
    assert fitted["promise"]["checked_by"] == "trusted"


def test_the_report_sends_nobody_to_look_at_removals_that_are_not_there(
    whole: Path, copy: Path, inline: pytest.MonkeyPatch
) -> None:
    careful = FilterConfig(rules=("cluster_outlier",), min_precision=0.999)  # carries no removal
    rerun(whole, copy, filtering=careful)
    pages = [(out / "report.html").read_text(encoding="utf-8") for out in (whole / "out", copy)]
    assert ["look at what it removed" in page for page in pages] == [True, False]


def test_undo_changes_the_rule_s_rows_and_no_other(
    whole: Path, copy: Path, inline: pytest.MonkeyPatch
) -> None:
    before = {(row["image_id"], row["tag"]): row for row in rows(copy)}
    decisions = [one for row in before.values() for one in row["decisions"]]
    removed = [one["rule"] for one in decisions if one["action"] == "remove"]
    rule = next(rule for rule in removed if rule != "human")
    result = undo_rule(str(copy), rule)
    assert result.revision == 2
    after = {(row["image_id"], row["tag"]): row for row in rows(copy, 2)}
    spoke = {
        key for key, row in before.items() if rule in {one["rule"] for one in row["decisions"]}
    }
    assert {key for key in before if before[key] != after[key]} == spoke
    assert {(row["image_id"], row["tag"]) for row in rows(copy, 2, "log")} == spoke
    assert rows(copy, 1) == list(before.values())
    assert result.num_changed == sum(before[k]["present"] != after[k]["present"] for k in spoke) > 0
    assert not any(row["decided_by"] == rule and not row["present"] for row in after.values())
    logs = [copy / "revisions" / number / "log" for number in ("000001", "000002")]
    for file in sorted(logs[0].iterdir()):
        final = replay([pq.read_table(log / file.name) for log in logs])
        labels = pq.read_table(copy / "revisions/000002/labels" / file.name).to_pylist()
        assert final == {(row["image_id"], row["tag_id"]): row["present"] for row in labels}
    with pytest.raises(ConfigError, match="undone already"):
        undo_rule(str(copy), rule)
    with pytest.raises(ConfigError, match="must be one of caption, generated_tag"):
        undo_rule(str(copy), "magic")


def test_explain_finds_an_image_by_its_name(whole: Path) -> None:
    found = explain_image(str(whole / "out"), "photo-000", StoreConfig())
    assert found.image_id == "photo-000.jpg"
    assert {row["tag"] for row in found.labels} >= {"dog", "grass"}
    assert found.additions.startswith("nothing is added: no thresholds keep the 90%")
    with pytest.raises(ConfigError, match="holds no such image"):
        explain_image(str(whole / "out"), "photo-999.jpg", StoreConfig())


def test_a_later_step_alone_needs_the_earlier_ones(
    whole: Path, copy: Path, inline: pytest.MonkeyPatch
) -> None:
    config = settings(whole, output=str(copy), target_precision=0.5)
    with pytest.raises(ConfigError, match="The step generate is not done"):
        run(config, from_step="cluster")
    partial = run(config, only="generate")
    assert partial.revision is None
    assert run(config, from_step="cluster").revision == 2


def test_another_source_in_the_output_is_refused(
    whole: Path, copy: Path, inline: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="its shard_rows is 8, this call's is 9"):
        rerun(whole, copy, shard_rows=9)
