"""Compare what two checkouts make of the same small inputs: decoded tables must be equal.

    python benchmarks/compare_checkouts.py /path/to/old /path/to/new

Runs `tag`, `labels parse` and `engine run` in each checkout, on inputs made here, with sources and
outputs at equal absolute paths; then has the new checkout resume runs that the old one began and
that lost half of their commits. Prints a line of JSON per run; exit code 1 where tables differ.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

NUM_PHOTOS = 24
WORDS = "dog grass ball man shirt tree girl snow jacket child water beach woman bike street".split()

DRIVER = """
import json, sys
kind, settings = sys.argv[1], json.loads(sys.argv[2])
if kind == "tag":
    try:
        from ram_ray.config import DecodeConfig
        from ram_ray.tagging.config import TagConfig
        from ram_ray.tagging.pipeline import tag_bucket
    except ImportError:
        from ram_ray.tagging import tag_bucket
        from ram_ray.config import DecodeConfig, TagConfig
    settings["decode"] = DecodeConfig(max_image_bytes=200_000)
    tag_bucket(TagConfig(**settings))
elif kind == "parse":
    try:
        from ram_ray.labels.parsing.pipeline import ParseConfig, parse_captions
    except ImportError:
        from ram_ray.labels.parsing import ParseConfig, parse_captions
    parse_captions(ParseConfig(**settings))
else:
    from ram_ray.data_engine.config import EngineConfig
    from ram_ray.data_engine.engine import run
    try:
        from ram_ray.data_engine.config import WindowConfig
    except ImportError:
        from ram_ray.data_engine.windows import WindowConfig
    run(EngineConfig(windows=WindowConfig(scales=(0.9,), overlap=0.0), **settings))
"""
"""What a checkout is told; 0.1.0 had the same functions in other modules."""

SETTINGS: dict[str, dict[str, Any]] = {
    "tag": {"shard_rows": 10, "batch_size": 4, "device": "cpu", "score_floor": 0.0},
    "parse": {"shard_bytes": 600, "num_parsers": 1, "evidence": True, "widen": True},
    "engine": {"shard_rows": 8, "batch_size": 8, "device": "cpu", "num_workers": 1,
               "num_decoders": 1, "generate": True},
}  # fmt: skip


def main() -> int:
    """Compare; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--only", choices=sorted(SETTINGS), action="append")
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        home = Path(folder)
        write_inputs(home / "in")
        for kind in options.only or SETTINGS:
            old = run_and_keep(options.old, kind, home)
            new = run_and_keep(options.new, kind, home)
            shutil.copytree(old, home / "out")
            lost = lose_commits(home / "out")
            told = call(options.new, kind, home)
            shutil.move(home / "out", home / f"{kind}-resumed")
            differ, resumed = compare(old, new), compare(old, home / f"{kind}-resumed")
            good = good and not differ and not resumed and not told
            found = {"run": kind, "tables": len(tables(old)), "differ": differ}
            found |= {"resumed_without_commits": lost, "resumed_differ": resumed, "told": told}
            print(json.dumps(found), flush=True)
    return 0 if good else 1


def write_inputs(folder: Path) -> None:
    """Write photos, two of them broken, captions with a broken line, and a vocabulary."""
    folder.mkdir()
    draw, lines = random.Random(0), []
    for number in range(NUM_PHOTOS):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 6, 3), np.uint8)
        picture = Image.fromarray(pixels).resize((96, 64), Image.Resampling.BICUBIC)
        picture.save(folder / f"photo-{number:03d}.jpg")
        texts = [f"a {' and a '.join(draw.sample(WORDS, 3))}" for _ in range(2)]
        lines.append(json.dumps({"file_name": f"photo-{number:03d}.jpg", "captions": texts}))
    (folder / "photo-003.jpg").write_bytes(b"no photo")
    (folder / "photo-004.jpg").write_bytes(b"")
    lines.append("{broken")
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder.parent / "names.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")


def run_and_keep(checkout: Path, kind: str, home: Path) -> Path:
    """Run one command of a checkout on an output of the same name; return where it was put."""
    told = call(checkout, kind, home)
    if told:
        raise SystemExit(f"{checkout} fails in {kind}: {told}")
    number = len(list(home.glob(f"{kind}-*")))
    kept = home / f"{kind}-{number}"
    shutil.move(home / "out", kept)
    return kept


def call(checkout: Path, kind: str, home: Path) -> str:
    """Run one command of a checkout; return the last line of its error, "" where there is none."""
    settings = SETTINGS[kind] | {"source": str(home / "in"), "output": str(home / "out")}
    settings["max_error_rate"] = 1.0
    if kind == "parse":
        settings["vocabulary"] = str(home / "names.txt")
    path = os.pathsep.join([str(checkout), str(checkout / "model")])
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, kind, json.dumps(settings)],
        env=os.environ | {"PYTHONPATH": path},
        cwd=checkout,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def lose_commits(output: Path) -> int:
    """Take every other commit of a run, and of each step, away; return how many."""
    lost = 0
    for folder in sorted(output.rglob("commits")):
        for commit in sorted(folder.iterdir())[1::2]:
            commit.unlink()
            lost += 1
    shutil.rmtree(output / "revisions", ignore_errors=True)
    return lost


def tables(output: Path) -> dict[str, Path]:
    """Return every table of an output by its name."""
    return {str(path.relative_to(output)): path for path in sorted(output.rglob("*.parquet"))}


def compare(one: Path, other: Path) -> list[str]:
    """Return the names of tables that are not in both, or not equal in columns and rows."""
    ours, theirs = tables(one), tables(other)
    return [
        name
        for name in sorted({*ours, *theirs})
        if name not in ours or name not in theirs or not same_table(ours[name], theirs[name])
    ]


def same_table(one: Path, other: Path) -> bool:
    """Tell whether two files have the same columns and rows; NaN equals NaN."""
    ours, theirs = pq.read_table(one), pq.read_table(other)
    same = ours.schema.equals(theirs.schema, check_metadata=True)
    return same and repr(ours.to_pylist()) == repr(theirs.to_pylist())


if __name__ == "__main__":
    sys.exit(main())
