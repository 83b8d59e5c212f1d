"""Captions at scale: every line is accounted for, resumed runs equal whole ones."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.labels.captions.rows import Caption
from ram_ray.labels.parsing.pipeline import ParseConfig, parse_captions
from ram_ray.labels.parsing.shard import ParseShard, batches
from tests.conftest import S3Server

NAMES = ("dog", "cat", "sit", "brown", "kitchen", "person", "couch")


@pytest.fixture
def vocabulary(tmp_path: Path) -> str:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    return str(path)


def jsonl(path: Path, rows: int) -> None:
    captions = ["Two brown dogs sit .", "A cat on a sofa .", "no dogs"]
    lines = [
        json.dumps({"image_id": f"{path.stem}-{n}", "captions": captions[: 1 + n % 3]})
        for n in range(rows)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def config(tmp_path: Path, vocabulary: str, **changes: object) -> ParseConfig:
    settings = {
        "source": str(tmp_path / "in"),
        "output": str(tmp_path / "out"),
        "vocabulary": vocabulary,
        "shard_bytes": 2_000,
        "num_parsers": 1,
        "cpus_per_parser": 0.5,
        "max_error_rate": 1.0,
    }
    return ParseConfig(**(settings | changes))  # pyright: ignore


def table(output: Path, folder: str) -> list[dict]:
    files = sorted((output / folder).glob("*.parquet"))
    return pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    jsonl(folder / "a.jsonl", 60)
    return folder


def test_images_get_tags_counts_and_pairs(
    tmp_path: Path, source: Path, vocabulary: str, ray_session: None
) -> None:
    summary = parse_captions(config(tmp_path, vocabulary, evidence=True))
    rows = {row["image_id"]: row for row in table(tmp_path / "out", "tags")}
    assert summary.num_images == len(rows) == 60
    assert summary.num_shards > 1
    two = rows["a-1"]
    assert two["tags"] == ["brown", "dog", "sit", "cat", "couch"]
    assert two["counts"] == [1, 1, 1, 1, 1]
    assert two["line"] == 2
    frequencies = pq.read_table(tmp_path / "out" / "frequencies.parquet").to_pylist()
    assert (frequencies[0]["images"], frequencies[0]["captions"]) == (60, 60)
    assert {row["tag"]: row["images"] for row in frequencies}["cat"] == 40
    pairs = pq.read_table(tmp_path / "out" / "cooccurrence.parquet").to_pylist()
    together = {(row["tag_a"], row["tag_b"]): row["images"] for row in pairs}
    assert together["dog", "cat"] == 40
    evidence = table(tmp_path / "out", "evidence")
    sofa = next(row for row in evidence if row["tag"] == "couch")
    assert (sofa["rule"], sofa["surface"], sofa["caption"]) == ("synonym", "sofa", 1)


def test_resumed_run_equals_a_whole_one(
    tmp_path: Path, source: Path, vocabulary: str, ray_session: None
) -> None:
    whole = parse_captions(config(tmp_path, vocabulary, output=str(tmp_path / "whole")))
    parse_captions(config(tmp_path, vocabulary))
    for commit in sorted((tmp_path / "out" / "commits").iterdir())[1:]:
        commit.unlink()
    again = parse_captions(config(tmp_path, vocabulary))
    assert again.resumed
    assert again.num_images == whole.num_images
    for folder in ("tags", "quarantine", "frequencies", "pairs"):
        assert table(tmp_path / "out", folder) == table(tmp_path / "whole", folder)


def test_bad_lines_are_reported_with_their_place(
    tmp_path: Path, vocabulary: str, ray_session: None
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    good = json.dumps({"caption": "a dog \U0001f415"})
    lines = [good.encode()] * 30
    lines += [b"{broken", b"\xff\xfe", b"", b'{"captions": []}', b'{"caption": 3}', b'{"x": 1}']
    lines += [json.dumps({"caption": "dog " * 25_000}).encode()]
    lines += [
        json.dumps({"caption": "\u0441\u043e\u0431\u0430\u043a\u0430"}).encode(),
        good.encode(),
    ]
    (folder / "bad.jsonl").write_bytes(b"\n".join(lines))
    flickr = "1.jpg#0\tA dog sits .\n1.jpg#1 Two cats .\nno separator at all\n"
    (folder / "flickr.token").write_text(flickr, encoding="utf-8")
    (folder / "notes.md").write_text("x", encoding="utf-8")
    summary = parse_captions(config(tmp_path, vocabulary, shard_bytes=500))
    problems = table(tmp_path / "out", "quarantine")
    places = [(row["source"], row["line"]) for row in problems]
    assert [place for place in places if place[0] == "bad.jsonl"] == [
        ("bad.jsonl", line) for line in range(31, 39)
    ]
    assert ("flickr.token", 2) in places
    rows = table(tmp_path / "out", "tags")
    assert [row["line"] for row in rows if row["source"] == "bad.jsonl"] == [*range(1, 31), 39]
    assert [row["tags"] for row in rows if row["image_id"] == "1.jpg"] == [["dog", "sit", "cat"]]
    assert summary.skipped_files == 1


def test_tars_and_parquet_are_read(tmp_path: Path, vocabulary: str, ray_session: None) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with tarfile.open(folder / "shard.tar", "w") as tar:
        for name, data in (
            ("7.json", b'{"captions": ["a dog", "a kitchen"]}'),
            ("8.txt", b"a cat"),
            ("8.jpg", b"pixels"),
            ("9.json", b"{"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    pq.write_table(
        pa.table({"key": ["k1", "k2"], "caption": ["a dog", None]}), folder / "t.parquet"
    )
    summary = parse_captions(config(tmp_path, vocabulary))
    found = {row["image_id"]: row["tags"] for row in table(tmp_path / "out", "tags")}
    assert found == {
        "shard.tar/7": ["dog", "kitchen"],
        "shard.tar/8.jpg": ["cat"],
        "k1": ["dog"],
    }
    assert summary.num_problems == 2
    sources = {row["source"] for row in table(tmp_path / "out", "quarantine")}
    assert sources == {"shard.tar/9.json", "t.parquet"}


def test_captions_in_a_bucket(
    tmp_path: Path, s3: S3Server, vocabulary: str, ray_session: None
) -> None:
    lines = b"".join(b'{"caption": "a dog"}\n' for _ in range(50))
    bucket = s3.bucket("captions-in", {"c/one.jsonl": lines, "c/x.bin": b"x"})
    s3.bucket("captions-out", {})
    run = config(
        tmp_path,
        vocabulary,
        source=f"{bucket}/c",
        output="s3://captions-out/parsed",
        store=s3.config,
        shard_bytes=500,
    )
    summary = parse_captions(run)
    assert (summary.num_images, summary.num_problems) == (50, 0)


def test_another_run_in_the_output_is_refused(
    tmp_path: Path, source: Path, vocabulary: str, ray_session: None
) -> None:
    parse_captions(config(tmp_path, vocabulary))
    with pytest.raises(ConfigError, match="its widen is False, this call's is True"):
        parse_captions(config(tmp_path, vocabulary, widen=True))


def test_source_without_captions_is_refused(tmp_path: Path, vocabulary: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.md").write_bytes(b"x")
    with pytest.raises(ConfigError, match="1 files of other kinds"):
        parse_captions(config(tmp_path, vocabulary))
    with pytest.raises(ConfigError, match="lies inside the source"):
        parse_captions(config(tmp_path, vocabulary, output=str(tmp_path / "in" / "out")))


def test_captions_of_an_image_are_parsed_together() -> None:
    captions = [Caption(str(n), f"image {n // 3}", "a.jsonl", n + 1) for n in range(10)]
    sizes = [len(some) for some in batches(captions, 4)]
    assert sizes == [6, 4]


def test_late_attempt_changes_nothing(
    tmp_path: Path, source: Path, vocabulary: str, ray_session: None
) -> None:
    parse_captions(config(tmp_path, vocabulary))
    before = table(tmp_path / "out", "tags")
    late = ParseShard(str(tmp_path / "out"), StoreConfig(), widen=True, with_evidence=False)
    commit, _ = late.parse(0)
    assert commit.tagged == len(pq.read_table(tmp_path / "out" / "tags/shard-000000.parquet"))
    assert table(tmp_path / "out", "tags") == before
