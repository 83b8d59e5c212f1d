"""Recount the label measures from the Parquet files that a run left.

python -m benchmarks.engine_bench.recount runs/data-engine/labels/scenes/seed-0
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.engine_bench.measures import label_measures

SHOWN = (
    "precision",
    "recall",
    "f1",
    "added_precision",
    "removed_precision",
    "removed_recall",
    "over_removal",
)


def recount(path: Path) -> dict[str, Any]:
    """Return the label measures of one arm."""
    table = pq.read_table(path, columns=["truth", "observed", "final"])
    columns = (table[name].to_numpy(zero_copy_only=False) for name in table.column_names)
    truth, observed, final = (np.asarray(values, bool)[:, None] for values in columns)
    found = label_measures(truth, observed, final)
    del found["tags_per_image"]  # the file does not say how many images have no row
    return found


def bootstrap_f1(path: Path, other: Path, *, draws: int = 1000) -> tuple[float, float, float]:
    """Return by how much the first label set's F1 is higher, with its 95 % interval over images."""
    counts = [_counts(path), _counts(other)]
    size = max(len(c) for c in counts)
    padded = [np.pad(c, ((0, size - len(c)), (0, 0))) for c in counts]
    generator = np.random.default_rng(0)
    weights = generator.multinomial(size, np.full(size, 1 / size), draws)
    drawn = _f1(weights @ padded[0]) - _f1(weights @ padded[1])
    whole = _f1(padded[0].sum(0)) - _f1(padded[1].sum(0))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(whole), float(low), float(high)


def _counts(path: Path) -> np.ndarray:
    """Return float [images, 3]: right, given and true tags of each image."""
    table = pq.read_table(path, columns=["image", "truth", "final"])
    image = table["image"].to_numpy()
    truth, final = (table[n].to_numpy(zero_copy_only=False) for n in ("truth", "final"))
    return np.stack([np.bincount(image, v) for v in (truth & final, final, truth)], axis=1)


def _f1(counts: np.ndarray) -> np.ndarray:
    right, given, true = np.moveaxis(counts, -1, 0)
    return 2 * right / np.maximum(given + true, 1)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    parsing = folder / "parsing.parquet"
    print("| arm | P | R | F1 | added P | removed P | removed R | over-removal | F1 - parsing |")
    print("|---|---|---|---|---|---|---|---|---|")
    for file in sorted(folder.glob("*.parquet"), key=lambda path: path.stat().st_mtime):
        found = recount(file)
        cells = ["-" if found[n] != found[n] else f"{100 * found[n]:.1f}" for n in SHOWN]
        gain, low, high = bootstrap_f1(file, parsing)
        cells.append(f"{100 * gain:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})")
        print(f"| {file.stem} | {' | '.join(cells)} |")
