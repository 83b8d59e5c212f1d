"""The data engine over many label rows: time of each step, memory of the driver and of workers.

    python benchmarks/data_engine_scale.py --rows 10000 1000000

Only the model is a stub: scores and vectors are random, drawn by image and tag, and written by a
Ray Data job like any other table. Plan, parse, generate, cluster, filter and report are what
`ram-ray engine run` does. One tag is on half of all images. Prints a line of JSON per size.
"""

import argparse
import json
import platform
import random
import shutil
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
import pyarrow as pa

from ram_model.vocabulary import Vocabulary
from ram_ray.cluster import ray_session
from ram_ray.config import StoreConfig
from ram_ray.data_engine import engine
from ram_ray.data_engine.config import EngineConfig
from ram_ray.data_engine.filter.evidence import NO_RIVAL
from ram_ray.data_engine.generate.step import sample_shards
from ram_ray.data_engine.look.model_process import draw_foreign
from ram_ray.data_engine.look.models import ModelIdentity
from ram_ray.data_engine.plan import image_plan
from ram_ray.data_engine.plan.image_plan import read_images
from ram_ray.data_engine.plan.named_images import Found, join_key
from ram_ray.data_engine.steps import (
    EngineRun,
    Step,
    StepProgress,
    counts_table,
    open_step,
    read_table,
    run_tables,
)
from ram_ray.data_engine.steps.tables import QUARANTINE, REGIONS, SCORES
from ram_ray.runs.commits import Commit, commit_tables
from ram_ray.storage.stores import open_store

TAGS_PER_CAPTION = 4
WIDTH = 64
"""Of the stub's vectors; 512 in released models."""
WORDS = (
    "dog ball tree car house boat bird horse cat bench table chair bottle cup flower hat shirt "
    "bag train bus bike truck plane sheep cow bear zebra giraffe kite clock vase book spoon fork "
    "knife bowl pizza cake apple banana orange carrot sofa bed lamp door window wall fence bridge"
).split()
HOT = "dog"
"""The tag on half of all images."""


def main() -> None:
    """Measure each size in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--shard-rows", type=int, default=2_500, help="images per shard")
    parser.add_argument("--folder", help="where outputs go; default: a temporary folder")
    options = parser.parse_args()
    machine = {"cpus": psutil.cpu_count(), "memory_gb": psutil.virtual_memory().total >> 30}
    print(json.dumps({"python": platform.python_version(), "machine": machine}), flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, ray_session(None):
        for rows in options.rows:
            found = measure(Path(folder) / str(rows), rows, options.shard_rows)
            print(json.dumps(found), flush=True)


def measure(folder: Path, rows: int, shard_rows: int) -> dict[str, Any]:
    """Run the engine over `rows` named tags; return times and peaks of memory."""
    num_images = rows // TAGS_PER_CAPTION
    config = EngineConfig(
        source=str(folder / "in"),
        output=str(folder / "out"),
        shard_rows=shard_rows,
        num_workers=2,
        sample_images=5_000,
    )
    vocabulary = Vocabulary(
        names=tuple(WORDS), thresholds=np.full(len(WORDS), 0.5), kinds=("object",) * len(WORDS)
    )
    models = (ModelIdentity("stub", "stub", 64, len(WORDS), False),)
    ends: dict[str, float] = {}
    starts: dict[str, float] = {}

    def on_progress(progress: StepProgress) -> None:
        starts.setdefault(progress.step, time.monotonic())
        ends[progress.step] = time.monotonic()

    watch = MemoryWatch()
    began = time.monotonic()
    with (
        mock.patch.object(engine, "identify_models", return_value=(models, vocabulary)),
        mock.patch.object(engine, "look_at_images", stub_look),
        mock.patch.object(
            image_plan, "find_images_and_captions", return_value=synthetic(num_images)
        ),
    ):
        result = engine.run(config, on_progress=on_progress)
    wall_s = time.monotonic() - began
    peaks = watch.stop()
    size_mb = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) >> 20
    shutil.rmtree(folder)
    return {
        "label_rows": result.num_named,
        "images": num_images,
        "hot_tag_images": num_images // 2,
        "final_labels": result.num_labels,
        "added": result.num_added,
        "removed": result.num_removed,
        "wall_s": round(wall_s, 1),
        "steps_s": {name: round(ends[name] - starts[name], 1) for name in ends},
        "output_mb": size_mb,
        **peaks,
    }


def synthetic(num_images: int) -> Iterator[Found]:
    """Yield images and their captions; every other one names HOT."""
    draw = random.Random(0)
    for number in range(num_images):
        name = f"image-{number:09d}.jpg"
        words = draw.sample(WORDS[1:], TAGS_PER_CAPTION)
        if number % 2 == 0:
            words[0] = HOT
        text = f"a {words[0]} and a {words[1]} beside a {words[2]} and a {words[3]}"
        key = join_key(name)
        yield Found(key, name, f"/nowhere/{name}", 1, "", "")
        yield Found(key, name, None, 0, text, f"captions:{number + 1}")


def stub_look(run: EngineRun, models: tuple[ModelIdentity, ...], parsed: Step) -> tuple[Step, Step]:
    """Do what `look_at_images` does, with random numbers for a model."""
    del models
    config = run.config
    seen = open_step(run, "look", {"stub": True}, (parsed,))
    located = open_step(run, "locate", {"stub": True}, (parsed, seen))
    learn_on = sample_shards(run.plan.shards, config.shard_rows, config.sample_images)
    arguments = (config.output, config.store, parsed.url, seen.url, located.url, set(learn_on))
    run_tables(run, located, StubLook, *arguments)
    return seen, located


class StubLook:
    """Writes the tables of `look` and `locate` of a shard."""

    def __init__(
        self,
        output: str,
        config: StoreConfig,
        parsed: str,
        seen: str,
        located: str,
        learn_on: set[int],
    ) -> None:
        self._plan, self._parsed, self._seen, self._located = (
            open_store(url, config) for url in (output, parsed, seen, located)
        )
        self._learn_on = learn_on
        self._looks = np.random.default_rng(0).normal(size=(len(WORDS), WIDTH))

    def commit(self, shard: int) -> Commit:
        """Draw one shard and commit it."""
        named: dict[str, dict[int, list[int]]] = defaultdict(dict)
        mentions = read_table(self._parsed, "mentions", shard)
        columns = (mentions[name].to_pylist() for name in ("image_id", "tag_id", "captions"))
        for image_id, tag_id, captions in zip(*columns, strict=True):
            named[image_id][tag_id] = captions
        foreign = draw_foreign(named) if shard in self._learn_on else {}
        scores: list[dict[str, Any]] = []
        regions: list[dict[str, Any]] = []
        draw = np.random.default_rng(shard)
        for image_id in read_images(self._plan, shard, ["image_id"])["image_id"].to_pylist():
            own, others = list(named.get(image_id, ())), list(foreign.get(image_id, ()))
            tags = sorted({*own, *others, *draw.integers(0, len(WORDS), 3).tolist()})
            right = np.isin(tags, own)
            values = np.where(right, draw.beta(4, 2, len(tags)), draw.beta(1, 4, len(tags)))
            base = {"image_id": image_id, "width": 1, "height": 1, "model": 0, "caption": None}
            scores.append(base | {"tag_ids": tags, "scores": values})
            noise = draw.normal(size=(len(tags), WIDTH))
            found = [_region(at, tag_id, values[at]) for at, tag_id in enumerate(tags)]
            vectors = (self._looks[tags] + noise).astype(np.float16).tobytes()
            facts = {"image_id": image_id, "regions": found, "vectors": vectors}
            regions.append(facts | {"foreign": others})
        quarantine = QUARANTINE.empty_table()
        counts = counts_table(Counter(images=len(scores), model_passes=0))
        tables = {"scores": pa.Table.from_pylist(scores, SCORES), "quarantine": quarantine}
        done = {"tagged": len(scores), "quarantined_by_code": {}}
        commit_tables(self._seen, shard, tables | {"counts": counts}, **done)
        tables = {"regions": pa.Table.from_pylist(regions, REGIONS), "counts": counts}
        return commit_tables(self._located, shard, tables, **done)


def _region(at: int, tag_id: int, score: float) -> dict[str, Any]:
    facts = {"tag_id": tag_id, "box": [0.1, 0.1, 0.6, 0.6], "locator_score": score}
    return facts | {"score": score, "rival": np.nan, "rival_id": NO_RIVAL, "vector": at}


class MemoryWatch:
    """Samples the memory of this process and of Ray's workers, twice a second."""

    def __init__(self) -> None:
        self._driver = self._worker = 0
        self._before = _private_mb(psutil.Process())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, Any]:
        """Return the peaks, in MB without shared memory."""
        self._stop.set()
        self._thread.join()
        return {
            "driver_before_mb": self._before,
            "driver_peak_mb": self._driver,
            "largest_worker_mb": self._worker,
        }

    def _watch(self) -> None:
        this = psutil.Process()
        while not self._stop.wait(0.5):
            self._driver = max(self._driver, _private_mb(this))
            for process in this.children(recursive=True):
                try:
                    if process.name().startswith("ray::"):
                        self._worker = max(self._worker, _private_mb(process))
                except psutil.NoSuchProcess:
                    continue


def _private_mb(process: psutil.Process) -> int:
    memory = process.memory_info()
    return (memory.rss - memory.shared) >> 20


if __name__ == "__main__":
    main()
