"""Label system builder: tags, coverage, leave-one-list-out, and merges to judge by reading.

    python benchmarks/label_system.py --shared ../shared
    python benchmarks/label_system.py --shared ../shared --merges merges.tsv --seed 7

Prints JSON. Builds from Flickr8k's training captions and the lists of the acceptance data, which is
no part of the repository. `--merges` writes 200 merges, drawn with the seed from every alias of the
full build, for a person to judge; nothing in this script judges them.
"""

import argparse
import dataclasses
import hashlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ram_ray.labels.builder.build import build_vocabulary
from ram_ray.labels.builder.config import BuildConfig, ListConfig
from ram_ray.labels.builder.coverage import NameIndex, coverage_of
from ram_ray.labels.builder.overlay import overlay
from ram_ray.labels.builder.result import Build
from ram_ray.labels.builder.sources import CaptionTexts, frequencies, read_lists
from ram_ray.labels.lexicon import load_lexicon
from ram_ray.labels.parser.discovery import discover
from ram_ray.labels.vocabulary_files import read_vocabulary

# The class names of PASCAL VOC 2007-2012; the acceptance data has its labels by number only.
VOC = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
    "person pottedplant sheep sofa train tvmonitor"
).split()
RAM_SIZE = 6_449  # tags of RAM before its synonyms were merged, paper section 3.1
TAG2TEXT_ENDS = (3_012, 3_252)  # its list: objects and scenes, then actions, then attributes


def main() -> None:
    """Run the builds and print their figures."""
    options = _parse()
    data = options.shared / "data"
    if not data.is_dir():
        sys.exit(f"--shared is {options.shared}, but holds no folder `data`: nothing to measure.")
    with tempfile.TemporaryDirectory() as folder:
        lists = list_configs(data / "labels", Path(folder))
        found = discover(CaptionTexts([str(data / "flickr8k_train")], lambda problem: None))
        bench = Bench(Path(folder), data, found, lists)
        full, figures = bench.full()
        if options.merges:
            write_merges(full, options.merges, options.num_merges, options.seed)
        print(
            json.dumps(
                {
                    "full": figures,
                    "without_coco_and_voc": bench.left_out({"coco", "voc"}),
                    "without_coco_voc_and_ram_lists": bench.left_out({"coco", "voc", *OF_RAM}),
                    "ram_names_held": bench.ram_names_held(),
                    "kinds_of_ram_names": bench.kinds_of_ram_names(),
                    "decisions_after_a_changed_corpus": bench.decisions_survive(),
                },
                indent=1,
            )
        )


OF_RAM = ("ram", "tag2text", "openimages-common", "openimages-rare", "imagenet-multi")
"""Lists that RAM's authors wrote; HICO's interactions are HICO's own."""


def list_configs(labels: Path, folder: Path) -> list[ListConfig]:
    """Return the lists; VOC and ImageNet-1k are written to `folder` first."""
    (folder / "voc.txt").write_text("\n".join(VOC) + "\n", encoding="utf-8")
    words = labels / "imagenet_synset_to_lemma.txt"
    by_synset = dict(line.split("\t", 1) for line in words.read_text("utf-8").splitlines())
    synsets = (labels / "imagenet1k_synsets.txt").read_text("utf-8").split()
    lines = [f"{synset}\t{by_synset[synset]}" for synset in synsets]
    (folder / "imagenet1k.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ram = labels / "ram"
    given: list[tuple[Path, dict[str, Any]]] = [
        (labels / "coco_80.names", {"name": "coco", "kind": "object"}),
        (folder / "voc.txt", {"name": "voc", "kind": "object"}),
        (labels / "lvis_v0_5_categories.json", {"name": "lvis", "kind": "object"}),
        (folder / "imagenet1k.txt", {"name": "imagenet-1k"}),
        (words, {"name": "imagenet-21k", "cover": False}),
        (labels / "vg_objects_1600.txt", {"name": "vg-objects"}),
        (labels / "vg_attributes_400.txt", {"name": "vg-attributes", "kind": "attribute"}),
        (labels / "scene_nouns.txt", {"name": "scene-nouns", "kind": "scene"}),
        (ram / "hico" / "hico_600_taglist.txt", {"name": "hico"}),
        (ram / "ram_tag_list.txt", {"name": "ram"}),
        (ram / "tag2text_ori_tag_list.txt", {"name": "tag2text"}),
        (_only(ram / "openimages_common_214"), {"name": "openimages-common"}),
        (_only(ram / "openimages_rare_200"), {"name": "openimages-rare"}),
        (_only(ram / "imagenet_multi"), {"name": "imagenet-multi"}),
    ]
    return [ListConfig(path=str(path), **options) for path, options in given]


def _only(folder: Path) -> Path:
    (path,) = folder.glob("*_taglist.txt")
    return path


@dataclasses.dataclass
class Bench:
    """Builds from one discovery of the captions."""

    folder: Path
    data: Path
    found: pa.Table
    lists: Sequence[ListConfig]

    def build(self, output: str, lists: Sequence[ListConfig], **settings: Any) -> Build:
        """Build into a folder of the run; `found` stands for the captions."""
        settings = {"captions": (str(self.data / "captions"),)} | settings
        config = BuildConfig(output=str(self.folder / output), lists=tuple(lists), **settings)
        return build_vocabulary(config, lambda captions: self.found)

    def full(self) -> tuple[Build, dict[str, Any]]:
        """Build from everything, twice."""
        start = time.perf_counter()
        build = self.build("full", self.lists)
        seconds = time.perf_counter() - start
        self.build("again", self.lists[::-1])
        hashes = [
            hashlib.sha256((self.folder / name / "vocabulary.parquet").read_bytes()).hexdigest()
            for name in ("full", "again")
        ]
        tags = build.tags
        return build, {
            "num_tags": len(tags),
            "by_kind": dict(Counter(tag.kind for tag in tags)),
            "said_in_captions": sum(tag.frequency > 0 for tag in tags),
            "only_from_captions": sum(tag.sources == ["captions"] for tag in tags),
            "aliases_by_reason": dict(Counter(a.reason for tag in tags for a in tag.aliases)),
            "tags_with_parents": sum(bool(above) for above in build.parents),
            "proposals": len(build.proposals),
            "problems_reported": len(build.problems),
            "coverage": coverage(build),
            "seconds_without_reading_captions": round(seconds, 1),
            "sha256": hashes[0],
            "two_builds_identical": hashes[0] == hashes[1],
        }

    def left_out(self, names: set[str]) -> dict[str, Any]:
        """Build without some lists and return how much of each of them is covered."""
        kept = [one for one in self.lists if one.name not in names]
        build = self.build("-".join(sorted(names)), kept)
        index = index_of(build)
        left = read_lists(
            [one for one in self.lists if one.name in names], load_lexicon(), lambda problem: None
        )
        found = {source.name: coverage_of(source, index) for source in left}
        return {
            "num_tags": len(build.tags),
            "coverage": {
                name: {"share": round(one.share, 4), "missing": list(one.missing[:12])}
                for name, one in found.items()
            },
        }

    def ram_names_held(self) -> dict[str, Any]:
        """Build 6,449 tags without RAM's lists and return how many of RAM's names they hold."""
        kept = [one for one in self.lists if one.name not in OF_RAM]
        build = self.build("ram-size", kept, max_tags=RAM_SIZE)
        lexicon = load_lexicon()
        (ram,) = read_lists(
            [one for one in self.lists if one.name == "ram"], lexicon, lambda problem: None
        )
        own = {tag.name for tag in build.tags}
        exact = sum(entry.names[0].text in own for entry in ram.entries)
        any_name = coverage_of(ram, index_of(build))
        return {
            "num_tags": len(build.tags),
            "ram_names": any_name.num_entries,
            "held_under_the_very_name": round(exact / any_name.num_entries, 4),
            "held_under_any_name_or_inflection": round(any_name.share, 4),
        }

    def kinds_of_ram_names(self) -> dict[str, Any]:
        """Derive kinds for RAM's list and compare with Tag2Text's, where it has the name."""
        labels = self.data / "labels" / "ram"
        vocabulary = read_vocabulary(labels / "ram_tag_list.txt")
        used = [one for one in self.lists if one.name not in OF_RAM]
        lists = read_lists(used, load_lexicon(), lambda problem: None)
        made = overlay(vocabulary, lists, frequencies(self.found), load_lexicon())
        told: dict[str, set[str]] = {}
        lines = (labels / "tag2text_ori_tag_list.txt").read_text("utf-8").splitlines()
        for number, name in enumerate(lines):
            kind = sum(number >= end for end in TAG2TEXT_ENDS)
            told.setdefault(name.strip(), set()).add(("thing", "action", "attribute")[kind])
        simple = [{"object": "thing", "scene": "thing"}.get(kind, kind) for kind in made.kinds]
        both = [
            (kind, told[name])
            for name, kind in zip(made.names, simple, strict=True)
            if name in told
        ]
        return {
            "by_kind": dict(Counter(made.kinds)),
            "with_aliases": sum(map(bool, made.aliases)),
            "with_parents": sum(map(bool, made.parents)),
            "names_in_both": len(both),
            "same_kind": round(sum(kind in kinds for kind, kinds in both) / len(both), 4),
        }

    def decisions_survive(self) -> dict[str, Any]:
        """Decide, build, halve the captions' words, rebuild; return what holds before and after."""
        output = self.folder / "decided"
        output.mkdir()
        lines = "accept lighthouse keeper\nreject dog\nmerge puppy into toddler\n"
        (output / "decisions.txt").write_text(lines, encoding="utf-8")
        kept = [one for one in self.lists if one.name in ("lvis", "vg-objects")]
        holds: list[bool] = []
        whole = self.found
        try:
            for found in (whole, whole.take(list(range(0, whole.num_rows, 2)))):
                self.found = found
                index = index_of(self.build("decided", kept))
                merged = index.find("puppy") is not None
                merged = merged and index.find("puppy") == index.find("toddler")
                holds.append(
                    merged and index.find("dog") is None
                    and index.find("lighthouse keeper") is not None
                )  # fmt: skip
        finally:
            self.found = whole
        return {"hold_before": holds[0], "hold_after": holds[1]}


def coverage(build: Build) -> dict[str, Any]:
    """Return covered, entries and share of each list of a build."""
    return {
        one.list_name: [one.num_covered, one.num_entries, round(one.share, 4)]
        for one in build.coverage
    }


def index_of(build: Build) -> NameIndex:
    """Return a look-up of a build's tags by any of their names."""
    names = [[tag.name, *(alias.text for alias in tag.aliases)] for tag in build.tags]
    return NameIndex(names, load_lexicon())


def write_merges(build: Build, path: Path, count: int, seed: int) -> None:
    """Write a sample of the aliases of all tags: alias, name, kind, reason, evidence."""
    merges = [
        (alias.text, tag.name, tag.kind, alias.reason, alias.evidence)
        for tag in build.tags
        for alias in tag.aliases
        if alias.reason != "renamed"  # the same word in the -ing form: nothing to judge
    ]
    drawn = random.Random(seed).sample(merges, count)
    path.write_text("".join("\t".join(row) + "\n" for row in drawn), encoding="utf-8")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--merges", type=Path, help="file for a sample of merges")
    parser.add_argument("--num-merges", type=int, default=200)
    parser.add_argument("--seed", type=int, default=20261125)
    return parser.parse_args()


if __name__ == "__main__":
    main()
