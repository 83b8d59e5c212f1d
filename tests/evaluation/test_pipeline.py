"""A run written by the real commit functions, labels whose figures can be counted by hand."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from ram_model import Ram, Vocabulary, save_folder, variant
from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.evaluation.config import CalibrationConfig, LabelsConfig
from ram_ray.evaluation.pipeline import calibrate, evaluate
from ram_ray.runs.commits import commit_shard
from ram_ray.runs.plans import PLAN
from ram_ray.runs.record import agree_on_record
from ram_ray.storage.stores import open_store
from ram_ray.tagging import tables as schema
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.model import identify_model
from ram_ray.tagging.record import tag_record

NAMES = ("cat", "dog", "sky", "<b>odd</b>")
SCORES = {
    "in/a.jpg": [0.9, 0.2, 0.6, 0.1],
    "in/b.jpg": [0.7, 0.8, 0.5, 0.1],
    "in/c.jpg": [0.8, 0.1, 0.4, 0.1],
    "in/d.jpg": [0.1, 0.3, 0.3, 0.9],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = variant("tiny", num_tags=len(NAMES))
    vocabulary = Vocabulary(
        names=NAMES,
        thresholds=np.array([0.5, 0.5, 1.0, 0.5]),  # sky is switched off
        kinds=("object", "object", "scene", "attribute"),
        aliases=(("kitty",), (), (), ()),
    )
    return save_folder(Ram(config), config, vocabulary, tmp_path_factory.mktemp("m") / "tiny")


@pytest.fixture
def run(tmp_path: Path, model: Path) -> Callable[..., str]:
    def write(**options: object) -> str:
        (tmp_path / "in").mkdir(exist_ok=True)
        output = str(tmp_path / "out")
        config = TagConfig(source=str(tmp_path / "in"), output=output, model=str(model))
        config = replace(config, **{"score_floor": 0.0} | options)
        store = open_store(output, StoreConfig(), create=True)
        agree_on_record(store, tag_record(config, identify_model(config)))
        ids = list(SCORES)
        nothing = [None] * len(ids)
        plan = pa.table([ids, ids, nothing, nothing, nothing, [9] * len(ids)], schema=PLAN)
        tags = [_tags(image_id, SCORES[image_id]) for image_id in ids]
        tagged = pa.Table.from_pylist(tags, schema=schema.TAGS)
        commit_shard(store, 0, plan, tagged, schema.QUARANTINE.empty_table())
        return output

    return write


def _tags(image_id: str, scores: list[float]) -> dict[str, object]:
    kept = [i for i in sorted(range(len(scores)), key=lambda i: -scores[i]) if i != 2]
    return {
        "image_id": image_id,
        "uri": image_id,
        "width": 1,
        "height": 1,
        "tags": [NAMES[i] for i in kept],
        "tag_ids": kept,
        "scores": [scores[i] for i in kept],
    }


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "truth.jsonl"
    rows = [
        {"image_id": "x/a.jpg", "present": ["kitty", "sky"], "absent": ["dog"]},
        {"image_id": "x/b.jpg", "present": ["dog"], "absent": ["cat"]},
        {"image_id": "x/c.jpg", "present": ["cat", "unicorn"], "absent": []},
        {"image_id": "x/gone.jpg", "present": ["cat"]},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def _config(output: str, labels: Path, **options: object) -> LabelsConfig:
    given = {"output": output, "labels": str(labels), "match": "name", "unlisted": "unverified"}
    return LabelsConfig(**given | options)  # pyright: ignore[reportArgumentType]


def test_figures_are_those_counted_by_hand(run: Callable[..., str], labels: Path) -> None:
    output = run()
    figures = evaluate(_config(output, labels), num_draws=20)
    # cat: a .9 and c .8 are present ("kitty" is an alias), b .7 is absent; dog: b .8 over a .2
    assert figures["map"]["known_labels_only"]["value"] == 1.0
    cat = next(tag for tag in figures["per_tag"] if tag["name"] == "cat")
    assert (cat["positives"], cat["negatives"], cat["given"]) == (2, 1, 3)
    assert (cat["precision"], cat["recall"]) == (pytest.approx(2 / 3), 1.0)
    assert figures["names_without_tag"] == ["unicorn"]
    assert figures["names_switched_off"] == ["sky"]
    assert figures["images_without_labels"] == 1
    assert figures["labelled_images_not_tagged"] == 1
    assert figures["at_thresholds"]["overall_precision"] == pytest.approx(3 / 4)
    assert json.loads(Path(output, "evaluation.json").read_text()) == figures
    assert "mAP on known labels" in Path(output, "evaluation.html").read_text()


def test_unlisted_labels_may_count_as_absent(run: Callable[..., str], labels: Path) -> None:
    figures = evaluate(_config(run(), labels, unlisted="absent"), num_draws=2)
    dog = next(tag for tag in figures["per_tag"] if tag["name"] == "dog")
    assert (dog["positives"], dog["negatives"]) == (1, 2)


def test_tags_that_a_run_was_not_asked_for_are_not_measured(
    run: Callable[..., str], labels: Path
) -> None:
    figures = evaluate(_config(run(tags=("kitty",)), labels), num_draws=2)
    assert [tag["name"] for tag in figures["per_tag"]] == ["cat"]
    assert figures["names_without_tag"] == ["unicorn", "dog", "sky"]


def test_names_on_the_page_are_escaped(run: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"image_id": "d.jpg", "present": ["<b>odd</b>", "<i>"]}')
    output = run()
    evaluate(_config(output, tmp_path / "t.jsonl"), num_draws=2)
    page = Path(output, "evaluation.html").read_text()
    assert "&lt;b&gt;odd" in page
    assert "<b>odd" not in page
    assert "<i>" not in page


def test_thresholds_fit_the_vocabulary(
    run: Callable[..., str], labels: Path, tmp_path: Path, model: Path
) -> None:
    promise = CalibrationConfig(target_precision=0.3, confidence=0.5, least_firings=1)
    report = calibrate(_config(run(), labels), promise, str(tmp_path / "thresholds.txt"))
    lines = [float(line) for line in (tmp_path / "thresholds.txt").read_text().split()]
    assert len(lines) == len(NAMES)
    assert lines[2:] == [1.0, 0.5]  # switched off before; without labels: as it was
    assert 0.7 < lines[0] < 0.9
    assert report["outcomes"] == {"given": 2}
    assert (report["tags_on"], report["tags_on_before"], report["switched_off"]) == (3, 3, [])
    identify_model(  # `ram-ray tag --threshold FILE` takes it
        TagConfig(
            source="x",
            output="y",
            model=str(model),
            threshold_file=str(tmp_path / "thresholds.txt"),
        )
    )


def test_thresholds_that_switch_every_tag_off_are_not_written_unasked(
    run: Callable[..., str], labels: Path, tmp_path: Path
) -> None:
    config, file = _config(run(), labels), tmp_path / "thresholds.txt"
    with pytest.raises(ConfigError, match=r"None of the 2 tags .* 0\.9 on 3 images"):
        calibrate(config, CalibrationConfig(), str(file))
    assert not file.exists()
    report = calibrate(config, CalibrationConfig(allow_empty=True), str(file))
    assert [float(line) for line in file.read_text().split()] == [1.0, 1.0, 1.0, 0.5]
    assert report["switched_off"] == ["cat", "dog"]
    assert (report["tags_on"], report["tags_on_before"]) == (1, 3)


@pytest.mark.parametrize(
    ("run_options", "options", "complaint"),
    [
        ({"score_floor": None}, {}, "tag again with --score-floor 0"),
        ({"top_k": 2}, {}, "--top-k, which dropped tags; tag again without"),
        ({}, {"match": "path"}, "No image of"),
        ({}, {"match": "folder"}, "match is 'folder', but must be path, name, stem"),
        ({}, {"layout": "yolo"}, "layout is 'yolo', but must be jsonl"),
        ({}, {"labels": "/nowhere.jsonl"}, "cannot be read"),
    ],
)
def test_what_cannot_be_evaluated_says_why(
    run: Callable[..., str],
    labels: Path,
    run_options: dict[str, object],
    options: dict[str, object],
    complaint: str,
) -> None:
    config = _config(run(**run_options), labels)
    with pytest.raises(ConfigError, match=complaint):
        evaluate(replace(config, **options))


def test_two_images_of_one_name_are_not_guessed_at(run: Callable[..., str], tmp_path: Path) -> None:
    rows = [{"image_id": f"{folder}/a.jpg", "present": ["cat"]} for folder in "xy"]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ConfigError, match=r"'a\.jpg' stands for several images in the labels"):
        evaluate(_config(run(), tmp_path / "t.jsonl"))
