"""One table of caption forms through the four doors: build, parse, engine, train."""

import shutil
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from ram_model.vocabulary import Vocabulary
from ram_ray.config import StoreConfig
from ram_ray.data_engine.plan.image_plan import read_images, write_image_plan
from ram_ray.errors import ConfigError
from ram_ray.labels.captions.corpus import read_captions
from ram_ray.labels.parsing.plan import write_caption_plan
from ram_ray.labels.parsing.shard import VOCABULARY_KEY, ParseShard
from ram_ray.labels.problems import NOT_DOWNLOADED, Problem
from ram_ray.runs.commits import read_commits, read_published
from ram_ray.storage.sources import PassedOver
from ram_ray.storage.stores import open_store
from ram_ray.training.data.labels import label_samples
from ram_ray.training.data.samples import index_samples
from tests.labels.captions.cases import CASES, JPEG, Case, as_json, as_tar
from tests.unreadable import as_nobody, odd_folder

VOCABULARY = Vocabulary(names=("dog", "cat", "grass"), thresholds=np.full(3, 0.5))
every_form = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def source_of(case: Case, folder: Path) -> tuple[str, str]:
    """Write the case; return the places of images and captions."""
    case.write(folder / "in")
    return str(folder / "in"), str(folder / "in" / (case.captions or ""))


def parse(captions: str, folder: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Return what `labels parse` makes of captions, without Ray: captions, codes of problems."""
    store = open_store(str(folder), StoreConfig(), create=True)
    VOCABULARY.to_parquet(folder / VOCABULARY_KEY)
    plan = write_caption_plan(
        store, captions, StoreConfig(), shard_bytes=1 << 20, on_planned=lambda shards: None
    )
    stage = ParseShard(str(folder), StoreConfig())
    for shard in range(plan.shards):
        stage.parse(shard)
    found: dict[str, list[str]] = {}
    codes: list[str] = []
    for commit in read_commits(store, range(plan.shards)):
        rows = read_published(store, commit.file("tags")).to_pylist()
        found |= {row["image_id"]: row["captions"] for row in rows}
        codes += read_published(store, commit.file("quarantine"))["error_code"].to_pylist()
    return found, codes


@every_form
def test_build(case: Case, tmp_path: Path) -> None:
    _, captions = source_of(case, tmp_path)
    problems: list[Problem] = []
    found: dict[str, list[str]] = defaultdict(list)
    for caption in read_captions(captions, problems.append):
        found[caption.image].append(caption.text)
    assert found == case.named
    assert problems == []


@every_form
def test_parse(case: Case, tmp_path: Path) -> None:
    _, captions = source_of(case, tmp_path)
    assert parse(captions, tmp_path / "out") == (case.named, [])


@every_form
def test_engine(case: Case, tmp_path: Path) -> None:
    source, captions = source_of(case, tmp_path)
    store = open_store(str(tmp_path / "out"), StoreConfig(), create=True)
    plan = write_image_plan(
        store, source, captions if case.captions else None, StoreConfig(),
        shard_rows=100, folds=1, on_planned=lambda rows: None,
    )  # fmt: skip
    rows = [row for n in range(plan.shards) for row in read_images(store, n).to_pylist()]
    found = {row["image_id"]: row["captions"] for row in rows if row["captions"]}
    assert {name: sorted(texts) for name, texts in found.items()} == {
        name: sorted(texts) for name, texts in case.expected.items()
    }
    assert plan.problems == 0


@every_form
def test_train(case: Case, tmp_path: Path) -> None:
    source, captions = source_of(case, tmp_path)
    exclude = [] if case.captions is None else ["*.parquet"]
    places = index_samples(source, StoreConfig(), exclude=exclude)
    labelled = label_samples(
        places, VOCABULARY, labels=None, captions=captions, store=StoreConfig()
    )
    rows = labelled.samples.to_pylist()
    assert {row["image_id"]: row["captions"] for row in rows} == case.expected


def test_rows_that_were_not_downloaded_are_no_images_and_told(tmp_path: Path) -> None:
    lost = {"key": "1", "url": "http://x.example.com/1.jpg", "status": "failed_to_download"}
    (tmp_path / "c.json").write_bytes(as_json([lost | {"caption": "a cat"}]))
    assert parse(str(tmp_path / "c.json"), tmp_path / "out") == ({}, [NOT_DOWNLOADED])
    tar = as_tar([("1.jpg", b"x"), ("1.json", as_json(lost | {"caption": "a cat"}))])
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "s.tar").write_bytes(tar)
    found, codes = parse(str(tmp_path / "in"), tmp_path / "there")
    assert (found, codes) == ({"s.tar/1.jpg": ["a cat"]}, [])  # a picture that is there is one


@pytest.mark.parametrize(
    "text",
    [
        "a dog\ta cat\n",
        "http://x.example.com/1.jpg\thttp://x.example.com/2.jpg\n",
        "http://x.example.com/1.jpg\ta dog\t1\n",
    ],
)
def test_columns_that_cannot_be_told_are_refused_and_can_be_named(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "c.tsv").write_text(text)
    with pytest.raises(ConfigError, match="--columns caption,url"):
        list(read_captions(tmp_path / "c.tsv", [].append))
    columns = ("url", "caption", "n")[: text.count("\t") + 1]
    found = read_captions(tmp_path / "c.tsv", [].append, columns=columns)
    if "a " in text:
        assert next(found).text in ("a cat", "a dog")
    with pytest.raises(ConfigError, match="must be the captions"):
        list(read_captions(tmp_path / "c.tsv", [].append, columns=("url",) * len(columns)))


def test_what_may_not_be_read_is_told_at_every_door_and_the_rest_is_read() -> None:
    with odd_folder(JPEG) as folder:
        (folder / "a.txt").write_text("a dog")
        (folder / "z.txt").write_text("grass")
        out = Path(tempfile.mkdtemp(dir=folder.parent))
        out.chmod(0o777)
        with as_nobody():
            found, codes = parse(str(folder), out / "parse")
            problems: list[Problem] = []
            texts = [one.text for one in read_captions(folder, problems.append)]
            store = open_store(str(out / "engine"), StoreConfig(), create=True)
            plan = write_image_plan(
                store, str(folder), None, StoreConfig(),
                shard_rows=100, folds=1, on_planned=lambda rows: None,
            )  # fmt: skip
            rows = read_images(store, 0).to_pylist()
            places = index_samples(str(folder), StoreConfig(), on_passed=PassedOver())
            labelled = label_samples(
                places, VOCABULARY, labels=None, captions=str(folder), store=StoreConfig()
            )
        shutil.rmtree(out)
    expected = {"a.jpg": ["a dog"], "z.jpg": ["grass"]}
    assert found == expected
    assert codes == ["bad_file"] * 3  # gone.txt, into-locked.txt, loop.txt
    assert texts == ["a dog", "grass"]
    assert len(problems) == 3 + 7  # also six that are no files, and a folder
    assert {row["image_id"]: row["captions"] for row in rows if row["captions"]} == expected
    assert plan.problems == 10
    trained = labelled.samples.to_pylist()
    assert {row["image_id"]: row["captions"] for row in trained} == expected
    assert "10 caption lines give no caption" in " ".join(labelled.remarks)


def test_a_compressed_tar_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "s.tar.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "c.txt").write_text("a dog\n")
    problems: list[Problem] = []
    assert [one.text for one in read_captions(tmp_path, problems.append)] == ["a dog"]
    assert "s.tar.gz: is a compressed tar" in str(problems[0])


def test_a_sparse_member_is_refused_by_name(tmp_path: Path) -> None:
    import subprocess

    with (tmp_path / "a.bmp").open("wb") as file:
        file.write(b"BM")
        file.seek(1 << 20)
        file.write(b"end")
    (tmp_path / "b.txt").write_text("a dog")
    (tmp_path / "b.jpg").write_bytes(b"x")
    (tmp_path / "in").mkdir()
    command = ["tar", "-cSf", str(tmp_path / "in" / "x.tar"), "a.bmp", "b.txt", "b.jpg"]
    subprocess.run(command, cwd=tmp_path, check=True)
    store = open_store(str(tmp_path / "out"), StoreConfig(), create=True)
    plan = write_image_plan(
        store, str(tmp_path / "in"), None, StoreConfig(),
        shard_rows=100, folds=1, on_planned=lambda rows: None,
    )  # fmt: skip
    rows = read_images(store, 0).to_pylist()
    assert {row["image_id"]: row["captions"] for row in rows} == {"x.tar/b.jpg": ["a dog"]}
    assert plan.problems == 1


@pytest.mark.parametrize("tar", ["s.tar", "S.TAR"])
@pytest.mark.parametrize("formats", [(), ("heic", "jxl")])
def test_names_of_heic_and_jxl_are_images_where_a_run_asks_for_them(
    tmp_path: Path, tar: str, formats: tuple[str, ...]
) -> None:
    loose = {"a.jpg": b"a dog", "b.HEIC": b"a cat", "c.jxl": b"grass"}
    (tmp_path / "in").mkdir()
    for name, text in loose.items():
        (tmp_path / "in" / name).write_bytes(JPEG)
        (tmp_path / "in" / f"{name.partition('.')[0]}.txt").write_bytes(text)
    members = [("d.heif", JPEG), ("d.txt", b"a dog on grass"), ("e.png", JPEG), ("e.txt", b"cats")]
    (tmp_path / "in" / tar).write_bytes(as_tar(members))
    said = {name: text.decode() for name, text in loose.items()}
    said |= {f"{tar}/d.heif": "a dog on grass", f"{tar}/e.png": "cats"}
    extra = {"b.HEIC", "c.jxl", f"{tar}/d.heif"}
    wanted = {name: [text] for name, text in said.items() if formats or name not in extra}
    store = open_store(str(tmp_path / "out"), StoreConfig(), create=True)
    plan = write_image_plan(
        store, str(tmp_path / "in"), None, StoreConfig(),
        shard_rows=100, folds=1, on_planned=lambda rows: None, formats=formats,
    )  # fmt: skip
    rows = [row for n in range(plan.shards) for row in read_images(store, n).to_pylist()]
    assert {row["image_id"]: row["captions"] for row in rows} == wanted
    fetched = [Path(row["uri"].partition("#")[0]).exists() for row in rows]
    assert all(fetched)
    places = index_samples(str(tmp_path / "in"), StoreConfig(), formats=formats)
    labelled = label_samples(
        places, None, labels=None, captions=str(tmp_path / "in"), store=StoreConfig()
    )
    trained = labelled.samples.to_pylist()
    assert {row["image_id"]: row["captions"] for row in trained} == wanted
