"""How long listing a bucket takes, at many places at once and by one walk; prints JSON.

    python -m benchmarks.listing --keys 100000 --pause 0.05

The bucket is a stub in a process of its own that waits before each page.
"""

import argparse
import json
import time

from ram_ray.storage.bucket_listing import BucketPages, Entry
from ram_ray.storage.key_ranges import AT_ONCE, Page, ReadPage, walk_keys
from tests.storage.paged_server import NAMES, paged_process


def counted(pages: BucketPages, requests: list[str]) -> ReadPage[Entry]:
    """Return `pages.read`, which notes in `requests` what it is asked."""

    def read(after: str, stop: str | None) -> Page[Entry]:
        requests.append(after)
        return pages.read(after, stop)

    return read


def main() -> None:
    """List made-up keys of each shape, both ways."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds before each page")
    asked = parser.parse_args()
    for names, name in NAMES.items():
        wanted = sorted(map(name, range(asked.keys)))
        result: dict[str, object] = {"names": names, "keys": asked.keys, "pause_s": asked.pause}
        with paged_process(names, asked.keys, asked.pause) as config:
            for at_once in (AT_ONCE, 1):
                pages = BucketPages("bucket", "", config)
                requests: list[str] = []

                read = counted(pages, requests)
                started, cpu = time.monotonic(), time.process_time()
                found = [key for key, _, _ in walk_keys(read, at_once=at_once)]
                result[f"at_once_{at_once}"] = {
                    "wall_s": round(time.monotonic() - started, 2),
                    "cpu_s": round(time.process_time() - cpu, 2),
                    "requests": len(requests),
                    "same_keys": found == wanted,
                }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
