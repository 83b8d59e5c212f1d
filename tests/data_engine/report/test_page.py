"""The engine's report: the table of tags shows what changed, nothing else."""

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

from ram_ray.data_engine.report import page


def rows_of(labels: Counter[Any]) -> str:
    names = {0: "dog", 1: "snow", 2: "<b>"}
    data = SimpleNamespace(steps={"labels": labels}, thresholds=[], names=names)
    return page._tags(cast(Any, data))


def test_only_tags_that_changed_are_under_changed_most() -> None:
    labels: Counter[Any] = Counter({("before", 0): 90, ("after", 0): 90, "images": 100})
    labels |= {("before", 1): 5, ("gained", 1): 2, ("after", 1): 7}
    labels |= {("before", 2): 5, ("lost", 2): 4, ("after", 2): 1}
    rows = rows_of(labels)
    assert "dog" not in rows
    assert rows.index("&lt;b&gt;") < rows.index("snow")


def test_where_nothing_changed_the_table_says_so() -> None:
    assert "No tag changed." in rows_of(Counter({("before", 0): 90, ("after", 0): 90}))
