"""Measure the caption parser; prints JSON.

    python benchmarks/caption_parsing.py --captions coco.jsonl --per-image 5 [--synonyms lvis.json]
    python benchmarks/caption_parsing.py --captions benchmarks/data/labelled_captions.jsonl \
        --vocabulary ram_tag_list.txt --half test

Lines with `labels` (object labels of the image) give precision and recall of those classes over
the captions of an image; lines with `tags` (hand-labelled, see benchmarks/data/README.md) give
them by kind and for absence. Both give captions per second beside bare Aho-Corasick matching of
the same 6,449 phrases on the same captions in the same run.
"""

import argparse
import json
import platform
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ram_model.vocabulary import Vocabulary
from ram_ray.labels.lexicon import load_lexicon
from ram_ray.labels.parser.caption_parser import CaptionParser

HALVES_SEED = 20261126
NUM_PHRASES = 6_449
"""Names of RAM's label system before merging (RAM section 3.1)."""
BATCH_CAPTIONS = 8_192
GROUPS = {"object": "thing", "scene": "thing"}
"""Kinds counted together: their border is soft (benchmarks/data/README.md, rule 5)."""


def main() -> None:
    """Run what the arguments say and print one JSON object."""
    arguments = parse_arguments()
    rows = [json.loads(line) for line in arguments.captions.read_text("utf-8").splitlines()]
    if "labels" in rows[0]:
        development = development_images(rows)
        if arguments.half != "all":
            wanted = arguments.half == "development"
            rows = [row for row in rows if (row["image_id"] in development) == wanted]
        result = measure_labels(rows, arguments.per_image, arguments.synonyms)
        result |= {"half": arguments.half, "images": len(rows)}
        captions = [text for row in rows for text in row["captions"][: arguments.per_image]]
    else:
        rows = [row for row in rows if arguments.half in ("all", half_of(row["id"]))]
        result = measure_labelled(rows, arguments.vocabulary) | {"half": arguments.half}
        captions = [row["caption"] for row in rows]
    result |= measure_speed(captions, arguments.vocabulary, arguments.rounds)
    print(json.dumps({"captions": len(captions), **result, "hardware": hardware()}, indent=1))


def parse_arguments() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description="Measure the caption parser; prints JSON.")
    parser.add_argument("--captions", type=Path, required=True, help="JSONL, see above")
    parser.add_argument("--per-image", type=int, default=5)
    parser.add_argument("--synonyms", type=Path, help="LVIS categories, or lines of a,b,c")
    parser.add_argument("--vocabulary", type=Path, help="one name a line; needed for `tags`")
    parser.add_argument("--half", choices=("development", "test", "all"), default="all")
    parser.add_argument("--rounds", type=int, default=5, help="of the speed measurement")
    return parser.parse_args()


def half_of(caption_id: int) -> str:
    """Return which half a labelled caption is in: rules were written looking at odd ids only."""
    return "development" if caption_id % 2 else "test"


def development_images(rows: list[Any]) -> set[int]:
    """Return a random half of the images: rules were chosen looking at these only."""
    numbers = sorted(row["image_id"] for row in rows)
    return set(random.Random(HALVES_SEED).sample(numbers, len(numbers) // 2))


def measure_labels(rows: list[Any], per_image: int, synonyms: Path | None) -> dict[str, object]:
    """Compare tags found in the captions of an image with its object labels."""
    names = tuple(sorted({label for row in rows for label in row["labels"]}))
    groups = read_synonyms(synonyms) if synonyms else []
    vocabulary = Vocabulary(
        names=names,
        thresholds=np.full(len(names), 0.5, np.float32),
        kinds=("object",) * len(names),
        aliases=tuple(aliases_of(name, groups) for name in names),
    )
    parser = CaptionParser(vocabulary, widen=True)
    right, wrong, missed = Counter[str](), Counter[str](), Counter[str]()
    texts = [
        (image, text) for image, row in enumerate(rows) for text in row["captions"][:per_image]
    ]
    found = parser.parse([text for _, text in texts], [image for image, _ in texts])
    tags = iter(found["tags"].to_pylist())
    for row in rows:
        got = {tag for _ in row["captions"][:per_image] for tag in next(tags)}
        right.update(got & set(row["labels"]))
        wrong.update(got - set(row["labels"]))
        missed.update(set(row["labels"]) - got)
    classes = {name: rates(right[name], wrong[name], missed[name]) for name in names}
    others = [name for name in names if name != "person"]
    recalls = [right[n] / (right[n] + missed[n]) for n in names if right[n] + missed[n]]
    return {
        **rates(right.total(), wrong.total(), missed.total()),
        "without_person": rates(*(sum(c[n] for n in others) for c in (right, wrong, missed))),
        "macro_recall": round(statistics.mean(recalls), 4),
        "per_image": per_image,
        "synonyms": synonyms.name if synonyms else None,
        "per_class": classes,
    }


def read_synonyms(path: Path) -> list[set[str]]:
    """Return groups of names of one thing."""
    if path.suffix == ".json":
        return [set(map(_plain, row["synonyms"])) for row in json.loads(path.read_text("utf-8"))]
    return [set(map(_plain, line.split(","))) for line in path.read_text("utf-8").splitlines()]


def _plain(name: str) -> str:
    return re.sub(r"\(.*?\)", "", name.replace("_", " ")).strip().lower()


def aliases_of(name: str, groups: list[set[str]]) -> tuple[str, ...]:
    """Return what the groups with this name call it besides."""
    joined = name.replace(" ", "")
    own = [group for group in groups if joined in {other.replace(" ", "") for other in group}]
    return tuple(sorted({other for group in own for other in group} - {name}))


def measure_labelled(rows: list[Any], vocabulary_path: Path | None) -> dict[str, object]:
    """Compare with hand labels by kind; a name that is not in the vocabulary cannot be found."""
    if vocabulary_path is None:
        raise SystemExit("--vocabulary is needed for captions labelled by hand.")
    parser = CaptionParser(plain_vocabulary(read_names(vocabulary_path)))
    right, wrong, missed = Counter[str](), Counter[str](), Counter[str]()
    absent, absent_given = 0, 0
    parsed = parser.parse([row["caption"] for row in rows]).to_pylist()
    for row, found in zip(rows, parsed, strict=True):
        got = set(zip(found["tags"], map(_group, found["kinds"]), strict=True))
        used = set()
        free = set(row["optional"])
        for tag in row["tags"]:
            accepted = {(name, _group(tag["kind"])) for name in (tag["name"], *tag.get("also", ()))}
            if not tag.get("in_ram", True):
                free |= {name for name, _ in accepted}
                continue
            used |= accepted & got
            (right if accepted & got else missed)[_group(tag["kind"])] += 1
        wrong.update(kind for name, kind in got - used if name not in free)
        absent += len(row["absent"])
        absent_given += len(set(row["absent"]) & {name for name, _ in got})
    kinds = ("thing", "attribute", "action")
    return {
        **rates(right.total(), wrong.total(), missed.total()),
        "per_class": {kind: rates(right[kind], wrong[kind], missed[kind]) for kind in kinds},
        "absent": absent,
        "absent_right": round(1 - absent_given / max(1, absent), 4),
    }


def _group(kind: str) -> str:
    return GROUPS.get(kind, kind)


def rates(right: int, wrong: int, missed: int) -> dict[str, float]:
    """Return precision and recall with their counts."""
    return {
        "precision": round(right / max(1, right + wrong), 4),
        "recall": round(right / max(1, right + missed), 4),
        "right": right,
        "wrong": wrong,
        "missed": missed,
    }


def plain_vocabulary(names: Sequence[str]) -> Vocabulary:
    """Return a vocabulary of bare names."""
    return Vocabulary(names=tuple(names), thresholds=np.full(len(names), 0.5, np.float32))


def read_names(path: Path | None) -> list[str]:
    """Return the names of a list, one a line; none without a list."""
    lines = path.read_text("utf-8").splitlines() if path else []
    return [line.strip() for line in lines if line.strip()]


def phrases(path: Path | None) -> list[str]:
    """Return NUM_PHRASES names: the list's, then the lexicon's compounds and nouns."""
    lexicon = load_lexicon()
    names = dict.fromkeys(name.lower() for name in read_names(path))
    for compound in lexicon.compounds():
        for name in (compound, compound.split()[0]):
            if len(names) < NUM_PHRASES and len(name) > 2:
                names.setdefault(name)
    return list(names)[:NUM_PHRASES]


def measure_speed(captions: list[str], path: Path | None, rounds: int) -> dict[str, object]:
    """Time the parser with and without evidence, and bare matching, in turn; medians.

    Times are CPU seconds of this one thread: what else runs on the machine does not count.
    """
    names = phrases(path)
    repeated = (captions * (20_000 // len(captions) + 1))[: max(20_000, len(captions))]
    lowered = [text.lower() for text in repeated]
    started = time.process_time()
    parser = CaptionParser(plain_vocabulary(names))
    made_s = time.process_time() - started
    runs: dict[str, Callable[[list[str]], object]] = {
        "bare_pyahocorasick": bare_pyahocorasick(names),
        "bare_ahocorasick_rs": bare_ahocorasick_rs(names),
        "captions_per_s": parser.parse,
        "captions_per_s_with_evidence": parser.parse_with_evidence,
    }
    started = time.process_time()
    _in_batches(parser.parse, repeated)
    first_pass = len(repeated) / (time.process_time() - started)
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.process_time()
            _in_batches(run, lowered if name.startswith("bare") else repeated)
            speeds[name].append(len(repeated) / (time.process_time() - started))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    bare = max(medians["bare_pyahocorasick"], medians["bare_ahocorasick_rs"])
    return {
        **{name: round(value) for name, value in medians.items()},
        "captions_per_s_first_pass": round(first_pass),
        "share_of_faster_bare": round(medians["captions_per_s"] / bare, 3),
        "share_with_evidence": round(medians["captions_per_s_with_evidence"] / bare, 3),
        "share_first_pass": round(first_pass / bare, 3),
        "phrases": len(names),
        "parser_made_s": round(made_s, 2),
    }


def bare_pyahocorasick(names: list[str]) -> Callable[[list[str]], object]:
    """Return a matcher that lists every occurrence of every phrase, inside words too."""
    import ahocorasick

    automaton = ahocorasick.Automaton()
    for index, name in enumerate(names):
        automaton.add_word(name, index)
    automaton.make_automaton()
    return lambda captions: [list(automaton.iter(caption)) for caption in captions]


def bare_ahocorasick_rs(names: list[str]) -> Callable[[list[str]], object]:
    """Return a matcher of the leftmost longest phrases, inside words too."""
    import ahocorasick_rs

    kind = ahocorasick_rs.MatchKind.LeftmostLongest
    automaton = ahocorasick_rs.AhoCorasick(names, matchkind=kind)
    return lambda captions: [automaton.find_matches_as_indexes(caption) for caption in captions]


def _in_batches(run: Callable[[list[str]], object], captions: list[str]) -> None:
    for start in range(0, len(captions), BATCH_CAPTIONS):
        run(captions[start : start + BATCH_CAPTIONS])


def hardware() -> str:
    """Return the processor and Python."""
    return f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
