"""Make the package's word tables from a WordNet 3.0 `dict` folder.

    python -m research.lexicon.build_lexicon /usr/share/wordnet

Writes the tables of ram_ray/labels/lexicon/; the same input gives the same files. Left out: proper
names (instances and capitalised lemmas), lemmas of more than four words.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from research.lexicon.lexicon_definitions import (
    Synset,
    equipment,
    parts,
    used_offsets,
    with_food,
    young,
)

OUTPUT = Path(__file__).parents[2] / "ram_ray" / "labels" / "lexicon"

PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
SENSE_TYPE = {1: "n", 2: "v", 3: "a", 4: "r", 5: "a"}  # of sense keys; 5 is an adjective satellite
NOUN_FILES = (
    "tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication",
    "event", "feeling", "food", "group", "location", "motive", "object", "person", "phenomenon",
    "plant", "possession", "process", "quantity", "relation", "shape", "state", "substance",
    "time",
)  # fmt: skip
"""WordNet's lexicographer files 03 to 28: the category of a noun synset."""
OFFENSIVE = re.compile(
    r"ethnic slur|(offensive|disparaging|derogatory|obscene|vulgar|insulting) (term|name|word)"
    r"|\((offensive|disparaging|derogatory|obscene|vulgar)"
)
"""What WordNet's glosses say of slurs, disparagements and obscenities."""
MAX_WORDS = 4
MAX_SENSES = 4
"""Senses kept of a noun: beyond the fourth, none is what a caption means."""


def main(folder: Path) -> None:
    """Write the three tables."""
    counts = read_counts(folder / "cntlist.rev")
    sense_counts = read_sense_counts(folder / "cntlist.rev")
    synsets = read_noun_synsets(folder / "data.noun")
    words: dict[str, dict[str, object]] = {}
    for part, letter in PARTS.items():
        for lemma, offsets in read_index(folder / f"index.{part}"):
            row = words.setdefault(lemma, {"lemma": lemma, "senses": [], "offensive": False})
            row[part] = counts.get((lemma, letter), 0)
            if part == "noun":
                numbered = [
                    (number, offset)
                    for number, offset in enumerate(offsets, start=1)
                    if not synsets[offset].is_instance
                ]
                kept = numbered[:MAX_SENSES]
                row["senses"] = [offset for _, offset in kept]
                num_offensive = sum(lemma in synsets[offset].offensive for offset in offsets)
                row["offensive"] = 2 * num_offensive > len(offsets)
                row["sense_counts"] = [sense_counts.get((lemma, number), 0) for number, _ in kept]
                if not kept:
                    del row[part]
    write(
        sorted(filter(is_kept, words.values()), key=lambda row: str(row["lemma"])),
        synsets,
        sorted(set(read_irregular(folder))),
    )


def is_kept(word: dict[str, object]) -> bool:
    """Tell whether a word has a part of speech left; slurs stay, to be known as such."""
    return bool(word["offensive"]) or any(part in word for part in PARTS)


def write(
    words: list[dict[str, object]], synsets: dict[int, Synset], irregular: list[tuple[str, ...]]
) -> None:
    """Write the tables; synsets are numbered by their row."""
    used = used_offsets(synsets)
    row_of = {offset: row for row, offset in enumerate(used)}
    known = {str(word["lemma"]) for word in words}
    for word in words:
        word["senses"] = [row_of[offset] for offset in word["senses"]]  # pyright: ignore
    word_schema = pa.schema(
        [("lemma", pa.string())]
        + [(part, pa.int16()) for part in PARTS]
        + [("senses", pa.list_(pa.int32())), ("sense_counts", pa.list_(pa.int16()))]
        + [("offensive", pa.bool_())]
    )
    pq.write_table(
        pa.Table.from_pylist(words, word_schema), OUTPUT / "words.parquet", compression="zstd"
    )
    kept = [synsets[offset] for offset in used]
    table = {
        "lemmas": [[lemma for lemma in synset.lemmas if lemma in known] for synset in kept],
        "category": pa.array([synset.category for synset in kept]).dictionary_encode(),
        "hypernyms": pa.array(
            [[row_of[up] for up in synset.hypernyms if up in row_of] for synset in kept],
            pa.list_(pa.int32()),
        ),
        "offset": pa.array(used, pa.int32()),
    }
    pq.write_table(pa.table(table), OUTPUT / "synsets.parquet", compression="zstd")
    write_pairs("equipment", {"activity": pa.int32(), "thing": pa.int32()}, [
        (row_of[activity], row_of[thing])
        for activity, thing in equipment(synsets, words)
        if activity in row_of and thing in row_of
    ])  # fmt: skip
    write_pairs("with_food", {"thing": pa.int32()}, [
        (row_of[thing],) for thing in with_food(synsets, words) if thing in row_of
    ])  # fmt: skip
    write_pairs("young", {"animal": pa.int32(), "kind": pa.string()}, [
        (row_of[animal], kind) for animal, kind in young(synsets, words) if animal in row_of
    ])  # fmt: skip
    write_pairs("parts", {"noun": pa.string(), "part": pa.string()}, sorted(parts(synsets, words)))
    columns = zip(*irregular, strict=True)
    names = ("form", "lemma", "part")
    pq.write_table(
        pa.table(dict(zip(names, map(list, columns), strict=True))),
        OUTPUT / "irregular.parquet",
        compression="zstd",
    )


def write_pairs(
    name: str, columns: dict[str, pa.DataType], pairs: Sequence[tuple[object, ...]]
) -> None:
    """Write a table of one or two columns, each row once."""
    schema = pa.schema(list(columns.items()))
    rows = [dict(zip(columns, pair, strict=True)) for pair in dict.fromkeys(pairs)]
    table = pa.Table.from_pylist(rows, schema)
    pq.write_table(table, OUTPUT / f"{name}.parquet", compression="zstd")


def read_counts(path: Path) -> dict[tuple[str, str], int]:
    """Return how often each lemma was met as each part of speech in WordNet's tagged texts."""
    counts: dict[tuple[str, str], int] = {}
    for line in path.read_text(encoding="ascii").splitlines():
        key, _, count = line.split()
        lemma, _, sense = key.partition("%")
        part = SENSE_TYPE[int(sense[0])]
        where = (lemma.replace("_", " "), part)
        counts[where] = counts.get(where, 0) + int(count)
    return counts


def read_sense_counts(path: Path) -> dict[tuple[str, int], int]:
    """Return how often each noun was met in its first, second, ... sense; senses from 1."""
    counts: dict[tuple[str, int], int] = {}
    for line in path.read_text(encoding="ascii").splitlines():
        key, number, count = line.split()
        lemma, _, sense = key.partition("%")
        if SENSE_TYPE[int(sense[0])] == "n":
            counts[lemma.replace("_", " "), int(number)] = min(int(count), 32767)
    return counts


def read_index(path: Path) -> Iterator[tuple[str, list[int]]]:
    """Yield lemma and synset offsets, most frequent sense first."""
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith(" "):  # the licence
            continue
        fields = line.split()
        lemma = fields[0].replace("_", " ")
        if lemma.count(" ") < MAX_WORDS and not any(map(str.isdigit, lemma)):
            yield lemma, [int(offset) for offset in fields[-int(fields[2]) :]]


def read_noun_synsets(path: Path) -> dict[int, Synset]:
    """Return the noun synsets by offset; capitalised lemmas are left out of `lemmas`."""
    synsets: dict[int, Synset] = {}
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith(" "):
            continue
        data, _, gloss = line.partition("|")
        fields = data.split()
        num_lemmas = int(fields[3], 16)
        lemmas = [fields[4 + 2 * n].replace("_", " ") for n in range(num_lemmas)]
        at = 4 + 2 * num_lemmas
        pointers = fields[at + 1 : at + 1 + 4 * int(fields[at])]
        hypernyms = [int(pointers[n + 1]) for n in range(0, len(pointers), 4) if pointers[n] == "@"]
        lower = [lemma for lemma in lemmas if lemma == lemma.lower()]
        synsets[int(fields[0])] = Synset(
            category=NOUN_FILES[int(fields[1]) - 3],
            lemmas=lower,
            offensive=[lemma.lower() for lemma in lemmas] if OFFENSIVE.search(gloss) else [],
            hypernyms=hypernyms,
            is_instance="@i" in pointers[::4] or not lower,
            definition=gloss.split('; "')[0].strip(),
        )
    return synsets


def read_irregular(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (form, lemma, part of speech) of WordNet's exception lists."""
    for part in PARTS:
        for line in (folder / f"{part}.exc").read_text(encoding="ascii").splitlines():
            form, *lemmas = line.split()
            for lemma in lemmas:
                if "_" not in form and form != lemma:
                    yield form, lemma, part


if __name__ == "__main__":
    main(Path(sys.argv[1]))
