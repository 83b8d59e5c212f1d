from pathlib import Path

import numpy as np
import pytest

from ram_model.vocabulary import Vocabulary
from ram_ray.errors import ConfigError
from ram_ray.labels.vocabulary_files import read_vocabulary, write_vocabulary

VOCABULARY = Vocabulary(
    names=("dog", "fire truck", "black, white & red", "fish", "fish"),
    names_zh=("\u72d7", "", "", "", ""),
    thresholds=np.array([0.65, 0.8, 1.0, 0.123456, 0], np.float32),
    kinds=("object", "object", "attribute", "object", "action"),
    aliases=(("doggy", "pup"), (), (), (), ()),
    parents=((), (0, 3), (), (), ()),
)


def columns(vocabulary: Vocabulary) -> tuple[object, ...]:
    thresholds = vocabulary.thresholds.tolist()
    return vocabulary.names, vocabulary.names_zh, thresholds, vocabulary.sha256


@pytest.mark.parametrize("suffix", [".parquet", ".json", ".csv"])
def test_every_column_comes_back(tmp_path: Path, suffix: str) -> None:
    (path,) = write_vocabulary(VOCABULARY, tmp_path / f"vocabulary{suffix}")
    assert columns(read_vocabulary(path)) == columns(VOCABULARY)


def test_text_lists_are_written_and_read_as_ram_publishes_them(tmp_path: Path) -> None:
    paths = write_vocabulary(VOCABULARY, tmp_path / "tags.txt")
    assert [path.name for path in paths] == ["tags.txt", "tags_threshold.txt", "tags_chinese.txt"]
    assert paths[1].read_text(encoding="utf-8") == "0.65\n0.8\n1.0\n0.123456\n0.0\n"
    back = read_vocabulary(tmp_path / "tags.txt")
    assert columns(back)[:3] == columns(VOCABULARY)[:3]


def test_spaces_at_the_end_of_chinese_names_are_trimmed(tmp_path: Path) -> None:
    (tmp_path / "tags.txt").write_text("dog\ncat", encoding="utf-8")
    (tmp_path / "zh.txt").write_text("\u72d7 \n\u732b \n", encoding="utf-8")
    back = read_vocabulary(tmp_path / "tags.txt", names_zh=tmp_path / "zh.txt")
    assert back.names_zh == ("\u72d7", "\u732b")
    assert back.thresholds.tolist() == pytest.approx([0.65, 0.65])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.txt", "0.5\n", r"t\.txt holds 1 lines, but must hold 2"),
        ("t.txt", "0.5\nhigh\n", r"t\.txt:2 is 'high'.*between 0 and 1"),
        ("t.txt", "0.5\n1.5\n", r"t\.txt:2 is '1\.5'"),
        ("t.txt", "0.5\nnan\n", r"t\.txt:2 is 'nan'"),
    ],
)
def test_thresholds_that_do_not_fit_are_named(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / "tags.txt").write_text("dog\ncat\n", encoding="utf-8")
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_vocabulary(tmp_path / "tags.txt", thresholds=tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.txt", "dog\n\ncat\n", r"v\.txt:2 is empty"),
        ("v.json", '[{"name": "dog", "kind": "thing"}]', "kinds holds"),
        ("v.json", '[{"kind": "object"}]', "tag 1: has no name"),
        ("v.json", "{}", "must hold a list"),
        ("v.json", "[", "is not a vocabulary"),
        ("v.csv", "tag_id,name\n1,dog\n", "tag ids 0, 1, 2"),
        ("v.csv", "tag_id,name,threshold\n0,dog,2\n", "threshold is '2'"),
        ("v.csv", "tag_id,name,parents\n0,dog,9\n", "parents must be tag ids"),
        ("v.parquet", "dog", "is not a vocabulary"),
        ("v.xlsx", "dog", "must end in one of .parquet, .json, .csv, .txt"),
    ],
)
def test_what_is_no_vocabulary_is_an_error(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_vocabulary(tmp_path / name)


def test_an_alias_that_a_csv_cannot_hold_is_refused(tmp_path: Path) -> None:
    vocabulary = Vocabulary(
        names=("dog",), thresholds=np.array([0.5], np.float32), aliases=(("a|b",),)
    )
    with pytest.raises(ConfigError, match="write JSON"):
        write_vocabulary(vocabulary, tmp_path / "v.csv")


@pytest.mark.shared
def test_rams_list_round_trips(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "labels" / "ram"
    vocabulary = read_vocabulary(
        folder / "ram_tag_list.txt", names_zh=folder / "ram_tag_list_chinese.txt"
    )
    assert (len(vocabulary), len(set(vocabulary.names))) == (4585, 4585)
    assert all(name == name.strip() for name in vocabulary.names_zh)
    off = [name for name, t in zip(vocabulary.names, vocabulary.thresholds, strict=True) if t == 1]
    assert sorted(off, key=str.casefold) == [
        "body", "cocktail table", "French", "group", "lie", "see", "set", "show", "stop", "use",
    ]  # fmt: skip
    for suffix in (".txt", ".csv", ".json", ".parquet"):
        write_vocabulary(vocabulary, tmp_path / f"ram{suffix}")
        assert columns(read_vocabulary(tmp_path / f"ram{suffix}")) == columns(vocabulary)
