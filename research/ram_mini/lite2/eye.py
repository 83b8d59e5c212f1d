"""Are shown tags right, by eye: draw pairs of photo and tag, lay them out, score the readings.

    python -m research.ram_mini.lite2.eye draw --data ../shared/data --old OLD --new NEW --out EYE
    python -m research.ram_mini.lite2.eye score --out EYE --reading EYE/reader1.csv EYE/reader2.csv

`draw` writes EYE/sheets/*.png (twelve numbered photos each, the tag below), EYE/pairs.csv (number,
tag) and EYE/key.csv with its sha256, which is committed before anybody reads. The pairs of both
models are shuffled; a pair that both show is read once. One in ten is planted: a tag of another
photo that nothing speaks for here. A reading is a CSV of number,answer or a
JSON object from number to answer: right, wrong or cannot tell (which counts as wrong).
"""

import argparse
import csv
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ram_model.vocabulary import Vocabulary
from research.ram_mini.lite2.measure import scores_of
from research.ram_mini.lite2.photos import LOOSE_GROUPS, TEST_TARS, Photo, read_photos

SEED = 20261130  # the first reading, of a model that was not shipped, drew with 20261129
PAIRS_PER_SOURCE = 150  # of each model
SOURCES = {
    "coco_mini": ("coco_mini",),
    "flickr8k": (*(f"flickr_{n}" for n in TEST_TARS), "flickr8k_224"),
}
PLANTED_SHARE = 0.1
LEAST_SCORE_OF_PLANT = 0.02  # a plant scores below it by both models that know the tag
COLUMNS, ROWS, CELL_PX, TEXT_PX = 4, 3, 320, 46
ANSWERS = ("right", "wrong", "cannot tell")
LEAST_PLANTS_FOUND = 0.9
DRAWS = 1000


class Pair(NamedTuple):
    """A photo and a tag to look at."""

    source: str
    photo: str
    tag: str
    models: str
    """old, new, both or planted."""


def most_specific(vocabulary: Vocabulary, tag_ids: list[int]) -> list[int]:
    """Return the tags that have none of the others below them."""
    covered: set[int] = set()
    for tag in tag_ids:
        level = list(vocabulary.parents[tag])
        while level:
            parent = level.pop()
            if parent not in covered:
                covered.add(parent)
                level.extend(vocabulary.parents[parent])
    return [tag for tag in tag_ids if tag not in covered]


def shown_by(folder: Path, photos: list[Photo]) -> tuple[list[list[str]], list[dict[str, float]]]:
    """Return the most specific tags that a model shows on each photo, and all its scores."""
    vocabulary, scores = scores_of(folder, photos)
    shown = []
    for row in scores:
        fired = np.flatnonzero(row > vocabulary.thresholds)
        best_first = fired[np.argsort(-row[fired], kind="stable")].tolist()
        kept = most_specific(vocabulary, best_first)
        shown.append([vocabulary.names[tag] for tag in kept])
    return shown, [dict(zip(vocabulary.names, row.tolist(), strict=True)) for row in scores]


def draw_pairs(
    photos: list[Photo], old: Path, new: Path, random: np.random.Generator
) -> list[Pair]:
    """Return the pairs to read, shuffled, with the plants among them."""
    groups = {group: source for source, own in SOURCES.items() for group in own}
    results = {"old": shown_by(old, photos), "new": shown_by(new, photos)}
    taken: dict[tuple[int, str], set[str]] = {}
    for source in SOURCES:
        mine = [n for n, photo in enumerate(photos) if groups[photo.group] == source]
        order = random.permutation(mine).tolist()
        for model, (shown, _) in results.items():
            pairs = [(number, tag) for number in order for tag in shown[number]]
            for pair in pairs[:PAIRS_PER_SOURCE]:
                taken.setdefault(pair, set()).add(model)
    pairs = [
        Pair(
            groups[photos[n].group], photos[n].name, tag, "both" if len(by) > 1 else next(iter(by))
        )
        for (n, tag), by in taken.items()
    ]
    pairs += _plants(photos, taken, [found for _, found in results.values()], groups, random)
    return [pairs[at] for at in random.permutation(len(pairs))]


def _plants(
    photos: list[Photo],
    taken: dict[tuple[int, str], set[str]],
    scores: list[list[dict[str, float]]],
    groups: dict[str, str],
    random: np.random.Generator,
) -> list[Pair]:
    """Return tags of other photos that neither model, caption nor label speaks for."""
    numbers, tags = (sorted({pair[at] for pair in taken}) for at in (0, 1))
    wanted, plants = round(len(taken) * PLANTED_SHARE / (1 - PLANTED_SHARE)), []
    while len(plants) < wanted:
        number, tag = int(random.choice(numbers)), str(random.choice(tags))
        photo = photos[number]
        said = " ".join([*photo.captions, *photo.labels]).lower()
        known = [found[number][tag] for found in scores if tag in found[number]]
        if len(known) == 0 or max(known) > LEAST_SCORE_OF_PLANT or tag in said:
            continue
        pair = Pair(groups[photo.group], photo.name, tag, "planted")
        if pair not in plants:
            plants.append(pair)
    return plants


def draw(data: Path, old: Path, new: Path, out: Path) -> dict:
    """Write sheets, pairs and key; return how many and the key's hash."""
    wanted = {group for groups in SOURCES.values() for group in groups}
    photos = [photo for photo in read_photos(data) if photo.group in wanted]
    random = np.random.default_rng(SEED)
    # of Flickr8k only as many as may be needed: every photo costs both models' time
    flickr = [n for n, photo in enumerate(photos) if photo.group not in LOOSE_GROUPS[:1]]
    dropped = set(random.permutation(flickr)[150:].tolist())
    photos = [photo for n, photo in enumerate(photos) if n not in dropped]
    pairs = draw_pairs(photos, old, new, random)
    (out / "sheets").mkdir(parents=True, exist_ok=True)
    images = {photo.name: photo for photo in photos}
    per_sheet = COLUMNS * ROWS
    for start in range(0, len(pairs), per_sheet):
        part = pairs[start : start + per_sheet]
        sheet = _sheet([(start + at + 1, images[p.photo], p.tag) for at, p in enumerate(part)])
        sheet.save(out / f"sheets/sheet_{start // per_sheet + 1:02d}.png")
    numbered = list(enumerate(pairs, start=1))
    _write_csv(out / "pairs.csv", ("number", "tag"), [(n, p.tag) for n, p in numbered])
    _write_csv(out / "key.csv", ("number", *Pair._fields), [(n, *p) for n, p in numbered])
    digest = hashlib.sha256((out / "key.csv").read_bytes()).hexdigest()
    counts = {m: sum(p.models == m for p in pairs) for m in ("old", "new", "both", "planted")}
    return {"pairs": len(pairs), **counts, "key_sha256": digest}


def _sheet(cells: list[tuple[int, Photo, str]]) -> Image.Image:
    font = ImageFont.load_default(size=26)
    sheet = Image.new("RGB", (COLUMNS * CELL_PX, ROWS * (CELL_PX + TEXT_PX)), "white")
    pen = ImageDraw.Draw(sheet)
    for at, (number, photo, tag) in enumerate(cells):
        row, column = divmod(at, COLUMNS)
        left, top = column * CELL_PX, row * (CELL_PX + TEXT_PX)
        image = photo.image()
        ratio = (CELL_PX - 8) / max(image.size)
        image = image.resize([max(1, round(side * ratio)) for side in image.size])
        sheet.paste(image, (left + (CELL_PX - image.width) // 2, top + 4))
        pen.text((left + 8, top + CELL_PX + 4), f"{number}: {tag}", fill="black", font=font)
    return sheet


def score(out: Path, readings: list[Path]) -> dict:
    """Return the rates of both readings, their agreement, and the plants found."""
    with (out / "key.csv").open() as file:
        key = {int(row["number"]): row for row in csv.DictReader(file)}
    answers = [_read(path, key) for path in readings]
    planted = [n for n, row in key.items() if row["models"] == "planted"]
    result: dict[str, object] = {}
    for path, given in zip(readings, answers, strict=True):
        found = float(np.mean([given[n] != "right" for n in planted]))
        result[path.stem] = {"plants_found": found, "valid": found >= LEAST_PLANTS_FOUND}
    shown = [n for n in key if n not in planted]
    for model in ("old", "new"):
        for source in (*SOURCES, "all"):
            mine = [
                n
                for n in shown
                if key[n]["models"] in (model, "both") and source in (key[n]["source"], "all")
            ]
            result[f"{model} {source}"] = [_rate(given, mine, key) for given in answers]
    if len(answers) == 2:
        first, second = (np.array([given[n] == "right" for n in shown]) for given in answers)
        chance = first.mean() * second.mean() + (1 - first.mean()) * (1 - second.mean())
        result["kappa"] = float(((first == second).mean() - chance) / (1 - chance))
    return result


def _rate(given: dict[int, str], numbers: list[int], key: dict[int, dict[str, str]]) -> dict:
    """Return the share of right tags, and a 95 % interval by resampling photos."""
    by_photo: dict[str, list[bool]] = {}
    for n in numbers:
        by_photo.setdefault(key[n]["photo"], []).append(given[n] == "right")
    groups = list(by_photo.values())
    random, rates = np.random.default_rng(0), []
    for _ in range(DRAWS):
        drawn = [groups[at] for at in random.integers(0, len(groups), len(groups))]
        rates.append(sum(map(sum, drawn)) / sum(map(len, drawn)))
    low, high = np.percentile(rates, (2.5, 97.5)).tolist()
    right = sum(given[n] == "right" for n in numbers) / len(numbers)
    return {"right": right, "interval": [low, high], "pairs": len(numbers)}


def _read(path: Path, key: dict[int, dict[str, str]]) -> dict[int, str]:
    """Return the answers of a reading.

    Raises:
        ValueError: an answer is missing, unknown, or of no pair.
    """
    with path.open() as file:
        if path.suffix == ".json":
            rows = json.load(file).items()
        else:
            rows = [(row["number"], row["answer"]) for row in csv.DictReader(file)]
        given = {int(number): answer.strip().lower() for number, answer in rows}
    if given.keys() != key.keys():
        raise ValueError(f"{path} answers {len(given)} pairs, but there are {len(key)}.")
    unknown = sorted(set(given.values()) - set(ANSWERS))
    if unknown:
        raise ValueError(f"{path} holds {unknown}, but must hold {', '.join(ANSWERS)}.")
    return given


def _write_csv(path: Path, header: tuple[str, ...], rows: list[tuple]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    drawing, scoring = commands.add_parser("draw"), commands.add_parser("score")
    for name in ("--data", "--old", "--new", "--out"):
        drawing.add_argument(name, type=Path, required=True)
    scoring.add_argument("--out", type=Path, required=True)
    scoring.add_argument("--reading", type=Path, nargs="+", required=True)
    a = parser.parse_args()
    done = draw(a.data, a.old, a.new, a.out) if a.command == "draw" else score(a.out, a.reading)
    print(json.dumps(done, indent=2))
