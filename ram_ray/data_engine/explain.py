"""Ask a finished run: why an image has its tags, and what differs between two runs."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ram_ray.config import StoreConfig
from ram_ray.data_engine.generate.thresholds_file import stored_thresholds
from ram_ray.data_engine.plan.image_plan import shard_of
from ram_ray.data_engine.plan.named_images import join_key
from ram_ray.data_engine.revisions.label_sets import Revision, open_run, revision_store
from ram_ray.data_engine.revisions.wording import additions_promise
from ram_ray.data_engine.steps import read_table
from ram_ray.errors import ConfigError
from ram_ray.storage.stores import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What a run knows about one image."""

    image_id: str
    uri: str
    captions: list[str]
    labels: list[dict[str, Any]]
    """revisions.LABELS rows."""
    additions: str
    """What may be said about added tags of the run, in words; "" where none were generated."""


def explain_image(target: str, image_id: str, config: StoreConfig) -> Explanation:
    """Return what a run decided about an image, and why.

    Args:
        target: OUTPUT or OUTPUT@REVISION.
        image_id: as in the tables, or a name that only one image of the run has.

    Raises:
        ConfigError: no such run or image, or several images with this name.
    """
    store, revision = open_run(target, config)
    own = revision_store(store, revision.number, config)
    shard = shard_of(image_id, revision.num_shards)
    images = read_table(own, "images", shard).to_pylist()
    found = [row for row in images if row["image_id"] == image_id]
    found = found or [row for row in images if join_key(row["image_id"]) == join_key(image_id)]
    if not found:
        found = list(_by_stem(own, revision, image_id))
    if len(found) != 1:
        raise ConfigError(_not_one(image_id, target, found))
    image = found[0]
    shard = shard_of(image["image_id"], revision.num_shards)
    labels = [
        row
        for row in read_table(own, "labels", shard).to_pylist()
        if row["image_id"] == image["image_id"]
    ]
    return Explanation(
        image_id=image["image_id"],
        uri=image["uri"],
        captions=image["captions"],
        labels=labels,
        additions=additions_promise(stored_thresholds(store, revision.steps["added"], config)),
    )


def _by_stem(own: Store, revision: Revision, image_id: str) -> Iterator[dict[str, Any]]:
    """Yield the images whose id ends in this name: for members of tars, whose tar is not said."""
    for shard in range(revision.num_shards):
        for row in read_table(own, "images", shard).to_pylist():
            if join_key(row["image_id"].rsplit("/", 1)[-1]) == join_key(image_id):
                yield row


def _not_one(image_id: str, target: str, found: list[dict[str, Any]]) -> str:
    if not found:
        return f"image_id is {image_id!r}, but {target} holds no such image."
    names = ", ".join(row["image_id"] for row in found[:3])
    return f"image_id is {image_id!r}, which {len(found)} images are called: {names}."


@dataclass(frozen=True, kw_only=True, slots=True)
class RunDiff:
    """What changed from one run to the other."""

    num_images: int
    """In both."""
    only_a: int
    """Images of the first run alone."""
    only_b: int
    gained: int
    """(image, tag) pairs that only the second run has, of images in both."""
    lost: int
    by_rule: dict[str, int]
    """How many of the changed pairs each rule of the second run decided; the first run's rule where
    the second says nothing about the pair."""
    by_tag: dict[str, tuple[int, int]]
    """Gained and lost per tag, most changed first."""
    examples: tuple[tuple[str, str, str, str], ...]
    """Image, "+" or "-", tag, rule: the first ones."""


MAX_EXAMPLES = 20


def diff_runs(target_a: str, target_b: str, config: StoreConfig) -> RunDiff:
    """Compare the final labels of two runs, or of two revisions of one; tags meet by name.

    Raises:
        ConfigError: a run is not there or not finished.
    """
    store_a, a = open_run(target_a, config)
    store_b, b = open_run(target_b, config)
    gained: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    by_rule: Counter[str] = Counter()
    examples: list[tuple[str, str, str, str]] = []
    images = only_a = only_b = 0
    for shard in range(a.num_shards):
        first = _final(store_a, a, [shard], config)
        others = _overlapping(shard, a.num_shards, b.num_shards)
        second = {
            image_id: tags
            for image_id, tags in _final(store_b, b, others, config).items()
            if shard_of(image_id, a.num_shards) == shard
        }
        only_a += len(first.keys() - second.keys())
        only_b += len(second.keys() - first.keys())
        for image_id in sorted(first.keys() & second.keys()):
            images += 1
            before, after = first[image_id], second[image_id]
            for tag in sorted(before.keys() | after.keys()):
                had, has = before.get(tag, (False, ""))[0], after.get(tag, (False, ""))[0]
                if had == has:
                    continue
                rule = after[tag][1] if tag in after else before[tag][1]
                (gained if has else lost)[tag] += 1
                by_rule[rule] += 1
                if len(examples) < MAX_EXAMPLES:
                    examples.append((image_id, "+" if has else "-", tag, rule))
    changed = sorted(gained.keys() | lost.keys(), key=lambda tag: -(gained[tag] + lost[tag]))
    return RunDiff(
        num_images=images,
        only_a=only_a,
        only_b=only_b,
        gained=gained.total(),
        lost=lost.total(),
        by_rule=dict(by_rule.most_common()),
        by_tag={tag: (gained[tag], lost[tag]) for tag in changed},
        examples=tuple(examples),
    )


def _overlapping(shard: int, shards_a: int, shards_b: int) -> list[int]:
    """Return the shards of b whose range of hashes meets that of a shard of a."""
    first = shard * shards_b // shards_a
    last = ((shard + 1) * shards_b - 1) // shards_a
    return list(range(first, last + 1))


def _final(
    store: Store, revision: Revision, shards: list[int], config: StoreConfig
) -> dict[str, dict[str, tuple[bool, str]]]:
    """Return {image: {tag: (present, rule)}} of some shards."""
    own = revision_store(store, revision.number, config)
    final: dict[str, dict[str, tuple[bool, str]]] = {}
    for shard in shards:
        for image_id in read_table(own, "images", shard)["image_id"].to_pylist():
            final[image_id] = {}
        columns = ["image_id", "tag", "present", "decided_by"]
        for row in read_table(own, "labels", shard).select(columns).to_pylist():
            final[row["image_id"]][row["tag"]] = (row["present"], row["decided_by"])
    return final
