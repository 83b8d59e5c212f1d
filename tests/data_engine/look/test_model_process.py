"""The pass over pixels: broken scores, odd detectors and deadly images cost what they must only."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ram_model import ModelOutputError
from ram_model.vocabulary import Vocabulary
from ram_ray.config import StoreConfig
from ram_ray.data_engine.look.locators import Region
from ram_ray.data_engine.look.model_process import Looker, LookOptions, draw_foreign
from ram_ray.data_engine.steps import counts_table
from ram_ray.data_engine.steps.tables import MENTIONS
from ram_ray.runs.commits import commit_tables
from ram_ray.runs.committer import Begin
from ram_ray.storage.stores import open_store
from ram_ray.workers.tagger import TaggerOptions

SIDE = 4
NAMES = ("dog", "cat", "tree")
BOX = (0.0, 0.0, 0.5, 0.5)


class FakeEyes:
    """Scores by the brightness of an image; a black one breaks the whole batch."""

    image_size_px = SIDE
    num_passes = 0

    def describe(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if (images.max(axis=(1, 2, 3), initial=0) == 0).any():
            raise ModelOutputError("not finite")
        self.num_passes += len(images)
        scores = np.tile(np.array([0.9, 0.02, 0.3], np.float32), (len(images), 1))
        return scores, np.ones((len(images), 5), np.float32)


class FakeLocator:
    """Gives the same regions for every image."""

    name = "fake"

    def __init__(self, regions: list[Region]) -> None:
        self._regions = regions

    def regions(self, image: np.ndarray, tag_ids: Sequence[int]) -> list[Region]:
        self.asked = list(tag_ids)
        return self._regions


def looker(
    tmp_path: Path, regions: list[Region], learn: bool = False
) -> tuple[Looker, FakeLocator]:
    plan = open_store(str(tmp_path / "out"), StoreConfig(), create=True)
    vocabulary = Vocabulary(
        names=NAMES, thresholds=np.full(3, 0.5), kinds=("object", "object", "scene")
    )
    vocabulary.to_parquet(tmp_path / "out" / "vocabulary.parquet")
    parsed = open_store(str(tmp_path / "parsed"), StoreConfig(), create=True)
    named = [("0.jpg", 1), ("1.jpg", 2)]
    mentions = [
        {"image_id": image_id, "tag_id": tag_id, "kind": "object", "captions": [0], "rule": "name",
         "surface": NAMES[tag_id]}
        for image_id, tag_id in named
    ]  # fmt: skip
    tables = {"mentions": pa.Table.from_pylist(mentions, MENTIONS), "counts": counts_table({})}
    commit_tables(parsed, 0, tables, tagged=2, quarantined_by_code={})
    del plan
    locator = FakeLocator(regions)
    options = LookOptions(
        output=str(tmp_path / "out"),
        store=StoreConfig(),
        eyes=(TaggerOptions(model="a", device="cpu", batch_size=4),),
        num_shards=1,
        parsed=str(tmp_path / "parsed"),
        floor=0.05,
        scores_url="unused",
        regions_url="unused",
        make_locator=lambda eyes, vocabulary: locator,
        foreign_shards=frozenset({0} if learn else ()),
    )
    made = Looker(options)
    eyes = FakeEyes()
    made._eyes = type("Folded", (), {"of_fold": lambda self, fold: eyes})()  # pyright: ignore[reportAttributeAccessIssue]
    return made, locator


def chunk(*values: int) -> tuple[dict[str, Any], np.ndarray]:
    count = len(values)
    row: dict[str, Any] = {"shard": 0, "first_row": 10}
    row |= {"image_id": [f"{n}.jpg" for n in range(count)], "uri": ["u"] * count}
    row |= {"width": [1] * count, "height": [1] * count, "size_bytes": [1] * count}
    row |= {"error_code": [None] * count, "message": [None] * count, "attempts": [1] * count}
    return row, np.stack([np.full((2 * SIDE, 2 * SIDE, 3), value, np.uint8) for value in values])


def look(
    made: Looker, *values: int, begin: Begin | None = None, at: Callable[[int], None] | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    tables = made.look(*chunk(*values), begin or Begin(), at or (lambda position: None))
    return tables[0].to_pylist(), tables[1].to_pylist()


def test_named_and_likely_tags_are_scored_and_located(tmp_path: Path) -> None:
    made, locator = looker(tmp_path, [Region(tag_id=0, box=BOX, score=0.7)])
    (seen,), quarantine = look(made, 9)
    assert quarantine == []
    assert seen["tag_ids"] == [0, 1, 2]  # dog and tree by score, cat because a caption names it
    assert locator.asked == [0, 1, 2]
    (region,) = seen["regions"]
    assert region["score"] == pytest.approx(0.9)
    assert (region["rival_id"], region["rival"]) == (1, pytest.approx(0.02))
    assert len(seen["vectors"]) == 2 * 5
    assert seen["passes"] == 1


def test_a_detector_that_finds_nothing_or_nonsense_is_counted(tmp_path: Path) -> None:
    nonsense = [
        Region(tag_id=0, box=(float("nan"), 0, 1, 1), score=0.5),
        Region(tag_id=7, box=BOX, score=0.5),
        Region(tag_id=0, box=(0.5, 0.5, 0.5, 0.9), score=0.5),
    ]
    made, _ = looker(tmp_path, nonsense)
    (seen,), _ = look(made, 9)
    assert seen["regions"] == []
    assert seen["problems"] == ["not_finite", "tag_not_asked_for", "empty_box"]
    nothing, _ = looker(tmp_path / "second", [])
    (seen,), _ = look(nothing, 9)
    assert (seen["regions"], seen["vectors"], seen["problems"]) == ([], b"", [])


def test_broken_scores_cost_their_image_alone(tmp_path: Path) -> None:
    made, _ = looker(tmp_path, [])
    seen, quarantine = look(made, 9, 0, 8)
    assert [row["image_id"] for row in seen] == ["0.jpg", "2.jpg"]
    assert [(r["image_id"], r["error_code"], r["row"]) for r in quarantine] == [
        ("1.jpg", "model_error", 11)
    ]


def test_a_deadly_image_is_condemned_and_the_others_are_not(tmp_path: Path) -> None:
    made, _ = looker(tmp_path, [])
    begun: list[int] = []
    begin = Begin(one_by_one=True, condemned=frozenset({1}))
    seen, quarantine = look(made, 9, 9, 9, begin=begin, at=begun.append)
    assert [row["image_id"] for row in seen] == ["0.jpg", "2.jpg"]
    assert [row["image_id"] for row in quarantine] == ["1.jpg"]
    assert 1 not in begun


def test_foreign_tags_are_the_first_caption_of_another_image(tmp_path: Path) -> None:
    named = {"a": {0: [1], 1: [1, 2]}, "b": {1: [0], 2: [0], 5: [1]}, "c": {3: [0]}}
    drawn = draw_foreign(named)
    assert drawn == draw_foreign(dict(reversed(named.items())))
    first = {"a": (0, 1), "b": (1, 2), "c": (3,)}
    assert sorted(drawn.values()) == sorted(first.values())
    assert all(drawn[image_id] != tags for image_id, tags in first.items())
    assert draw_foreign({"alone": {0: [0]}}) == {}
    made, _ = looker(tmp_path, [], learn=True)
    seen, _ = look(made, 9, 9)
    assert [row["foreign"] for row in seen] == [[2], [1]]
