"""What every scene works with: photos, the answers one process gives them, configurations."""

import dataclasses
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.http_load import Target
from ram_ray.serving.config import ReplicaConfig, ServeConfig

FLOOR = 0.05
"""Tags with lower scores are not asked for."""
_TINY = {"cpus_per_replica": 0.2, "cpus_per_ingress": 0.2}


@dataclasses.dataclass(frozen=True)
class Bench:
    """What every scene works with."""

    seconds: float
    bodies: list[bytes]
    expected: list[dict[int, float]]
    num_kills: int = 6

    def target(self, port: int, *, check: bool = True) -> Target:
        """Return the photos to send to a server, and how right answers look."""
        url = f"http://127.0.0.1:{port}/v1/tag?score_floor={FLOOR}"
        return Target(url, self.bodies, self._is_right if check else lambda index, body: True)

    def _is_right(self, index: int, body: bytes) -> bool:
        tags = {tag["id"]: tag["score"] for tag in json.loads(body)["images"][0]["tags"]}
        expected = self.expected[index]
        for tag_id in tags.keys() ^ expected.keys():
            if abs({**expected, **tags}[tag_id] - FLOOR) > 1e-5:
                return False
        return all(abs(tags[i] - expected[i]) < 1e-5 for i in tags.keys() & expected.keys())


def make_bench(photos: str | None, seconds: float, num_kills: int) -> Bench:
    """Read up to 64 photos (default: the demo's) and tag them in this process."""
    from ram_model import Tagger
    from ram_ray.errors import ImageError
    from ram_ray.images.decoder import Decoder

    if photos is None:
        from ram_ray.demo.photos import demo_bucket

        found: Iterator[bytes] = (data for _, data in demo_bucket())
    else:
        found = (path.read_bytes() for path in sorted(Path(photos).rglob("*.jpg")))
    tagger = Tagger.load("ram-mini", score_floor=FLOOR, batch_size=1)
    bench = Bench(seconds, [], [], num_kills)
    with Decoder(tagger.image_size_px, ServeConfig().decode) as decoder:
        for data in found:
            try:
                tags = tagger(decoder.decode(data).pixels[None])[0]
            except ImageError:
                continue
            bench.bodies.append(data)
            bench.expected.append(
                dict(zip(tags.tag_ids.tolist(), tags.scores.tolist(), strict=True))
            )
            if len(bench.bodies) == 64:
                break
    return bench


def serving(**changes: Any) -> ServeConfig:
    """Return the configuration of a scene, on a free port."""
    replicas = ReplicaConfig(**_TINY | changes.pop("replicas", {}))
    settings = {"device": "cpu", "threads": 1, "port": free_port(), "replicas": replicas}
    return ServeConfig(**settings | changes)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
