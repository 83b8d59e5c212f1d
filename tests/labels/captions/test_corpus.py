import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ram_ray.errors import ConfigError
from ram_ray.labels.captions.corpus import read_captions
from ram_ray.labels.captions.rows import MAX_CAPTION_CHARS, Caption
from ram_ray.labels.problems import Problem


def read(path: Path) -> tuple[list[Caption], list[Problem]]:
    problems: list[Problem] = []
    return list(read_captions(path, problems.append)), problems


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_plain_lines(tmp_path: Path) -> None:
    captions, problems = read(write(tmp_path / "c.txt", "\ufeffA dog\r\nA cat\n"))
    assert [(c.text, c.image, c.line) for c in captions] == [
        ("A dog", "c.txt:1", 1),
        ("A cat", "c.txt:2", 2),
    ]
    assert problems == []


def test_flickr8k_tokens_name_the_image_and_survive_a_wrong_separator(tmp_path: Path) -> None:
    lines = "1_a.jpg#0\tA dog .\n1_a.jpg#1 A brown dog .\n2_b.jpg#0\tA cat .\n"
    captions, problems = read(write(tmp_path / "Flickr8k.token.txt", lines))
    assert [(c.image, c.text) for c in captions] == [
        ("1_a.jpg", "A dog ."),
        ("1_a.jpg", "A brown dog ."),
        ("2_b.jpg", "A cat ."),
    ]
    assert [problem.line for problem in problems] == [2]
    assert "a space where a tab belongs" in problems[0].message


def test_jsonl_with_one_or_several_captions(tmp_path: Path) -> None:
    rows = [{"image_id": 7, "captions": ["A dog", "A brown dog"]}, {"caption": "A cat"}]
    captions, problems = read(write(tmp_path / "c.jsonl", "\n".join(map(json.dumps, rows))))
    assert [(c.image, c.text) for c in captions] == [
        ("7", "A dog"),
        ("7", "A brown dog"),
        ("c.jsonl:2", "A cat"),
    ]
    assert problems == []


def test_coco_annotations(tmp_path: Path) -> None:
    loaded = {"annotations": [{"image_id": 3, "caption": "A dog"}]}
    captions, _ = read(write(tmp_path / "captions.json", json.dumps(loaded)))
    assert [(c.image, c.text) for c in captions] == [("3", "A dog")]


def test_parquet(tmp_path: Path) -> None:
    table = pa.table({"key": ["a", "b"], "caption": ["A dog", None], "pixels": [b"1", b"2"]})
    pq.write_table(table, tmp_path / "c.parquet")
    captions, problems = read(tmp_path / "c.parquet")
    assert [(c.image, c.text) for c in captions] == [("a", "A dog")]
    assert [problem.line for problem in problems] == [2]


def test_webdataset_tars_in_a_folder(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        members = {"a.jpg": b"\xff\xd8", "a.json": b'{"captions": ["A dog"]}', "b.txt": b"A cat"}
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    captions, problems = read(tmp_path)
    assert [(c.image, c.text) for c in captions] == [
        ("shard.tar/a.jpg", "A dog"),
        ("shard.tar/b", "A cat"),
    ]
    assert problems == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "is empty"),
        (b"   ", "is empty"),
        (b'{"caption": ', "is not JSON"),
        (b"[1]", "is neither an object nor a text"),
        (b'{"title": "A dog"}', "has none of the fields"),
        (b'{"caption": 7}', "holds 7 where a caption belongs"),
        (b'{"caption": " "}', "holds an empty caption"),
        (b'{"caption": "caf\xe9"}', "is not UTF-8"),
        ('{"caption": "\u4e00\u53ea\u72d7"}'.encode(), "without a Latin letter"),
        (b'{"caption": "' + b"dog " * MAX_CAPTION_CHARS + b'"}', "40000 characters"),
    ],
)
def test_a_bad_line_is_reported_and_the_next_is_read(
    tmp_path: Path, line: bytes, message: str
) -> None:
    path = write(
        tmp_path / "c.jsonl", b'{"caption": "A dog"}\n' + line + b'\n"A cat \xf0\x9f\x90\x88"\n'
    )
    captions, problems = read(path)
    assert [c.text for c in captions] == ["A dog", "A cat \U0001f408"]
    assert [problem.line for problem in problems] == [2]
    assert message in problems[0].message


def test_broken_containers_are_reported(tmp_path: Path) -> None:
    for name in ("c.tar", "c.parquet", "c.json"):
        write(tmp_path / name, b"\x00broken\xff" * 100)
    captions, problems = read(tmp_path)
    assert captions == []
    assert sorted(Path(problem.source).name for problem in problems) == [
        "c.json",
        "c.parquet",
        "c.tar",
    ]


@pytest.mark.parametrize("name", ["nowhere", "photo.jpg"])
def test_what_holds_no_captions_is_an_error(tmp_path: Path, name: str) -> None:
    write(tmp_path / "photo.jpg", b"")
    with pytest.raises(ConfigError, match=name):
        read(tmp_path / name)


def test_csv_with_a_header(tmp_path: Path) -> None:
    text = 'image,caption\n1.jpg,"A dog, wet ."\n2.jpg,\n3.jpg,"Two\nlines"\n'
    captions, problems = read(write(tmp_path / "c.csv", text))
    assert [(c.image, c.text) for c in captions] == [
        ("1.jpg", "A dog, wet ."),
        ("3.jpg", "Two\nlines"),
    ]
    assert [(p.line, p.message) for p in problems] == [(3, "holds an empty caption")]


def test_one_bad_byte_loses_one_row_of_a_csv(tmp_path: Path) -> None:
    text = "image,caption\na.jpg,a dog\nb.jpg,a caf\u00e9\nc.jpg,grass\n"
    captions, problems = read(write(tmp_path / "latin1.csv", text.encode("latin-1")))
    assert [(c.image, c.text) for c in captions] == [("a.jpg", "a dog"), ("c.jpg", "grass")]
    assert [(p.line, p.message) for p in problems] == [(3, "is not UTF-8")]


@pytest.mark.parametrize("name", ["c.txt", "c.csv", "c.jsonl", "c.tsv"])
def test_utf_16_is_named_and_not_read_as_something_else(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, "image,caption\n1.jpg,A dog\n".encode("utf-16"))
    captions, problems = read(path)
    assert captions == []
    assert [str(problem) for problem in problems] == [f"{name}: is UTF-16 text; save it as UTF-8"]


def test_lines_end_at_newlines_only(tmp_path: Path) -> None:
    row = json.dumps({"image_id": "a.jpg", "caption": "a dog\u2028on grass"}, ensure_ascii=False)
    captions, problems = read(write(tmp_path / "c.jsonl", f"\ufeff{row}\r\n"))
    assert [caption.text for caption in captions] == ["a dog\u2028on grass"]
    assert problems == []
