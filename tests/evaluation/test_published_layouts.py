"""Each published layout from end to end: a run of ram-mini, then `ram-ray evaluate`.

The labels are small files in the exact form of the published ones, written here.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner

from ram_ray.cli import app as cli
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.pipeline import tag_bucket
from tests.conftest import photo_bytes

pytestmark = [pytest.mark.usefixtures("ray_session"), pytest.mark.slow]

OPEN_IMAGES = ("0000c64e1253d68f", "0002ab0af02e4a77", "000411001ff7dd4f")
PHOTOS = (
    *(f"test/{name}.jpg" for name in OPEN_IMAGES),
    "HICO_test2015_00000001.jpg",
    "HICO_test2015_00000002.jpg",
    "ILSVRC2012_val_00000001.JPEG",
    "ILSVRC2012_val_00000002.JPEG",
    "val2017/000000000139.jpg",
    "val2017/000000000285.jpg",
    "JPEGImages/2008_000008.jpg",
    "JPEGImages/2008_000015.jpg",
)
RARE = "Jeans\nAuto racing\nResidential area\n"
HICO = "person ride bicycle\nperson hold dog\n"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed, name in enumerate(PHOTOS):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(photo_bytes(seed))
    return folder


@pytest.fixture(scope="module")
def closed(photos: Path) -> Path:
    return tag(photos, photos.parent / "closed")


@pytest.fixture(scope="module")
def opened(photos: Path) -> Path:
    """A run on words that ram-mini does not know, but for "Jeans"."""
    return tag(photos, photos.parent / "opened", tuple((RARE + HICO).split("\n")[:-1]))


def tag(photos: Path, output: Path, words: tuple[str, ...] | None = None) -> Path:
    config = TagConfig(
        source=str(photos), output=str(output), score_floor=0.0, device="cpu", tags=words
    )
    assert tag_bucket(config).num_tagged == len(PHOTOS)
    return output


def evaluate(run: Path, labels: Path, *options: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli.app, ["evaluate", str(run), str(labels), *options, "--json"])
    assert result.exit_code == 0, result.output
    assert (run / "evaluation.html").exists()
    return json.loads(result.stdout)


def counts(figures: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {tag["name"]: (tag["positives"], tag["negatives"]) for tag in figures["per_tag"]}


def scores(run: Path, name: str) -> dict[str, float]:
    rows = pq.read_table(run / "tags").to_pylist()
    return {
        Path(row["image_id"]).stem: row["scores"][row["tags"].index(name)]
        for row in rows
    }  # fmt: skip


def test_openimages_common_as_ram_published_it(closed: Path, tmp_path: Path) -> None:
    (tmp_path / "openimages_common_214_ram_taglist.txt").write_text("skyline\ncar\ndog\nhorse\n")
    labels = tmp_path / "openimages_common_214_ram_annots.txt"
    one, two, three = (f"test/{name}" for name in OPEN_IMAGES)
    labels.write_text(f"{one},car\n{two},dog,car\n{three}\n")
    figures = evaluate(closed, labels, "--match", "stem")
    assert figures["images"] == 3
    assert figures["names_without_tag"] == ["skyline"]
    assert counts(figures) == {"car": (2, 1), "dog": (1, 2), "horse": (0, 3)}
    found = scores(closed, "car")
    order = [found[name] for name in OPEN_IMAGES]
    car = next(tag for tag in figures["per_tag"] if tag["name"] == "car")
    assert car["average_precision"] == pytest.approx(average_precision_score([1, 1, 0], order))
    # a class without positives counts 0 in the papers' protocol, and not at all in the other
    both = [figures["map"][name]["value"] for name in ("reference_protocol", "known_labels_only")]
    assert both[0] == pytest.approx(both[1] * 2 / 3, abs=1e-6)


def test_openimages_own_file_with_verified_labels(closed: Path, tmp_path: Path) -> None:
    (tmp_path / "oidv7-class-descriptions.csv").write_text(
        "LabelName,DisplayName\n/m/0k4j,Car\n/m/0bt9lr,Dog\n"
    )
    labels = tmp_path / "oidv7-test-annotations-human-imagelabels.csv"
    rows = [f"{name},verification,/m/0k4j,{int(name[-1] == 'f')}" for name in OPEN_IMAGES]
    rows += [f"{OPEN_IMAGES[0]},crowdsource-verification,/m/0bt9lr,0"]
    labels.write_text("\n".join(["ImageID,Source,LabelName,Confidence", *rows]) + "\n")
    figures = evaluate(closed, labels, "--match", "stem")
    assert counts(figures) == {"car": (2, 1), "dog": (0, 1)}
    assert figures["known_labels"] == 4


def test_openimages_rare_with_new_words(opened: Path, tmp_path: Path) -> None:
    (tmp_path / "openimages_rare_200_ram_taglist.txt").write_text(RARE)
    labels = tmp_path / "openimages_rare_200_ram_annots.txt"
    labels.write_text(f"test/{OPEN_IMAGES[0]},Auto racing\ntest/{OPEN_IMAGES[1]},Jeans\n")
    figures = evaluate(opened, labels, "--match", "stem")
    expected = {"jeans": (1, 1), "Auto racing": (1, 1), "Residential area": (0, 2)}
    assert counts(figures) == expected
    found = scores(opened, "Auto racing")
    racing = next(tag for tag in figures["per_tag"] if tag["name"] == "Auto racing")
    assert racing["threshold"] == pytest.approx(0.15)  # ram-mini's, for new words
    order = [found[name] for name in OPEN_IMAGES[:2]]
    assert racing["average_precision"] == pytest.approx(average_precision_score([1, 0], order))


def test_hico_by_number_with_new_words(opened: Path, tmp_path: Path) -> None:
    (tmp_path / "hico_600_taglist.txt").write_text(HICO)
    labels = tmp_path / "hico_600_annots.txt"
    labels.write_text("HICO_test2015_00000001.jpg,1\nHICO_test2015_00000002.jpg,0 1\n")
    figures = evaluate(opened, labels)
    assert counts(figures) == {"person ride bicycle": (1, 1), "person hold dog": (2, 0)}
    assert figures["images_without_labels"] == len(PHOTOS) - 2


def test_imagenet_multi_with_a_name_that_stands_twice(closed: Path, tmp_path: Path) -> None:
    (tmp_path / "imagenet_multi_1000_taglist.txt").write_text("umbrella\nsunglasses\nsunglasses\n")
    labels = tmp_path / "imagenet_multi_1000_annots.txt"
    labels.write_text("ILSVRC2012_val_00000001.JPEG\nILSVRC2012_val_00000002.JPEG,2 0\n")
    assert counts(evaluate(closed, labels)) == {"umbrella": (1, 1), "sunglasses": (1, 1)}


def test_coco_instances(closed: Path, tmp_path: Path) -> None:
    instances = {
        "info": {"year": 2017},
        "images": [
            {"id": 139, "file_name": "000000000139.jpg", "height": 64, "width": 96},
            {"id": 285, "file_name": "000000000285.jpg", "height": 64, "width": 96},
        ],
        "annotations": [
            {"id": 1, "image_id": 139, "category_id": 18, "bbox": [1, 2, 3, 4], "iscrowd": 0},
            {"id": 2, "image_id": 139, "category_id": 18, "bbox": [5, 2, 3, 4], "iscrowd": 0},
        ],
        "categories": [
            {"supercategory": "animal", "id": 18, "name": "dog"},
            {"supercategory": "vehicle", "id": 3, "name": "car"},
        ],
    }
    (tmp_path / "instances_val2017.json").write_text(json.dumps(instances))
    figures = evaluate(closed, tmp_path / "instances_val2017.json", "--match", "name")
    assert counts(figures) == {"dog": (1, 1), "car": (0, 2)}


def test_voc_class_files(closed: Path, tmp_path: Path) -> None:
    sets = tmp_path / "VOC2012" / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (sets / "val.txt").write_text("2008_000008\n2008_000015\n")
    (sets / "dog_val.txt").write_text("2008_000008  1\n2008_000015 -1\n")
    (sets / "horse_val.txt").write_text("2008_000008  0\n2008_000015  1\n")
    figures = evaluate(closed, tmp_path / "VOC2012", "--match", "stem")
    assert counts(figures) == {"dog": (1, 1), "horse": (1, 0)}


def test_names_that_do_not_meet_say_what_would(closed: Path, tmp_path: Path) -> None:
    labels = tmp_path / "annots.txt"
    labels.write_text(f"test/{OPEN_IMAGES[0]},car\n")
    result = CliRunner().invoke(cli.app, ["evaluate", str(closed), str(labels)])
    assert result.exit_code == 2
    assert "With --match stem 1 would meet" in " ".join(result.stderr.split())
    labels.write_text("test/x,Residential area\n")
    result = CliRunner().invoke(cli.app, ["evaluate", str(closed), str(labels)])
    text = " ".join(result.stderr.split())
    assert "None of the 1 names in the labels ('Residential area') is a tag of the run" in text


def test_thresholds_for_new_words_are_refused(opened: Path, tmp_path: Path) -> None:
    labels = tmp_path / "annots.txt"
    labels.write_text(f"test/{OPEN_IMAGES[0]},Jeans\n")
    result = CliRunner().invoke(cli.app, ["calibrate", str(opened), str(labels), "--match", "stem"])
    assert result.exit_code == 2
    assert "new words" in result.stderr
