"""CPU and wall time of `Decoder` against `decode` in this process, on the same photos; prints JSON.

    python benchmarks/decoding.py FOLDER [--megapixels 0.05,0.3,1,2] [--photos 20] [--rounds 10]

Photos are resized to each size and saved as JPEG, quality 90. Images alternate between the two, so
that both meet the same load of the machine. Linux only: it reads the child's CPU clock.
"""

import argparse
import io
import json
import statistics
import time
from pathlib import Path

from PIL import Image

from ram_ray.config import DecodeConfig
from ram_ray.images.decoder import Decoder, decode

SIZE = 384


def main() -> None:
    parser = argparse.ArgumentParser(description="Time Decoder against decode.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megapixels", default="0.05,0.3,1,2")
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    paths = sorted(options.folder.rglob("*.jpg"))[: options.photos]
    for megapixels in map(float, options.megapixels.split(",")):
        photos = [resized(path, megapixels) for path in paths]
        print(json.dumps({"megapixels": megapixels, **measure(photos, options.rounds)}))


def resized(path: Path, megapixels: float) -> bytes:
    file = io.BytesIO()
    with Image.open(path) as image:
        scale = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
        size = (round(image.width * scale), round(image.height * scale))
        image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def measure(photos: list[bytes], rounds: int) -> dict[str, float]:
    """Medians over all photos and rounds, in milliseconds an image."""
    config = DecodeConfig()
    here: list[tuple[float, float]] = []
    there: list[tuple[float, float]] = []
    with Decoder(SIZE, config) as decoder:
        decode(photos[0], SIZE, config)
        decoder.decode(photos[0])
        for photo in photos * rounds:
            start = clocks(decoder)
            decode(photo, SIZE, config)
            middle = clocks(decoder)
            decoder.decode(photo)
            end = clocks(decoder)
            here.append((middle[0] - start[0], middle[1] - start[1]))
            there.append((end[0] - middle[0], end[1] - middle[1]))
        rest_kib = resident_kib(decoder)
    figures = {
        "decode_wall_ms": statistics.median(wall for wall, _ in here),
        "decoder_wall_ms": statistics.median(wall for wall, _ in there),
        "decode_cpu_ms": statistics.median(cpu for _, cpu in here),
        "decoder_cpu_ms": statistics.median(cpu for _, cpu in there),
        "decoder_over_decode_cpu": statistics.median(cpu for _, cpu in there)
        / statistics.median(cpu for _, cpu in here),
        "child_resident_mib": rest_kib / 1024,
    }
    return {name: round(value, 3) for name, value in figures.items()}


def clocks(decoder: Decoder) -> tuple[float, float]:
    """Wall time, and CPU time of this process and the child together, in milliseconds."""
    assert decoder.child_pid is not None
    child_clock = ~decoder.child_pid << 3 | 2  # man 3 clock_getcpuclockid, as Linux numbers them
    child_ns = time.clock_gettime_ns(child_clock)
    return time.perf_counter_ns() / 1e6, (time.process_time_ns() + child_ns) / 1e6


def resident_kib(decoder: Decoder) -> int:
    status = Path(f"/proc/{decoder.child_pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


if __name__ == "__main__":
    main()
