from pathlib import Path

import numpy as np
import pytest

from ram_model.vocabulary import Vocabulary
from ram_ray.labels.builder.config import list_config
from ram_ray.labels.builder.overlay import overlay, overlay_file
from ram_ray.labels.builder.sources import read_lists
from ram_ray.labels.lexicon import load_lexicon
from ram_ray.labels.vocabulary_files import read_vocabulary
from tests.labels.builder.sources import write_list

NAMES = ("vehicle", "bicycle", "beach", "wooden", "run", "squad car", "police car", "cheese pizza",
         "pizza", "zorb", "zorbs")  # fmt: skip


def test_kinds_aliases_and_parents_are_laid_over_ids_that_stay(tmp_path: Path) -> None:
    given = Vocabulary(names=NAMES, thresholds=np.linspace(0.1, 0.9, 11, dtype=np.float32))
    lexicon = load_lexicon()
    path = write_list(tmp_path, "lvis", "bicycle, bike", "pizza, pizza pie", "zorbs, glomp")
    lists = read_lists([list_config(f"{path},kind=object")], lexicon, lambda problem: None)
    made = overlay(given, lists, {}, lexicon)
    assert made.names == NAMES
    assert made.thresholds.tolist() == given.thresholds.tolist()
    kinds = dict(zip(NAMES, made.kinds, strict=True))
    assert kinds["beach"] == "scene"
    assert kinds["wooden"] == "attribute"
    assert kinds["run"] == "action"
    assert kinds["bicycle"] == "object"
    assert "bike" in made.aliases[1]
    assert made.find("vehicle")[0] in made.parents[1]
    assert made.parents[7] == (8,)  # cheese pizza: its last word
    # no alias is another tag's name, and two tags of one lemma do not both get the aliases
    assert not {alias for row in made.aliases for alias in row} & set(NAMES)
    assert ["glomp" in made.aliases[row] for row in (9, 10)] == [True, False]


def test_a_kind_that_is_given_stays(tmp_path: Path) -> None:
    given = Vocabulary(
        names=("beach", "dog"), thresholds=np.zeros(2, np.float32), kinds=("object", "other")
    )
    assert overlay(given, [], {}, load_lexicon()).kinds == ("object", "object")


@pytest.mark.shared
def test_rams_names_get_kinds_as_tag2text_has_them(shared: Path, tmp_path: Path) -> None:
    labels = shared / "data" / "labels"
    overlay_file(
        str(labels / "ram" / "ram_tag_list.txt"),
        str(tmp_path / "ram.parquet"),
        lists=[list_config(f"{labels / 'lvis_v0_5_categories.json'},kind=object")],
        names_zh=str(labels / "ram" / "ram_tag_list_chinese.txt"),
    )
    made = read_vocabulary(tmp_path / "ram.parquet")
    assert len(made) == 4585
    assert made.names_zh[0] == "\u4e09\u7ef4CG\u6e32\u67d3"
    names = (labels / "ram" / "tag2text_ori_tag_list.txt").read_text("utf-8").splitlines()
    things, actions = set(names[:3012]), set(names[3012:3252])
    told = [
        (name in things, kind in ("object", "scene"))
        for name, kind in zip(made.names, made.kinds, strict=True)
        if name in things ^ actions
    ]
    assert sum(one == other for one, other in told) > 0.96 * len(told)
