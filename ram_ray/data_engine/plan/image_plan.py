"""Which images with which captions an engine run works on, in which shard; fixed once written.

plan/<attempt>/shard-000000.parquet     IMAGES of one shard
plan/<attempt>/orphans-000000.parquet   captions of that shard whose image is not in the source
plan/<attempt>/problems.parquet         caption lines that could not be read (the first ones)
plan/plan.json                          written last: `ram_ray.runs.plan_files`

Images and captions come from different files and meet by the image's name. They are sorted by a
hash of it, on disk: memory stays flat, every shard is a random sample, and the shard of an image
can be computed from its name.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ram_ray.config import StoreConfig
from ram_ray.data_engine.plan.disk_sort import name_hash, read_shards, write_runs
from ram_ray.data_engine.plan.named_images import find_images_and_captions
from ram_ray.labels.captions.joining import join_key, match
from ram_ray.labels.problems import Problem
from ram_ray.runs.plan_files import PlanWriter, plan_place, read_plan_as
from ram_ray.runs.plans import shard_name, to_parquet
from ram_ray.storage.parquet import read_parquet
from ram_ray.storage.stores import Store

MAX_PROBLEMS = 10_000
"""Unreadable caption lines kept with their place; all are counted."""

IMAGES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("captions", pa.list_(pa.string()), nullable=False),  # each text once
        pa.field("caption_sources", pa.list_(pa.string()), nullable=False),  # file:line, parallel
        pa.field("etag", pa.string()),  # of the object, or of the tar that holds it; null: unknown
    ]
)
ORPHANS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # as the captions call it
        pa.field("source", pa.string(), nullable=False),  # file:line
        pa.field("caption", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
    ]
)
PROBLEMS = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """What the plan holds."""

    shards: int
    images: int
    captions: int
    without_captions: int
    orphans: int
    """Captions that name an image which is not there, or more than one."""
    problems: int
    """Caption lines that could not be read."""
    skipped: int
    """Files of other kinds."""


def write_image_plan(
    store: Store,
    source: str,
    captions: str | None,
    config: StoreConfig,
    *,
    shard_rows: int,
    folds: int,
    on_planned: Callable[[int], None],
    columns: Sequence[str] | None = None,
    formats: Sequence[str] = (),
) -> ImagePlan:
    """List images and captions, join them by name, and write the shards.

    Args:
        captions: file, folder or prefix; None: the caption files and tars of `source` itself.
        shard_rows: images per shard, about: their hashes decide.
        folds: the number of shards is a multiple of it, so that a shard lies in one fold.
        on_planned: told the number of rows so far; may raise to stop.
        columns: what the columns of caption tables without names are, in order.
        formats: of images, read beside the usual ones.
    """
    writer = PlanWriter(store)
    problems = _Problems()
    with tempfile.TemporaryDirectory(prefix="ram-ray-plan-") as folder:
        found = find_images_and_captions(source, captions, config, problems, columns, formats)
        runs, num_images, num_captions = write_runs(Path(folder), found, on_planned)
        shards = folds * -(-num_images // (shard_rows * folds))
        orphans = without = 0
        for shard, rows in enumerate(read_shards(runs, shards)):
            images, lost = join_captions(rows)
            orphans += len(lost)
            without += sum(not image["captions"] for image in images)
            write_shard(writer, shard, images, lost)
            on_planned(num_images + num_captions)
    writer.write("problems.parquet", to_parquet(pa.Table.from_pylist(problems.kept, PROBLEMS)))
    plan = ImagePlan(
        shards, num_images, num_captions, without, orphans, problems.count, problems.skipped
    )
    return writer.finish(plan)


def read_image_plan(store: Store) -> ImagePlan | None:
    """Return the plan's summary; None when no plan was finished here."""
    return read_plan_as(store, ImagePlan)


def write_shard(
    writer: PlanWriter, shard: int, images: list[dict[str, Any]], orphans: list[dict[str, Any]]
) -> None:
    """Write one shard of the plan."""
    images = sorted(images, key=lambda image: image["image_id"])
    writer.write_shard(
        f"{shard_name(shard)}.parquet", to_parquet(pa.Table.from_pylist(images, IMAGES))
    )
    writer.write(_orphans(shard), to_parquet(pa.Table.from_pylist(orphans, ORPHANS)))


def read_images(store: Store, shard: int, columns: list[str] | None = None) -> pa.Table:
    """Return IMAGES of one shard, in order of image_id."""
    return read_parquet(
        store, plan_place(store).key(f"{shard_name(shard)}.parquet", shard), columns=columns
    )


def read_orphans(store: Store, shard: int) -> pa.Table:
    """Return ORPHANS of one shard."""
    return read_parquet(store, plan_place(store).key(_orphans(shard), shard))


def shard_of(image_id: str, num_shards: int) -> int:
    """Return the shard that holds an image, from its name alone."""
    return (name_hash(join_key(image_id)) * num_shards) >> 64


def fold_of(image_id: str, folds: int) -> int:
    """Return the fold of an image, 0 to folds - 1, from its name alone."""
    return (name_hash(join_key(image_id)) * folds) >> 64


def fold_of_shard(shard: int, num_shards: int, folds: int) -> int:
    """Return the fold that all images of a shard lie in."""
    return shard * folds // num_shards


def _orphans(shard: int) -> str:
    return f"orphans-{shard:06d}.parquet"


class _Problems:
    """Counts problems, keeps the first ones."""

    def __init__(self) -> None:
        self.count = self.skipped = 0
        self.kept: list[dict[str, Any]] = []

    def __call__(self, problem: Problem) -> None:
        self.count += 1
        if len(self.kept) < MAX_PROBLEMS:
            row = {"source": problem.source, "line": problem.line, "message": problem.message}
            self.kept.append(row)

    def skip(self) -> None:
        self.skipped += 1


def join_captions(
    rows: Iterable[dict[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Join the images and captions of one shard by name; return IMAGES and ORPHANS rows.

    `labels.captions.joining` says which caption belongs to which image. An image listed twice
    counts once.
    """
    images: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    captions: list[dict[str, Any]] = []
    for row in rows:
        if row["uri"] is None:
            captions.append(row)
        else:
            facts = {"image_id": row["name"]}
            facts |= {name: row[name] for name in ("uri", "size_bytes", "etag")}
            image = facts | {"captions": [], "caption_sources": []}
            images[row["key"]].setdefault(row["name"], image)
    orphans: list[dict[str, Any]] = []
    for row in sorted(captions, key=lambda row: (row["source"], row["text"])):
        candidates = images[row["key"]]
        name, message = match(candidates, row["name"])
        if name is None:
            lost = {"image_id": row["name"], "source": row["source"], "caption": row["text"]}
            orphans.append(lost | {"message": message})
        elif row["text"] not in (image := candidates[name])["captions"]:
            image["captions"].append(row["text"])
            image["caption_sources"].append(row["source"])
    return [image for group in images.values() for image in group.values()], orphans
