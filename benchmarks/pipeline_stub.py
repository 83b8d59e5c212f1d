"""What the pipeline itself costs: pixels and model are stubs, planning to commit is the real thing.

    python benchmarks/pipeline_stub.py [--ms 43] [--images 10240] [--repeat 5]

The model sleeps MS per 64 images, by default the computed pace of bf16 on an H200; pixels of
384 x 384 come from nowhere. Prints JSON: the rate between the first and the last call of the model,
as a share of a bare loop of the same sleeps in the same run; and CPU per image of the whole tree of
processes, between images 2,048 and the last.
"""

import argparse
import json
import os
import statistics
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
from ram_ray.console.progress import Progress
from ram_ray.storage.sources import SourceObject
from ram_ray.tagging import dataset as tag_dataset
from ram_ray.tagging import pipeline as tagging
from ram_ray.tagging import plan as run_plan
from ram_ray.tagging import tag_images
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.model import ModelIdentity
from ram_ray.workers.chunks import split_stretch, with_pixels
from ram_ray.workers.fetch_and_decode import FetchAndDecode
from ram_ray.workers.tagger import TaggerOptions

SIZE_PX = 384
BATCH = 64
FROM = 2_048
"""CPU is counted from this image on: start-ups are behind."""
SLEEP, CALLS = "RAM_RAY_BENCH_SLEEP_S", "RAM_RAY_BENCH_CALLS"
TAGS = Tags(np.arange(5, dtype=np.int32), np.linspace(0.9, 0.5, 5, dtype=np.float32), list("abcde"))


class NoPixels(FetchAndDecode):
    """FetchAndDecode without images: pixels of the right size."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._pixels = np.zeros((BATCH, SIZE_PX, SIZE_PX, 3), np.uint8)

    def __call__(self, stretch: pa.Table) -> Iterator[pa.Table]:
        for chunk in split_stretch(stretch):
            count = len(chunk["uri"])
            nothing = {"error_code": [None] * count, "message": [None] * count}
            facts = {name: [1] * count for name in ("width", "height", "attempts")}
            facts |= {"changed_etag": [None] * count, "remarks": [[]] * count}
            yield with_pixels(chunk | nothing | facts, self._pixels[:count])


class SleepingTagger:
    """Every image gets the same five tags, after a sleep; notes when it was called."""

    writes_captions = False
    image_size_px = SIZE_PX

    def __init__(self) -> None:
        self._seconds = float(os.environ[SLEEP])
        self._calls = open(os.environ[CALLS], "a", buffering=1)

    def __call__(self, images: np.ndarray) -> list[Tags]:
        started = time.monotonic()
        time.sleep(self._seconds)
        self._calls.write(f"{started} {time.monotonic()} {len(images)}\n")
        return [TAGS] * len(images)


class SleepingTagImages(tag_images.TagImages):
    """TagImages with the sleeping tagger."""

    def __init__(self, options: TaggerOptions, committers: list[Any]) -> None:
        tag_images.load_tagger = lambda _: (SleepingTagger(), "cpu")  # in the worker's process
        super().__init__(options, committers)


def synthetic_listing(count: int) -> Iterator[SourceObject]:
    for number in range(count):
        key = f"photos/2026/{number // 1000:06d}/image-{number:09d}.jpg"
        yield SourceObject(key, f"s3://bucket/{key}", '"0123456789abcdef"', 350_000)


def bare_loop(seconds: float) -> float:
    """Return images/s of a loop that does nothing but sleep."""
    started = time.monotonic()
    for _ in range(40):
        time.sleep(seconds)
    return 40 * BATCH / (time.monotonic() - started)


class TreeCpu:
    """CPU seconds of this process and its descendants, those that ended since included."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[str, float]] = {}
        self._stop = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self.now()

    def now(self) -> dict[str, float]:
        """Return seconds by title of process."""
        me = psutil.Process()
        for process in [me, *me.children(recursive=True)]:
            try:
                times, title = process.cpu_times(), "driver" if process == me else _title(process)
            except psutil.NoSuchProcess:
                continue
            self._seen[process.pid] = (title, times.user + times.system)
        found: dict[str, float] = {}
        for title, seconds in list(self._seen.values()):
            found[title] = found.get(title, 0.0) + seconds
        return found

    def stop(self) -> None:
        self._stop.set()


def _title(process: psutil.Process) -> str:
    words = process.cmdline()
    text = " ".join(words)
    for name in ("TagImages", "NoPixels", "ReadPlan", "Committer", "raylet", "gcs_server"):
        if name in text:
            return name
    return "idle worker" if "ray::" in text else "other"


def one_run(count: int, seconds: float) -> dict[str, Any]:
    """Tag `count` images that are not there; return rates and CPU."""
    model = ModelIdentity("stub", SIZE_PX, "0", "0", "0", None, ())
    tagging.identify_model = lambda _: model
    run_plan.list_images = lambda *_, **__: synthetic_listing(count)
    tag_dataset.FetchAndDecode, tag_dataset.TagImages = NoPixels, SleepingTagImages  # pyright: ignore
    cpu, marks = TreeCpu(), []

    def watch(progress: Progress) -> None:
        if progress.phase == "tagging" and progress.images_done >= (count if marks else FROM):
            marks.append((progress.images_done, cpu.now()))

    with tempfile.TemporaryDirectory() as folder:
        calls = Path(folder) / "calls"
        os.environ |= {SLEEP: str(seconds), CALLS: str(calls)}
        config = TagConfig(
            source="s3://bucket/photos", output=str(Path(folder) / "out"), batch_size=BATCH,
            device="cpu", store=StoreConfig(anonymous=True),
        )  # fmt: skip
        summary = tagging.tag_bucket(config, on_progress=watch)
        assert summary.num_tagged == count, summary
        times = np.loadtxt(calls)
    cpu.stop()
    images, before = marks[0]
    last_images, after = marks[-1] if len(marks) > 1 else (count, cpu.now())
    per_image = {
        title: round(1e3 * (after[title] - before.get(title, 0.0)) / (last_images - images), 3)
        for title in after
    }
    rate = times[:, 2].sum() / (times[:, 1].max() - times[:, 0].min())
    gaps = np.sort(times[:, 0])[1:] - np.sort(times[:, 1])[:-1]
    if os.environ.get("GAPS"):
        print([round(float(g) * 1e3) for g in gaps], file=sys.stderr)
    return {
        "images_per_s": round(float(rate), 1),
        "gap_ms_median": round(float(np.median(gaps)) * 1e3, 1),
        "cpu_ms_per_image": round(sum(per_image.values()), 3),
        "cpu_ms_per_image_by_process": per_image,
        "wall_s": summary.wall_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ms", type=float, default=43.0)
    parser.add_argument("--images", type=int, default=10_240)
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    runs = []
    for _ in range(options.repeat):
        bare = bare_loop(options.ms / 1e3)
        run = one_run(options.images, options.ms / 1e3)
        runs.append(
            {"bare_images_per_s": round(bare, 1), "share": run["images_per_s"] / bare} | run
        )
    medians = {
        name: round(statistics.median(run[name] for run in runs), 3)
        for name in ("share", "cpu_ms_per_image")
    }
    print(
        json.dumps(
            {"ms": options.ms, "images": options.images} | medians | {"runs": runs}, indent=1
        )
    )


if __name__ == "__main__":
    main()
