"""End to end against the model alone, and CPU seconds per image by stage.

    python benchmarks/pipeline.py [--source FOLDER] [--model ram-mini] [--num-images 512]

Both figures come from one run on one machine, so that their ratio means something: first the model
alone over the very pixels of the source, then `tag_bucket` over the source. Prints JSON.
"""

import argparse
import io
import json
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from ram_ray.config import DecodeConfig, StoreConfig
from ram_ray.console.progress import Progress
from ram_ray.images.decoder import decode
from ram_ray.storage.reading import read_uri
from ram_ray.storage.sources import NameFilter, list_source
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.pipeline import tag_bucket
from ram_ray.workers.tagger import TaggerOptions, load_tagger

STAGES = {
    "fetch": "FetchAndDecode",  # also the pixels' way into the object store
    "decode": "decode_child",
    "tag": "TagImages",
    "commit": "ray::Committer",
    "plan": "ReadPlan",
}
"""Stage -> what its processes are titled; the driver and Ray's own processes are the rest."""


class StageCpu:
    """Samples CPU seconds of this process and all its children, by stage, until stopped."""

    def __init__(self) -> None:
        self._seconds: dict[int, tuple[str, float]] = {}
        self._start = self._own()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, float]:
        """Return CPU seconds by stage; the last half second of a process may be missing."""
        self._stop.set()
        self._thread.join()
        total: dict[str, float] = {"driver": self._own() - self._start}
        for stage, seconds in self._seconds.values():
            total[stage] = total.get(stage, 0.0) + seconds
        return total

    def _sample(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(0.5):
            for process in me.children(recursive=True):
                try:
                    title = " ".join(process.cmdline())
                    times = process.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                stage = next((name for name, part in STAGES.items() if part in title), "ray")
                # A worker is titled by its stage only while it works: the first name stays.
                known = self._seconds.get(process.pid, ("ray", 0.0))[0]
                name = known if known != "ray" else stage
                self._seconds[process.pid] = (name, times.user + times.system)

    def _own(self) -> float:
        times = os.times()
        return times.user + times.system


def write_photos(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Fill a folder with JPEGs of smooth noise, about as costly to decode as photos."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (size[1] // 16, size[0] // 16, 3), np.uint8))
        data = io.BytesIO()
        coarse.resize(size, Image.Resampling.BICUBIC).save(data, "JPEG", quality=88)
        (folder / f"{number:06d}.jpg").write_bytes(data.getvalue())


def model_alone(config: TagConfig, batch_size: int) -> dict[str, float]:
    """Tag the source's pixels, decoded beforehand; images and CPU seconds per image."""
    options = TaggerOptions(
        model=config.model, device="cpu", threads=None, precision=config.precision,
        batch_size=batch_size, tags=None, threshold=None, top_k=None, score_floor=None,
    )  # fmt: skip
    tagger, _ = load_tagger(options)
    names = NameFilter((), ())
    listed = [o for o in list_source(config.source, StoreConfig()) if names.accepts(o.image_id)]
    pixels = np.stack(
        [
            decode(read_uri(o.uri, StoreConfig()), tagger.image_size_px, DecodeConfig()).pixels
            for o in listed
        ]
    )
    tagger(pixels[:batch_size])  # the first call allocates
    cpu, wall = time.process_time(), time.perf_counter()
    for start in range(0, len(pixels), batch_size):
        tagger(pixels[start : start + batch_size])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"images_per_s": len(pixels) / wall, "cpu_s_per_image": cpu / len(pixels)}


def end_to_end(config: TagConfig) -> dict[str, Any]:
    """Run the pipeline; its rate between the first and the last chunk, and CPU by stage."""
    moments: list[Progress] = []
    cpu = StageCpu()
    summary = tag_bucket(config, on_progress=moments.append)
    stages = cpu.stop()
    tagging = [m for m in moments if m.phase == "tagging" and m.images_done > 0]
    images = tagging[-1].images_done - tagging[0].images_done
    seconds = tagging[-1].elapsed_s - tagging[0].elapsed_s
    return {
        "images": summary.num_images,
        "quarantined": summary.num_quarantined,
        "wall_s": summary.wall_s,
        "steady_images_per_s": images / seconds,
        "cpu_s_per_image": {name: s / summary.num_images for name, s in sorted(stages.items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--source", help="folder of photos; default: 512 made up ones")
    parser.add_argument("--model", default="ram-mini")
    parser.add_argument("--num-images", type=int, default=512)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("W", "H"))
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(options.source or folder) if options.source else Path(folder) / "photos"
        if not options.source:
            source.mkdir()
            write_photos(source, options.num_images, tuple(options.size))
        config = TagConfig(
            source=str(source),
            output=str(Path(folder) / "out"),
            model=options.model,
            batch_size=options.batch_size,
            device="cpu",
            max_error_rate=1.0,
        )
        alone = model_alone(config, options.batch_size)
        whole = end_to_end(config)
    ratio = whole["steady_images_per_s"] / alone["images_per_s"]
    result = {
        "model": options.model,
        "batch_size": options.batch_size,
        "cpus": os.cpu_count(),
        "model_alone": alone,
        "end_to_end": whole,
        "end_to_end_over_model_alone": ratio,
    }
    print(json.dumps(result, indent=1, default=float))


if __name__ == "__main__":
    main()
