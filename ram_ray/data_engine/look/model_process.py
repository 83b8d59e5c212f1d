"""What a model process does to a chunk of decoded images; testable without Ray."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from ram_model import ModelOutputError
from ram_model.vocabulary import Vocabulary
from ram_ray.config import StoreConfig
from ram_ray.data_engine.filter.evidence import kind_codes, strongest_rivals
from ram_ray.data_engine.look.eyes import Eyes, FoldedEyes, locate, shrink
from ram_ray.data_engine.look.locators import Locator, Region
from ram_ray.data_engine.plan.image_plan import fold_of_shard, name_hash
from ram_ray.data_engine.plan.vocabulary import read_run_vocabulary
from ram_ray.data_engine.steps import read_table
from ram_ray.data_engine.steps.tables import REGIONS, SCORES
from ram_ray.errors import ImageErrorCode
from ram_ray.runs.committer import ROW, Begin
from ram_ray.storage.stores import open_store
from ram_ray.tagging.tables import QUARANTINE_ROWS
from ram_ray.workers.tagger import TaggerOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class LookOptions:
    """What a process of this pass needs to know; small, for it travels to actors."""

    output: str
    store: StoreConfig
    eyes: tuple[TaggerOptions, ...]
    """The models, in the order of their folds."""
    num_shards: int
    parsed: str
    """Folder of the parse step."""
    floor: float
    scores_url: str
    """Folder of the scores."""
    regions_url: str | None
    """Folder of the locate step; None: no regions are wanted."""
    make_locator: Callable[[Eyes, Vocabulary], Locator]
    foreign_shards: frozenset[int]
    """Shards of the sample that the filter learns on: their images also get regions for the tags
    of another image's caption."""


class Looker:
    """Scores images and finds the regions of their tags; knows nothing of Ray."""

    def __init__(self, options: LookOptions) -> None:
        plan = open_store(options.output, options.store)
        self._options = options
        self._vocabulary = read_run_vocabulary(plan)
        self._kinds = kind_codes(self._vocabulary.kinds)
        self._eyes = FoldedEyes(options.eyes, self._vocabulary)
        self._locators: dict[int, Locator] = {}
        self._named_of_shard = lru_cache(maxsize=4)(self._read_named)

    def look(
        self,
        row: dict[str, Any],
        images: np.ndarray,
        begin: Begin,
        at: Callable[[int], None],
    ) -> tuple[pa.Table, pa.Table]:
        """Return rows of what was seen, and QUARANTINE_ROWS of the images that could not be.

        Args:
            row: a CHUNK_PIXELS row without its pixels.
            images: uint8 [n, P, P, 3].
            begin: how its committer wants the chunk treated.
            at: told the position of an image before it is looked at alone.
        """
        options = self._options
        fold = fold_of_shard(row["shard"], options.num_shards, len(options.eyes))
        eyes = self._eyes.of_fold(fold)
        good = [i for i in range(len(images)) if not row["error_code"][i]]
        whole = np.stack([shrink(image, eyes.image_size_px) for image in images])
        scores: dict[int, np.ndarray] = {}
        captions: dict[int, str | None] = {}
        groups = [[i] for i in good] if begin.one_by_one else [good] if good else []
        while groups:
            group = groups.pop(0)
            if begin.one_by_one and group[0] in begin.condemned:
                _fail(row, group[0], "A model process died on it, repeatedly.")
                continue
            if begin.one_by_one:
                at(group[0])
            try:
                self._score(eyes, whole, group, scores, captions)
            except ModelOutputError as error:
                if len(group) > 1:
                    groups += [[position] for position in group]
                else:
                    _fail(row, group[0], str(error))
        seen: list[dict[str, Any]] = []
        for position in sorted(scores):
            if begin.one_by_one:
                at(position)
            found = self._of_image(row, position, eyes, images[position], scores[position])
            seen.append(found | {"model": fold, "caption": captions.get(position)})
        return pa.Table.from_pylist(seen, _seen_schema(options)), _quarantine(row)

    def _score(
        self,
        eyes: Eyes,
        whole: np.ndarray,
        positions: list[int],
        scores: dict[int, np.ndarray],
        captions: dict[int, str | None],
    ) -> None:
        found, _ = eyes.describe(whole[positions])
        if self._options.eyes[0].caption:
            captions |= dict(zip(positions, eyes.caption(whole[positions]), strict=True))
        scores |= dict(zip(positions, found, strict=True))

    def _of_image(
        self, row: dict[str, Any], position: int, eyes: Eyes, image: np.ndarray, scores: np.ndarray
    ) -> dict[str, Any]:
        options = self._options
        image_id = row["image_id"][position]
        named, foreign = self._named_of_shard(row["shard"]).get(image_id, ((), ()))
        # Rounded as they are stored: 0.05 as a float32 is above the float64.
        likely = np.flatnonzero(scores >= np.float32(options.floor)).tolist()
        known = [tag for tag in (*named, *foreign) if np.isfinite(scores[tag])]
        stored = sorted({*likely, *known})
        facts = {
            "image_id": image_id,
            "uri": row["uri"][position],
            "row": row["first_row"] + position,
            "width": row["width"][position],
            "height": row["height"][position],
            "tag_ids": stored,
            "scores": scores[stored],
        }
        if options.regions_url is not None:
            wanted = sorted({*likely, *named, *foreign})
            facts |= self._regions(eyes, image, wanted) | {"foreign": list(foreign)}
        return facts

    def _regions(self, eyes: Eyes, image: np.ndarray, wanted: list[int]) -> dict[str, Any]:
        before = eyes.num_passes
        if id(eyes) not in self._locators:
            made = self._options.make_locator(eyes, self._vocabulary)
            self._locators[id(eyes)] = made
        locator = self._locators[id(eyes)]
        try:
            regions, scores, vectors, problems = locate(eyes, locator, image, wanted)
        except ModelOutputError:
            problems = ["model_error"]
            empty = {"regions": [], "vectors": b"", "problems": problems}
            return empty | {"passes": eyes.num_passes - before}
        tag_ids = np.array([region.tag_id for region in regions], np.int64)
        rivals, rival_ids = strongest_rivals(np.nan_to_num(scores, nan=-1.0), tag_ids, self._kinds)
        places: dict[tuple[float, ...], int] = {}
        chosen: list[int] = []
        rows: list[dict[str, Any]] = []
        for at, region in enumerate(regions):
            if region.box not in places:
                places[region.box] = len(places)
                chosen.append(at)
            rows.append(
                _region_row(region)
                | {"score": scores[at, region.tag_id], "vector": places[region.box]}
                | {"rival": rivals[at], "rival_id": rival_ids[at]}
            )
        return {
            "regions": rows,
            "vectors": vectors[chosen].astype(np.float16).tobytes(),
            "problems": problems,
            "passes": eyes.num_passes - before,
        }

    def _read_named(self, shard: int) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        """Return per image the tags its captions name, and the tags of another image's caption."""
        store = open_store(self._options.parsed, self._options.store)
        columns = ["image_id", "tag_id", "captions"]
        named: dict[str, dict[int, list[int]]] = {}
        for row in read_table(store, "mentions", shard).select(columns).to_pylist():
            named.setdefault(row["image_id"], {})[row["tag_id"]] = row["captions"]
        learn = shard in self._options.foreign_shards
        foreign = draw_foreign(named) if learn else {}
        return {
            image_id: (tuple(tags), foreign.get(image_id, ())) for image_id, tags in named.items()
        }


def draw_foreign(named: dict[str, dict[int, list[int]]]) -> dict[str, tuple[int, ...]]:
    """Return per image the tags of the first caption of another image of the shard.

    Tags that the image's own captions name are among them: a swapped caption has them, too. The
    other image follows from the names alone, so that a resumed run draws the same.

    Args:
        named: by image and tag, the numbers of the captions that name it.
    """
    order = sorted(named, key=lambda image_id: (name_hash(f"foreign/{image_id}"), image_id))
    drawn: dict[str, tuple[int, ...]] = {}
    for image_id, other in zip(order, [*order[1:], *order[:1]], strict=True):
        if image_id == other:
            continue
        first = min(number for captions in named[other].values() for number in captions)
        drawn[image_id] = tuple(t for t, captions in named[other].items() if first in captions)
    return drawn


def _region_row(region: Region) -> dict[str, Any]:
    return {
        "tag_id": region.tag_id,
        "box": list(region.box),
        "locator_score": region.score,
    }


def _fail(row: dict[str, Any], position: int, message: str) -> None:
    row["error_code"][position] = ImageErrorCode.MODEL_ERROR.value
    row["message"][position] = message


def _seen_schema(options: LookOptions) -> pa.Schema:
    extra = [pa.field("uri", pa.string(), nullable=False), ROW]
    if options.regions_url is not None:
        extra += list(REGIONS)[1:]
        extra += [pa.field("problems", pa.list_(pa.string())), pa.field("passes", pa.int32())]
    return pa.schema([*SCORES, *extra])


def _quarantine(row: dict[str, Any]) -> pa.Table:
    facts = ("image_id", "uri", "error_code", "message", "attempts", "size_bytes")
    rows = [
        {name: row[name][position] for name in facts} | {"row": row["first_row"] + position}
        for position in range(len(row["uri"]))
        if row["error_code"][position]
    ]
    return pa.Table.from_pylist(rows, QUARANTINE_ROWS)
