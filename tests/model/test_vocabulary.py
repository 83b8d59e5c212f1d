from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ram_model.errors import CheckpointError, UnknownTagError
from ram_model.tag_selection import TagSelection
from ram_model.vocabulary import OFF, Vocabulary


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary(
        names=("animal", "dog", "run", "run"),
        names_zh=("动物", "狗 ", "跑", "跑"),
        thresholds=np.array([0.65, 0.5, 0.8, 1.0]),
        kinds=("object", "object", "action", "object"),
        aliases=((), ("puppy", "hound"), (), ("hound",)),
        parents=((), (0,), (), ()),
    )


def test_parquet_round_trip(vocabulary: Vocabulary, tmp_path: Path) -> None:
    path = tmp_path / "split=train" / "v.parquet"  # must not be taken for a partition
    path.parent.mkdir()
    vocabulary.to_parquet(path)
    other = Vocabulary.from_parquet(path)
    assert other.names == vocabulary.names
    assert other.names_zh == vocabulary.names_zh
    assert other.thresholds.dtype == np.float32
    assert other.thresholds.tolist() == vocabulary.thresholds.tolist()
    assert other.kinds == vocabulary.kinds
    assert other.aliases == vocabulary.aliases
    assert other.parents == vocabulary.parents
    assert (other.sha256, other.thresholds_sha256) == (
        vocabulary.sha256,
        vocabulary.thresholds_sha256,
    )
    assert pq.read_schema(path).names == [
        "tag_id", "name", "name_zh", "threshold", "kind", "aliases", "parents",
    ]  # fmt: skip


def test_hashes_tell_names_from_thresholds(vocabulary: Vocabulary) -> None:
    renamed = replace(vocabulary, names=("animal", "dog", "run", "ran"))
    stricter = replace(vocabulary, thresholds=np.array([0.65, 0.5, 0.8, 0.9]))
    assert renamed.sha256 != vocabulary.sha256
    assert renamed.thresholds_sha256 == vocabulary.thresholds_sha256
    assert stricter.sha256 == vocabulary.sha256
    assert stricter.thresholds_sha256 != vocabulary.thresholds_sha256


def test_lookup_by_name_and_alias(vocabulary: Vocabulary) -> None:
    assert vocabulary.tag_ids_of(["dog"]) == [1]
    assert vocabulary.tag_ids_of(["run"]) == [2, 3]  # both that carry the name
    assert vocabulary.tag_ids_of(["hound", "dog", "animal"]) == [0, 1, 3]
    with pytest.raises(UnknownTagError, match="4 tags of this model: 'cog', 'fox'"):
        vocabulary.tag_ids_of(["cog", "run", "fox"])


def test_text_lists_keep_trailing_spaces(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("dog\nCD player\nsea", encoding="utf-8")
    (tmp_path / "zh.txt").write_text("狗 \n播放器\n海 \n", encoding="utf-8")
    (tmp_path / "thr.txt").write_text("0.65\n0.8\n1\n", encoding="utf-8")
    vocabulary = Vocabulary.from_text(
        tmp_path / "en.txt", tmp_path / "thr.txt", tmp_path / "zh.txt"
    )
    assert vocabulary.names == ("dog", "CD player", "sea")
    assert vocabulary.names_zh == ("狗 ", "播放器", "海 ")
    assert vocabulary.thresholds.tolist() == np.array([0.65, 0.8, 1], dtype=np.float32).tolist()
    assert vocabulary.kinds == ("other",) * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": np.array([0.5])}, "thresholds holds 1 entries, but must hold 4"),
        ({"thresholds": np.array([0.5, 0.5, 0.5, 1.1])}, "between 0 and 1"),
        ({"thresholds": np.array([0.5, 0.5, 0.5, np.nan])}, "between 0 and 1"),
        ({"kinds": ("verb",) * 4}, r"kinds holds \['verb'\]"),
        ({"parents": ((9,), (), (), ())}, "parents must be tag ids from 0 to 3"),
        ({"names": ()}, "at least one tag"),
    ],
)
def test_wrong_columns_are_named(vocabulary: Vocabulary, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(vocabulary, **change)


def test_thresholds_cannot_be_changed_in_place(vocabulary: Vocabulary) -> None:
    with pytest.raises(ValueError, match="read-only"):
        vocabulary.thresholds[0] = 0.1


def test_other_files_are_refused(vocabulary: Vocabulary, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    with pytest.raises(CheckpointError, match="is not a vocabulary"):
        Vocabulary.from_parquet(tmp_path / "a.parquet")
    pq.write_table(pa.table({"name": ["x"]}), tmp_path / "b.parquet")
    with pytest.raises(CheckpointError, match="no column tag_id"):
        Vocabulary.from_parquet(tmp_path / "b.parquet")
    vocabulary.to_parquet(tmp_path / "c.parquet")
    pq.write_table(pq.read_table(tmp_path / "c.parquet").slice(1), tmp_path / "d.parquet")
    with pytest.raises(CheckpointError, match="tag ids are not 0, 1, 2"):
        Vocabulary.from_parquet(tmp_path / "d.parquet")


def test_tags_that_share_a_name_are_told_apart_by_id(vocabulary: Vocabulary) -> None:
    assert vocabulary.find("run") == [2, 3]
    assert vocabulary.find("#3") == [3]
    assert vocabulary.tag_ids_of(["#2", "dog"]) == [1, 2]
    assert vocabulary.find("#4") == []
    on = replace(vocabulary, thresholds=np.full(4, 0.5))
    select = TagSelection(
        tag_ids=[2, 3], thresholds=on.thresholds[2:], names=on.names, top_k=None, score_floor=None
    )
    only_noun, both = select(torch.tensor([[-1.0, 1.0], [2.0, 1.0]]))
    assert (only_noun.tag_ids.tolist(), only_noun.names) == ([3], ["run"])
    assert (both.tag_ids.tolist(), both.names) == ([2, 3], ["run", "run"])


@pytest.mark.shared
def test_published_list_of_ram(shared: Path, tmp_path: Path) -> None:
    lists = shared / "data" / "labels" / "ram"
    vocabulary = Vocabulary.from_text(
        lists / "ram_tag_list.txt",
        lists / "ram_tag_list_threshold.txt",
        lists / "ram_tag_list_chinese.txt",
    )
    off = [498, 1006, 1780, 1965, 2443, 3210, 3590, 3602, 3910, 4322]
    assert len(vocabulary) == len(set(vocabulary.names)) == 4585
    assert sum(name.endswith(" ") for name in vocabulary.names_zh) == 2579
    assert np.flatnonzero(vocabulary.thresholds >= OFF).tolist() == off
    assert [vocabulary.names[i] for i in off[:2]] == ["body", "cocktail table"]
    vocabulary.to_parquet(tmp_path / "v.parquet")
    assert Vocabulary.from_parquet(tmp_path / "v.parquet").sha256 == vocabulary.sha256

    select = TagSelection(
        tag_ids=list(range(4585)),
        thresholds=vocabulary.thresholds,
        names=vocabulary.names,
        top_k=None,
        score_floor=0.0,
    )
    (tags,) = select(torch.full((1, 4585), 100.0))  # scores that round to exactly 1
    assert sorted(set(range(4585)) - set(tags.tag_ids.tolist())) == off


@pytest.mark.shared
def test_published_list_of_tag2text_is_known_by_id(shared: Path) -> None:
    text = (shared / "data" / "labels" / "ram" / "tag2text_ori_tag_list.txt").read_text("utf-8")
    names = tuple(text.splitlines())
    vocabulary = Vocabulary(names=names, thresholds=np.full(len(names), 0.68))
    repeated = [name for name, count in Counter(names).items() if count > 1]
    assert (len(names), len(repeated)) == (3429, 114)
    for name in repeated:
        tag_ids = vocabulary.find(name)
        assert [names[tag_id] for tag_id in tag_ids] == [name] * len(tag_ids)
        assert len(tag_ids) == names.count(name)
    assert all(vocabulary.find(f"#{tag_id}") == [tag_id] for tag_id in range(len(names)))
