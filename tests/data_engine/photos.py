"""A small source for engine tests: photos with captions that name tags of ram-mini."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ram_ray.data_engine.config import EngineConfig, WindowConfig
from tests.conftest import photo_bytes

CAPTIONS = (
    "a black dog runs on the grass with a ball",
    "a man in a red shirt stands by a tree",
    "two girls in the snow with a blue jacket",
    "a child jumps into the water at the beach",
    "a woman on a bike in the street",
)


def write_source(folder: Path, count: int) -> None:
    """Write photos and captions.jsonl: two captions each, a different pair for each neighbour."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        name = f"photo-{number:03d}.jpg"
        (folder / name).write_bytes(photo_bytes(number))
        texts = [CAPTIONS[number % 5], CAPTIONS[(number + number // 5) % 5]]
        lines.append(json.dumps({"file_name": name, "captions": texts}))
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def engine_config(tmp_path: Path, **changes: Any) -> EngineConfig:
    """Return settings for `tmp_path/in` and `tmp_path/out`, as fast as can be."""
    settings = {
        "source": str(tmp_path / "in"),
        "output": str(tmp_path / "out"),
        "windows": WindowConfig(scales=(0.9,), overlap=0.0),
        "shard_rows": 8,
        "device": "cpu",
        "batch_size": 8,
        "num_workers": 1,
        "num_decoders": 1,
        "cpus_per_worker": 0.5,
    }
    return EngineConfig(**(settings | changes))


def rows(output: Path, revision: int = 1, table: str = "labels") -> list[dict[str, Any]]:
    """Return a table of a revision, all shards, in order."""
    folder = output / "revisions" / f"{revision:06d}" / table
    files = sorted(folder.glob("shard-*.parquet"))
    return pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()


def present(output: Path, revision: int = 1) -> set[tuple[str, str]]:
    """Return the final (image, tag) pairs of a revision."""
    return {(row["image_id"], row["tag"]) for row in rows(output, revision) if row["present"]}
