"""The summary as Markdown tables, for benchmarks/results/.

python -m benchmarks.engine_bench.table runs/data-engine/results
"""

import sys
from pathlib import Path
from typing import Any

from benchmarks.engine_bench.summary import summarise

LABELS = (
    ("tags/image", "labels.tags_per_image", 1),
    ("P", "labels.precision", 100),
    ("R", "labels.recall", 100),
    ("F1", "labels.f1", 100),
    ("added P", "labels.added_precision", 100),
    ("recovered", "labels.recovered", 100),
    ("removed P", "labels.removed_precision", 100),
    ("removed R", "labels.removed_recall", 100),
    ("over-removal", "labels.over_removal", 100),
)
MODEL = (
    ("mAP", "model.map", 100),
    ("mAP rare", "model.map_rare", 100),
    ("CF1 at .5", "model.cf1_at_0.5", 100),
    ("OF1 at .5", "model.of1_at_0.5", 100),
)
WHOLE = tuple((title, key.replace("model.", "full."), scale) for title, key, scale in MODEL)
"""Of models that were trained whole, image encoder too."""
RANKING = (
    ("AUPRC", "suspicion.auprc", 100),
    ("recall at 4 %", "suspicion.recall_at_over_removal_0.04", 100),
    ("at 6 %", "suspicion.recall_at_over_removal_0.06", 100),
    ("at 8 %", "suspicion.recall_at_over_removal_0.08", 100),
    ("at cleanlab's", "suspicion.recall_at_cleanlabs_over_removal", 100),
)
DIFFERENCES = (
    ("F1", "labels.f1", 100),
    ("recall", "labels.recall", 100),
    ("mAP", "model.map", 100),
    ("mAP rare", "model.map_rare", 100),
    ("whole: mAP", "full.map", 100),
    ("whole: mAP rare", "full.map_rare", 100),
    ("whole: CF1 at .5", "full.cf1_at_0.5", 100),
    ("whole: OF1 at .5", "full.of1_at_0.5", 100),
)
Columns = tuple[tuple[str, str, int], ...]


def tables(summary: dict[str, Any]) -> str:
    """Return the tables of every data set."""
    parts = []
    for name, found in summary.items():
        seeds, trained = len(found["seeds"]), len(found["seeds_with_models"])
        parts.append(f"### {name}: {found['images']} images, {found['tags']} tags, {seeds} seeds\n")
        arms = found["arms"]
        parts.append("Labels\n\n" + _table(arms, LABELS))
        parts.append(f"Models trained on them ({trained} seeds)\n\n" + _table(arms, MODEL))
        if found["seeds_with_whole_models"]:
            whole = len(found["seeds_with_whole_models"])
            parts.append(f"Whole models trained on them ({whole} seeds)\n\n" + _table(arms, WHOLE))
        parts.append("Wrong tags among the named, ranked\n\n" + _table(arms, RANKING))
        parts.append("Against parsing\n\n" + _table(found["against_parsing"], DIFFERENCES))
    return "\n".join(parts)


def _table(arms: dict[str, Any], columns: Columns) -> str:
    lines = [
        "| arm | " + " | ".join(title for title, _, _ in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for name, measures in arms.items():
        cells = [_cell(measures.get(key), scale) for _, key, scale in columns]
        if any(cell != "-" for cell in cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(found: dict[str, float] | None, scale: int) -> str:
    if found is None or found["mean"] != found["mean"]:
        return "-"
    digits = 1 if scale == 100 else 2
    text = f"{found['mean'] * scale:.{digits}f}"
    if "low" in found:
        margin = (found["high"] - found["mean"]) * scale
        text += f" ± {margin:.{digits}f}"
    return text


if __name__ == "__main__":
    print(tables(summarise(Path(sys.argv[1]))))
