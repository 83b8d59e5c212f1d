"""What the steps before `filter` found out about one shard, joined by image and tag."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ram_ray.config import StoreConfig
from ram_ray.data_engine.cluster.step import best_regions
from ram_ray.data_engine.filter.evidence import NO_RIVAL, Evidence, expected_of
from ram_ray.data_engine.steps import read_table
from ram_ray.storage.stores import Store, open_store

Key = tuple[str, int]
"""Image id and tag id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFolders:
    """Where the tables of the steps lie; None: the step is off."""

    parsed: str
    seen: str | None
    added: str | None
    located: str | None
    judged: str | None


@dataclass(slots=True)
class SeenImage:
    """What is known about one image."""

    mentions: dict[int, dict[str, Any]] = field(default_factory=dict)
    """tables.MENTIONS row by tag."""
    additions: dict[int, dict[str, Any]] = field(default_factory=dict)
    """tables.ADDITIONS row by tag."""
    scores: dict[int, float] | None = None
    """None: the image was not seen."""
    expected: float = 0.0
    """`Evidence.expected`."""
    model: int = 0
    caption: str | None = None
    regions: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Best region by tag."""
    foreign: list[int] = field(default_factory=list)
    """Tags of another image's caption, those that the own captions name too among them."""
    z: dict[int, float] = field(default_factory=dict)

    def captions(self) -> list[int]:
        """Return the captions that name a tag."""
        return sorted({number for row in self.mentions.values() for number in row["captions"]})


@dataclass(slots=True)
class Rows:
    """Evidence under construction, with the (image, tag) of each row."""

    keys: list[Key] = field(default_factory=list)
    columns: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _COLUMNS})

    def add(self, caption: int, image_id: str, tag_id: int, image: SeenImage) -> bool:
        """Add one row, unless the model did not score the tag; return whether it did."""
        if image.scores is None or tag_id not in image.scores:
            return False
        region = image.regions.get(tag_id, _NO_REGION)
        values = (
            caption,
            tag_id,
            image.scores[tag_id],
            region["score"],
            region["rival"],
            region["rival_id"],
            image.z.get(tag_id, np.nan),
            image.expected,
        )
        self.keys.append((image_id, tag_id))
        for name, value in zip(_COLUMNS, values, strict=True):
            self.columns[name].append(value)
        return True

    def evidence(self, kinds: np.ndarray) -> Evidence:
        """Return the rows; `kinds` int8 [T] of all tags."""
        tag_id = np.array(self.columns["tag_id"], np.int32)
        return Evidence(
            caption=np.array(self.columns["caption"], np.int64),
            tag_id=tag_id,
            kind=kinds[tag_id],
            rival_id=np.array(self.columns["rival_id"], np.int32),
            **{
                name: np.array(self.columns[name], np.float32)
                for name in ("whole", "region", "rival", "cluster_z", "expected")
            },
        )


_COLUMNS = ("caption", "tag_id", "whole", "region", "rival", "rival_id", "cluster_z", "expected")
_NO_REGION = {"score": np.nan, "rival": np.nan, "rival_id": NO_RIVAL}


def read_shard(folders: StepFolders, shard: int, config: StoreConfig) -> dict[str, SeenImage]:
    """Return what is known about each image of a shard that any step knows."""
    images: dict[str, SeenImage] = defaultdict(SeenImage)

    def store(url: str) -> Store:
        return open_store(url, config)

    for row in read_table(store(folders.parsed), "mentions", shard).to_pylist():
        images[row["image_id"]].mentions[row["tag_id"]] = row
    if folders.added is not None:
        for row in read_table(store(folders.added), "additions", shard).to_pylist():
            images[row["image_id"]].additions[row["tag_id"]] = row
    if folders.seen is not None:
        for row in read_table(store(folders.seen), "scores", shard).to_pylist():
            image = images[row["image_id"]]
            image.scores = dict(zip(row["tag_ids"], row["scores"], strict=True))
            image.expected = float(expected_of(np.array(row["scores"], np.float32)))
            image.model, image.caption = row["model"], row["caption"]
    if folders.located is not None:
        columns = ["image_id", "regions", "foreign"]
        table = read_table(store(folders.located), "regions", shard).select(columns)
        for row in table.to_pylist():
            image = images[row["image_id"]]
            image.regions = {one["tag_id"]: one for one in best_regions(row["regions"])}
            image.foreign = row["foreign"]
    if folders.judged is not None:
        table = read_table(store(folders.judged), "verdicts", shard)
        columns = (table[name].to_pylist() for name in ("image_id", "tag_id", "z"))
        for image_id, tag_id, z in zip(*columns, strict=True):
            images[image_id].z[tag_id] = z
    return dict(images)


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """Evidence on some images."""

    named: Rows
    """One row per (caption, tag)."""
    added: Rows
    """Under the image's first caption, whose other tags they are judged beside."""
    wrong: Rows
    """Tags of another image's caption, alone in the image's own and as a whole swapped caption."""
    own: list[bool]
    """Of `wrong`: `WrongTags.own`."""
    said: list[int]
    """Of `named`: `promises.Witnesses.said` by the image's other captions."""
    next_caption: int


def collect(images: dict[str, SeenImage], first_caption: int = 0) -> Collected:
    """Return the evidence on a shard's images; captions are numbered from `first_caption`."""
    named, added, wrong = Rows(), Rows(), Rows()
    own: list[bool] = []
    said: list[int] = []
    at = first_caption
    for image_id in sorted(images):
        image = images[image_id]
        numbers = image.captions()
        ids = {number: at + place for place, number in enumerate(numbers)}
        for tag_id, mention in image.mentions.items():
            again = -1 if len(numbers) < 2 else int(len(mention["captions"]) > 1)
            for number in mention["captions"]:
                said += [again] * named.add(ids[number], image_id, tag_id, image)
        for tag_id in image.additions:
            added.add(at, image_id, tag_id, image)
        swapped = at + max(1, len(numbers))
        for tag_id in image.foreign:
            is_own = tag_id in image.mentions
            if not is_own:
                own += [False] * wrong.add(at, image_id, tag_id, image)
            own += [is_own] * wrong.add(swapped, image_id, tag_id, image)
        at = swapped + 1
    return Collected(named=named, added=added, wrong=wrong, own=own, said=said, next_caption=at)
