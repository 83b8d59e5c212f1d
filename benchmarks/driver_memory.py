"""Driver memory against the number of planned images: it must not grow with them.

    python benchmarks/driver_memory.py --rows 1000 --rows 1000000

Listing, fetching, decoding and the model are stubbed out here, and only here: planning, Ray Data,
committers and commits are the real ones. Each size runs in a process of its own; prints JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from ram_model import Tags
from ram_ray.config import StoreConfig
from ram_ray.storage.sources import SourceObject
from ram_ray.tagging import dataset as tag_dataset
from ram_ray.tagging import pipeline as tagging
from ram_ray.tagging import plan as run_plan
from ram_ray.tagging import tag_images
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.model import ModelIdentity
from ram_ray.workers.chunks import split_stretch, with_pixels
from ram_ray.workers.tagger import TaggerOptions

SIZE_PX = 128


class NoFetch:
    """Stands in for FetchAndDecode: black pixels of the right size, no image read."""

    def __init__(self, _store: Any, _limits: Any, _decode: Any, size_px: int, **_: Any) -> None:
        self._size = size_px

    def __call__(self, stretch: pa.Table) -> Iterator[pa.Table]:
        for chunk in split_stretch(stretch):
            count = len(chunk["uri"])
            facts = {name: [1] * count for name in ("width", "height", "attempts")}
            facts |= {name: [None] * count for name in ("error_code", "message", "changed_etag")}
            pixels = np.zeros((count, self._size, self._size, 3), np.uint8)
            yield with_pixels(chunk | facts | {"remarks": [[]] * count}, pixels)


class NoTagger:
    """Gives every image the same five tags."""

    writes_captions = False
    image_size_px = SIZE_PX

    def __call__(self, images: np.ndarray) -> list[Tags]:
        ids, scores = np.arange(5, dtype=np.int32), np.linspace(0.9, 0.5, 5, dtype=np.float32)
        return [Tags(ids, scores, list("abcde"))] * len(images)


class NoModel(tag_images.TagImages):
    """TagImages without a model."""

    def __init__(self, options: TaggerOptions, committers: list[Any]) -> None:
        tag_images.load_tagger = lambda _: (NoTagger(), "cpu")  # in the worker's process
        super().__init__(options, committers)


def synthetic_listing(rows: int) -> Iterator[SourceObject]:
    for number in range(rows):
        key = f"photos/2026/{number // 1000:06d}/image-{number:09d}.jpg"
        yield SourceObject(key, f"s3://bucket/{key}", '"0123456789abcdef"', 350_000)


def measure(rows: int, batch_size: int) -> dict[str, Any]:
    """Run `rows` planned images through this process as the driver; return its memory."""
    model = ModelIdentity("stub", SIZE_PX, "0", "0", "0", None, ())
    tagging.identify_model = lambda _: model
    run_plan.list_images = lambda *_, **__: synthetic_listing(rows)
    tag_dataset.FetchAndDecode, tag_dataset.TagImages = NoFetch, NoModel  # pyright: ignore
    peak = PeakMemory()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        config = TagConfig(
            source="s3://bucket/photos",
            output=str(Path(folder) / "out"),
            batch_size=batch_size,
            device="cpu",
            store=StoreConfig(anonymous=True),
        )
        summary = tagging.tag_bucket(config)
    return {
        "rows": rows,
        "rows_tagged": summary.num_tagged,
        "shards": summary.num_shards,
        "driver_peak_rss_mib": round(peak.stop() / 2**20, 1),
        "wall_s": round(time.monotonic() - started, 1),
    }


class PeakMemory:
    """Samples this process's resident memory until stopped."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._peak = 0
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        return self._peak

    def _sample(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(0.1):
            self._peak = max(self._peak, process.memory_info().rss)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, action="append", help="default: 1000 and 1000000")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = options.rows or [1_000, 1_000_000]
    if options.here:
        print(json.dumps(measure(sizes[0], options.batch_size)))
        return
    results = []
    for rows in sizes:
        command = [sys.executable, __file__, "--here", "--rows", str(rows)]
        command += ["--batch-size", str(options.batch_size)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
    growth = results[-1]["driver_peak_rss_mib"] - results[0]["driver_peak_rss_mib"]
    print(json.dumps({"results": results, "growth_mib": round(growth, 1)}, indent=1))


if __name__ == "__main__":
    main()
