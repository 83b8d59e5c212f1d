"""Step 1: captions to tags of the vocabulary.

steps/parse-*/mentions/    tables.MENTIONS
steps/parse-*/quarantine/  captions whose image is not in the source
"""

from collections import Counter
from typing import Any

import pyarrow as pa

from ram_ray.config import StoreConfig
from ram_ray.data_engine.plan.image_plan import ORPHANS, read_images, read_orphans
from ram_ray.data_engine.plan.vocabulary import read_run_vocabulary
from ram_ray.data_engine.steps import EngineRun, Step, counts_table, open_step, run_tables
from ram_ray.data_engine.steps.tables import MENTIONS
from ram_ray.labels.parser.caption_parser import CaptionParser
from ram_ray.runs.commits import Commit, commit_tables
from ram_ray.storage.stores import open_store

NO_IMAGE = "no_image"
"""Error code of a caption whose image is not there."""
BATCH_CAPTIONS = 8_192


def parse(run: EngineRun) -> Step:
    """Parse all captions; return the finished step."""
    config = run.config
    step = open_step(run, "parse", {"widen": config.widen}, ())
    run_tables(run, step, ParseImages, config.output, step.url, config.store, config.widen)
    return step


class ParseImages:
    """Parses the captions of a shard of images."""

    def __init__(self, output: str, step_url: str, config: StoreConfig, widen: bool) -> None:
        self._plan = open_store(output, config)
        self._store = open_store(step_url, config)
        self._parser = CaptionParser(read_run_vocabulary(self._plan), widen=widen)

    def commit(self, shard: int) -> Commit:
        """Parse one shard and commit it."""
        images = read_images(self._plan, shard, ["image_id", "captions"]).to_pylist()
        orphans = read_orphans(self._plan, shard)
        counts: Counter[Any] = Counter(images=len(images))
        rows: list[dict[str, Any]] = []
        for start in range(0, len(images), BATCH_CAPTIONS):
            rows += self._parse(images[start : start + BATCH_CAPTIONS], counts)
        counts.setdefault("tags", 0)
        codes = {NO_IMAGE: orphans.num_rows} if orphans.num_rows else {}
        tables = {
            "mentions": pa.Table.from_pylist(rows, MENTIONS),
            "quarantine": orphans.cast(ORPHANS),
            "counts": counts_table(counts),
        }
        return commit_tables(
            self._store, shard, tables, tagged=len(images), quarantined_by_code=codes
        )

    def _parse(self, images: list[dict[str, Any]], counts: Counter[Any]) -> list[dict[str, Any]]:
        texts = [text for image in images for text in image["captions"]]
        # Captions of one image settle together what one of them alone leaves open.
        numbers = [at for at, image in enumerate(images) for _ in image["captions"]]
        parsed = iter(self._parser.parse_with_evidence(texts, numbers).to_pylist())
        rows: list[dict[str, Any]] = []
        for image in images:
            found: dict[int, dict[str, Any]] = {}
            for number, _ in enumerate(image["captions"]):
                caption = next(parsed)
                columns = ("tag_ids", "kinds", "rules", "surfaces")
                for tag_id, kind, rule, surface in zip(*map(caption.get, columns), strict=True):
                    row = {"image_id": image["image_id"], "tag_id": tag_id, "kind": kind}
                    row |= {"captions": [], "rule": rule, "surface": surface}
                    named_by = found.setdefault(tag_id, row)["captions"]
                    if number not in named_by:  # one word as two kinds
                        named_by.append(number)
                counts["captions"] += 1
                counts["captions_without_tags"] += not caption["tag_ids"]
            counts["images_without_captions"] += not image["captions"]
            counts["images_without_tags"] += not found
            counts["tags"] += len(found)
            counts.update(("named", tag_id) for tag_id in found)
            rows += found.values()
        return rows
