"""The words of ram-mini on Lite2, made by the label system from lists, and what teaches each.

    python -m research.ram_mini.lite2.vocabulary --data ../shared/data --output VOCABULARY

The lists: ImageNet's classes under everyday names (`class_names.txt`), what is above them
(`above.txt`), scenes (`scenes.txt`), COCO-80, and the words of the first ram-mini
(`ram_mini_tags.txt`). The label system merges synonyms, finds kinds and further parents. Chinese
names are those of RAM's list, where it has the name.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ram_model.vocabulary import OFF, Vocabulary, read_lines
from ram_ray.labels.builder.build import build_vocabulary
from ram_ray.labels.builder.config import BuildConfig, ListConfig
from research.ram_mini.prepare import TagLine, read_tags

HERE = Path(__file__).parent
COCO_SPELLING = {
    "motorbike": "motorcycle", "aeroplane": "airplane", "sofa": "couch",
    "pottedplant": "potted plant", "diningtable": "dining table", "tvmonitor": "tv",
}  # fmt: skip
NUM_CLASSES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The vocabulary, and which teacher says what about each tag. C tags, K classes."""

    vocabulary: Vocabulary
    above: np.ndarray
    """bool [C, C]: row c, column a: a is c or above it."""
    class_tags: np.ndarray
    """bool [1000, C]: the class is of the tag or of a tag below it."""
    detector_tags: np.ndarray
    """bool [80, C], likewise."""
    scene_parts: dict[int, list[int]]
    """Tags that make a scene likely, by the scene's id."""
    forms: list[frozenset[str]]
    """Single words of captions that mean the tag, from the first ram-mini's list."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all tags."""
        return self.vocabulary.names


def class_names(data: Path) -> list[str]:
    """Return the everyday name of each of ImageNet's classes."""
    folder = data / "labels/ram/imagenet_multi/imagenet_multi_1000_taglist.txt"
    names = [line.strip().lower() for line in read_lines(folder)]
    for line in read_lines(HERE / "class_names.txt"):
        if line.startswith("#"):
            continue
        ranges, name = line.split(": ")
        for part in ranges.split():
            first, _, last = part.partition("-")
            for number in range(int(first), int(last or first) + 1):
                names[number] = name
    return names


def coco_names(data: Path) -> list[str]:
    """Return COCO's 80 names in the detector's order, as COCO spells them."""
    names = [line.strip() for line in read_lines(data / "labels/coco_80.names")]
    return [COCO_SPELLING.get(name, name) for name in names]


def read_relations(file: str) -> dict[str, list[str]]:
    """Return `above.txt` or `scenes.txt`: a tag, then those below it or in it."""
    relations = {}
    for line in read_lines(HERE / file):
        if line and not line.startswith("#"):
            name, _, below = line.partition(":")
            relations[name.strip()] = [word.replace("_", " ") for word in below.split()]
    return relations


def write_list(data: Path, path: Path) -> None:
    """Write what is to become tags as a list for the label system, with kinds and parents."""
    above, scenes = read_relations("above.txt"), read_relations("scenes.txt")
    old = {tag.name: tag for tag in read_tags() if tag.shown}
    kinds = {name: tag.kind for name, tag in old.items()} | dict.fromkeys(scenes, "scene")
    things = [*class_names(data), *coco_names(data), *(n for n in above if n[0] != "!")]
    entries = []
    for name in dict.fromkeys([*old, *scenes, *things]):
        parents = [
            parent
            for parent, below in above.items()
            if name in below and parent != name and not parent.startswith("!")
        ]
        entries.append({"name": name, "kind": kinds.get(name, "object"), "parents": parents})
    path.write_text(json.dumps(entries, indent=0))


def build(data: Path, output: Path) -> Vocabulary:
    """Build the label system into a folder; return its vocabulary with Chinese names."""
    output.mkdir(parents=True, exist_ok=True)
    write_list(data, output / "wanted.json")
    config = BuildConfig(output=str(output), lists=(ListConfig(path=str(output / "wanted.json")),))
    build_vocabulary(config)
    built = as_wanted(Vocabulary.from_parquet(output / "vocabulary.parquet"), output)
    english = [name.strip().lower() for name in read_lines(data / "labels/ram/ram_tag_list.txt")]
    chinese = read_lines(data / "labels/ram/ram_tag_list_chinese.txt")
    known = dict(zip(english, chinese, strict=True))
    names_zh = [
        next((known[n].strip() for n in (name, *aliases) if n in known), "")
        for name, aliases in zip(built.names, built.aliases, strict=True)
    ]
    vocabulary = with_hidden(Vocabulary(
        names=built.names, thresholds=built.thresholds, names_zh=tuple(names_zh),
        kinds=built.kinds, aliases=built.aliases, parents=built.parents,
    ))  # fmt: skip
    vocabulary.to_parquet(output / "words.parquet")
    return vocabulary


def with_hidden(built: Vocabulary) -> Vocabulary:
    """Return the vocabulary and, after its tags, the words that the first ram-mini never showed.

    They are no everyday tags ("young", "wearing"), but captions often say them: `--tags` may ask
    for them, and they are scored. `thresholds` keeps them off.
    """
    hidden = [tag for tag in read_tags() if not tag.shown and not built.find(tag.name)]
    nothing = ((),) * len(hidden)
    return Vocabulary(
        names=(*built.names, *(tag.name for tag in hidden)),
        thresholds=np.concatenate([built.thresholds, np.full(len(hidden), OFF, np.float32)]),
        names_zh=(*built.names_zh, *("" for _ in hidden)),
        kinds=(*built.kinds, *(tag.kind for tag in hidden)),
        aliases=(*built.aliases, *nothing), parents=(*built.parents, *nothing),
    )  # fmt: skip


def as_wanted(built: Vocabulary, output: Path) -> Vocabulary:
    """Return the built vocabulary with names as they were wanted, and without wrong parents.

    The label system names actions and plurals by their lemma ("run", "ski"); the lemma stays as an
    alias of what people expect to read.
    """
    names, aliases = list(built.names), [list(row) for row in built.aliases]
    for entry in json.loads((output / "wanted.json").read_text()):
        wanted = entry["name"]
        if not built.find(wanted):
            found = [tag for lemma in _lemmas(wanted) for tag in built.find(lemma)]
            if found:
                aliases[found[0]].append(names[found[0]])
                names[found[0]] = wanted
    wrong = {
        (child, parent)
        for name, below in read_relations("above.txt").items()
        if name.startswith("!")
        for parent in built.find(name[1:])
        for child in _ids(built, below)
    }
    parents = [
        tuple(parent for parent in row if (tag, parent) not in wrong)
        for tag, row in enumerate(built.parents)
    ]
    return Vocabulary(
        names=tuple(names), thresholds=built.thresholds, kinds=built.kinds,
        aliases=tuple(map(tuple, aliases)), parents=tuple(parents),
    )  # fmt: skip


def _lemmas(word: str) -> list[str]:
    """Return what a word may be a form of: running, skis, feet."""
    stem = word.removesuffix("ing")
    forms = [word[:-1] if word.endswith("s") else word, *({"feet": ["foot"]}.get(word, []))]
    if stem != word:
        forms += [stem, f"{stem}e", stem[:-1], {"lying": "lie"}.get(word, stem)]
    return forms


def load_words(data: Path, output: Path) -> Words:
    """Return the built vocabulary and what teaches each tag."""
    vocabulary = Vocabulary.from_parquet(output / "words.parquet")
    above = _closure(vocabulary.parents)
    scenes = {
        vocabulary.find(scene)[0]: _ids(vocabulary, parts)
        for scene, parts in read_relations("scenes.txt").items()
        if vocabulary.find(scene)
    }
    # a shown tag's words last: they win where a hidden one is found under the same tag
    first = sorted(read_tags(), key=lambda tag: tag.shown)
    old = {tag_id: tag for tag in first for tag_id in vocabulary.find(tag.name)[:1]}
    forms = [_forms(old.get(tag), name) for tag, name in enumerate(vocabulary.names)]
    return Words(
        vocabulary,
        above,
        _tags_of(vocabulary, above, class_names(data)),
        _tags_of(vocabulary, above, coco_names(data)),
        scenes,
        forms,
    )


def _forms(tag: TagLine | None, name: str) -> frozenset[str]:
    if tag is not None:
        return tag.forms
    return frozenset({name, f"{name}s"}) if " " not in name and "-" not in name else frozenset()


def _tags_of(vocabulary: Vocabulary, above: np.ndarray, names: list[str]) -> np.ndarray:
    """Return bool [names, C]: the tags of a teacher's class, those above it included."""
    tags = np.zeros((len(names), len(vocabulary)), bool)
    for row, name in enumerate(names):
        for tag in vocabulary.find(name):
            tags[row] |= above[tag]
    return tags


def _ids(vocabulary: Vocabulary, names: Iterable[str]) -> list[int]:
    return sorted({tag for name in names for tag in vocabulary.find(name)})


def _closure(parents: tuple[tuple[int, ...], ...]) -> np.ndarray:
    above = np.eye(len(parents), dtype=bool)
    for _ in parents:
        before = above.copy()
        for tag, row in enumerate(parents):
            for parent in row:
                above[tag] |= above[parent]
        if (above == before).all():
            break
    return above


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    a = parser.parse_args()
    built = build(a.data, a.output)
    print(len(built), "tags,", sum(map(bool, built.names_zh)), "with a Chinese name")
