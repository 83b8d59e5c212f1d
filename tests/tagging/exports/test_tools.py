"""Every form is opened by the tool that it is for."""

import csv
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from ram_ray.errors import ConfigError
from ram_ray.tagging.exports.forms import Form
from ram_ray.tagging.exports.pipeline import export
from tests.tagging.outputs.test_rethresholding import write_run

FIRST = ["dog", "cat|\\", "sky"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of 0.jpg (dog .9, cat|\\ .5, sky .1), 1.jpg (nothing), 2.jpg (cat|\\ .7)."""
    return write_run(tmp_path / "run", score_floor=None)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(3):
        Image.new("RGB", (4, 3), (90 * n, 0, 0)).save(folder / f"{n}.jpg")
    return folder


def test_pandas_reads_the_csv(run: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    export(str(run), tmp_path / "all.csv")
    table = pandas.read_csv(tmp_path / "all.csv", keep_default_na=False)
    assert table["image_id"].tolist() == ["0.jpg", "1.jpg", "2.jpg"]
    assert table["scores"].tolist() == ["0.9|0.5|0.1", "", "0.7"]


def test_pycocotools_filters_coco(run: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    report = export(str(run), tmp_path / "all.json")
    found = coco.COCO(str(tmp_path / "all.json"))
    assert report.images == len(found.getImgIds()) == 3
    names = [one["name"] for one in found.loadCats(found.getCatIds(supNms=["tag"]))]
    assert names == ["cat|\\", "sky", "dog"]
    cats = found.getCatIds(catNms=["cat|\\"])
    assert found.getImgIds(catIds=cats) == [1, 3]
    big = found.getAnnIds(catIds=cats, areaRng=[11, 13], iscrowd=False)
    assert [one["score"] for one in found.loadAnns(big)] == [0.5, 0.7]
    assert found.info() is None


def test_datasets_gives_pictures_their_tags(run: Path, photos: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    export(str(run), photos, form="imagefolder")
    rows = datasets.load_dataset(
        "imagefolder", data_dir=str(photos), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert [row["tags"] for row in rows] == [FIRST, [], ["cat|\\"]]
    assert rows[2]["image"].getpixel((0, 0))[0] > 150  # its own picture


def test_a_metadata_file_of_somebody_is_kept(run: Path, photos: Path) -> None:
    (photos / "metadata.jsonl").write_text("mine")
    with pytest.raises(ConfigError, match="--replace"):
        export(str(run), photos, form="imagefolder")
    assert (photos / "metadata.jsonl").read_text() == "mine"
    export(str(run), photos, form="imagefolder", replace=True)
    assert (photos / "metadata.jsonl").read_text() != "mine"


# WebDataset leaves its tars to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_sidecar_tars_beside_those_of_pictures(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    ids = ["a/s.tar/x/0001.left.jpg", "a/s.tar/x/0002.jpg", "loose.jpg"]
    run = write_run(tmp_path / "run", score_floor=None, ids=ids)
    (tmp_path / "out").mkdir()
    report = export(str(run), tmp_path / "out", form="webdataset")
    assert (report.images, report.files, report.left_out) == (3, 2, {})
    read = list(webdataset.WebDataset(str(tmp_path / "out/a/s.tar"), shardshuffle=False).decode())
    assert [sample["__key__"] for sample in read] == ["x/0001", "x/0002"]
    assert read[0]["left.tags.json"]["tags"] == FIRST
    with tarfile.open(tmp_path / "out/shard-000001.tar") as tar:
        assert tar.getnames() == ["loose.tags.json"]
        content = tar.extractfile("loose.tags.json")
        assert content is not None
        assert json.load(content)["image_id"] == "loose.jpg"


def test_openimages_has_a_line_per_label(run: Path, tmp_path: Path) -> None:
    export(str(run), tmp_path / "labels.csv", form="openimages")
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["ImageID", "Source", "LabelName", "Confidence"]
    assert [row["ImageID"] for row in rows] == ["0", "0", "0", "2"]
    assert rows[3] == {
        "ImageID": "2", "Source": "machine", "LabelName": "cat|\\", "Confidence": "0.7"
    }  # fmt: skip


def test_openimages_keeps_folders_where_names_repeat(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", score_floor=None, ids=["a/x.jpg", "b/y.jpg", "b/x.jpg"])
    export(str(run), tmp_path / "labels.csv", form="openimages")
    with (tmp_path / "labels.csv").open(newline="") as file:
        assert {row["ImageID"] for row in csv.DictReader(file)} == {"a/x", "b/x"}


def test_label_studio_accepts_tasks_under_their_interface(run: Path, tmp_path: Path) -> None:
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    export(str(run), tmp_path / "tasks.json", form="label-studio")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    label = interface.LabelInterface((tmp_path / "tasks.interface.xml").read_text())
    label.validate()
    # With predictions its check of a whole task raises TypeError (label-studio-sdk 2.0.19).
    assert all(label.validate_task({"data": task["data"]}) for task in tasks)
    assert [label.validate_prediction(one, True) for one in tasks[0]["predictions"]] == [[]]
    wrong = json.loads(json.dumps(tasks[0]["predictions"][0]).replace("dog", "no such tag"))
    assert not label.validate_prediction(wrong)
    assert tasks[0]["data"]["image"] == "/data/local-files/?d=0.jpg"


def test_fiftyone_s_documented_form(tmp_path: Path) -> None:
    """FiftyOne itself wants a MongoDB: its importer's rules, as its documentation gives them."""
    run = write_run(tmp_path / "run", score_floor=None, ids=["a/x.jpg", "a/x.png", "y.jpg"])
    report = export(str(run), tmp_path / "labels.json", form="fiftyone")
    labels = json.loads((tmp_path / "labels.json").read_text())["labels"]
    assert labels["a/x"][0] == {"label": "dog", "confidence": 0.9}
    assert (sorted(labels), report.images) == (["a/x", "y"], 2)
    assert sum(report.left_out.values()) == 1


def test_kohya_writes_tags_and_keeps_captions(run: Path, photos: Path) -> None:
    (photos / "2.txt").write_text("my own caption")
    report = export(str(run), photos, form="kohya")
    assert (photos / "0.txt").read_text() == "dog, cat|\\, sky"
    assert (photos / "1.txt").read_text() == ""
    assert (photos / "2.txt").read_text() == "my own caption"
    assert (report.images, sum(report.left_out.values())) == (2, 1)
    again = export(str(run), photos, form="kohya", replace=True)
    assert (again.images, again.files) == (3, 1)
    assert (photos / "2.txt").read_text() == "cat|\\"


@pytest.mark.parametrize("form", ["kohya", "xmp"])
def test_tags_below_their_thresholds_are_no_keywords(
    tmp_path: Path, photos: Path, form: Form
) -> None:
    run = write_run(tmp_path / "run", score_floor=0.05)
    with pytest.raises(ConfigError, match=f"{form} says no score: give --min-score"):
        export(str(run), photos, form=form)
    assert len(list(photos.iterdir())) == 3
    export(str(run), photos, form=form, min_score=0.5)
    texts = [path.read_text() for path in sorted(photos.iterdir()) if path.suffix != ".jpg"]
    assert ["dog" in text for text in texts] == [True, False, False]  # 0.5 is not above 0.5
    assert not any("sky" in text for text in texts)


def test_scores_below_the_floor_cannot_be_asked_for(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", score_floor=0.3)
    for least, reason in ((0.2, "kept scores from 0.3 up only"), (2.0, "between 0 and 1")):
        with pytest.raises(ConfigError, match=f"min_score is {least}, but .*{reason}"):
            export(str(run), tmp_path / "all.csv", min_score=least)
    export(str(run), tmp_path / "all.jsonl", min_score=0.6)
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [row["tags"] for row in rows] == [["dog"], [], ["cat|\\"]]


@pytest.mark.parametrize("form", ["kohya", "xmp", "webdataset"])
def test_ids_never_lead_out_of_the_folder(tmp_path: Path, form) -> None:
    ids = ["../evil.jpg", "/etc/evil.jpg", "a//b.jpg"]
    run = write_run(tmp_path / "run", score_floor=None, ids=ids)
    (tmp_path / "out").mkdir()
    before = sorted(tmp_path.iterdir())
    report = export(str(run), tmp_path / "out", form=form)
    assert sorted(tmp_path.iterdir()) == before
    if form != "webdataset":  # there an id is a name inside a tar
        assert (report.images, sum(report.left_out.values())) == (0, 3)
        assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.proof  # where exiftool is installed; test_xmp_packet.py reads the same properties
def test_exiftool_reads_what_digikam_lightroom_and_others_look_for(run: Path, photos: Path) -> None:
    exiftool = shutil.which("exiftool")
    if exiftool is None:
        pytest.skip("exiftool is not installed")
    pytest.importorskip("lxml")
    export(str(run), photos, form="xmp")
    told = subprocess.run(
        [exiftool, "-j", "-Subject", "-HierarchicalSubject", "-TagsList", photos / "0.jpg.xmp"],
        check=True, capture_output=True,
    )  # fmt: skip
    found = json.loads(told.stdout)[0]
    assert found["Subject"] == ["dog", "cat-\\", "sky"]
    assert found["HierarchicalSubject"] == ["ram-ray|dog", "ram-ray|cat-\\", "ram-ray|sky"]
    assert found["TagsList"] == ["ram-ray/dog", "ram-ray/cat-\\", "ram-ray/sky"]
