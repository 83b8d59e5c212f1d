"""Parse one shard of captions and commit it: the stage that Ray runs, testable without Ray."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa

from ram_ray.config import StoreConfig
from ram_ray.labels.captions.pieces import SaidOnce, read_piece
from ram_ray.labels.captions.rows import Caption
from ram_ray.labels.parser.caption_parser import CaptionParser
from ram_ray.labels.parsing.plan import read_pieces
from ram_ray.labels.problems import Problem
from ram_ray.labels.vocabulary_files import read_vocabulary
from ram_ray.runs.commits import Commit, commit_tables
from ram_ray.storage.stores import Store, open_store

VOCABULARY_KEY = "vocabulary.parquet"
"""The run's vocabulary, copied into its output."""
BATCH_CAPTIONS = 8_192
BESIDE = -1
"""Number, among the pieces of a shard, of all files that stand beside their images."""

IMAGES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),  # of the first caption
        pa.field("captions", pa.list_(pa.string()), nullable=False),
        pa.field("tag_ids", pa.list_(pa.int32()), nullable=False),  # parallel, first mention first
        pa.field("tags", pa.list_(pa.string()), nullable=False),
        pa.field("kinds", pa.list_(pa.string()), nullable=False),
        pa.field("counts", pa.list_(pa.int32()), nullable=False),  # captions that name the tag
    ]
)
PROBLEMS = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),  # from 1; 0: the file as a whole
        pa.field("error_code", pa.string(), nullable=False),  # Problem.error_code
        pa.field("message", pa.string(), nullable=False),
    ]
)
FREQUENCIES = pa.schema(
    [
        pa.field("tag_id", pa.int32(), nullable=False),
        pa.field("tag", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("images", pa.int64(), nullable=False),
        pa.field("captions", pa.int64(), nullable=False),
    ]
)
PAIRS = pa.schema(
    [
        pa.field("tag_a", pa.string(), nullable=False),  # tag_id_a < tag_id_b
        pa.field("tag_b", pa.string(), nullable=False),
        pa.field("tag_id_a", pa.int32(), nullable=False),
        pa.field("tag_id_b", pa.int32(), nullable=False),
        pa.field("images", pa.int64(), nullable=False),
    ]
)
EVIDENCE_ROWS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("caption", pa.int32(), nullable=False),  # index among the image's captions
        pa.field("tag_id", pa.int32(), nullable=False),
        pa.field("tag", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("surface", pa.string(), nullable=False),
    ]
)


@dataclass(slots=True)
class _Image:
    source: str
    line: int
    captions: list[str] = field(default_factory=list)
    tags: Counter[tuple[int, str, str]] = field(default_factory=Counter)


class ParseShard:
    """Turns rows with a `shard` number into committed shards and one summary row each."""

    def __init__(
        self,
        output: str,
        config: StoreConfig,
        widen: bool = False,
        with_evidence: bool = False,
        spacy: str | None = None,
    ) -> None:
        self._store: Store = open_store(output, config)
        self._config = config
        self._with_evidence = with_evidence
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / VOCABULARY_KEY
            path.write_bytes(self._store.read(VOCABULARY_KEY))
            self._parser = CaptionParser(read_vocabulary(path), widen=widen, spacy=spacy)

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Parse and commit each shard of the batch."""
        for shard in batch["shard"].to_pylist():
            commit, num_captions = self.parse(shard)
            counts = {"captions": num_captions, "images": commit.tagged}
            yield pa.table(
                {
                    "shard": [shard],
                    **{name: [count] for name, count in counts.items()},
                    "problems": [commit.quarantined],
                }
            )

    def parse(self, shard: int) -> tuple[Commit, int]:
        """Parse one shard; return the commit that counts and how many captions were parsed."""
        problems: list[Problem] = []
        images: dict[tuple[int, str], _Image] = {}
        evidence: list[dict[str, Any]] = []
        said_once = SaidOnce()
        for number, piece in enumerate(read_pieces(self._store, shard, self._config)):
            captions = list(said_once(piece, read_piece(piece, self._config, problems.append)))
            number = BESIDE if piece.images else number
            for some in batches(captions):
                self._add(number, some, images, evidence)
        tables = {
            "tags": _image_rows(images),
            "quarantine": _problem_rows(problems),
            "frequencies": _frequency_rows(images),
            "pairs": _pair_rows(images),
        }
        if self._with_evidence:
            tables["evidence"] = pa.Table.from_pylist(evidence, EVIDENCE_ROWS)
        codes = Counter(tables["quarantine"]["error_code"].to_pylist())
        commit = commit_tables(
            self._store, shard, tables, tagged=len(images), quarantined_by_code=codes
        )
        return commit, sum(len(image.captions) for image in images.values())

    def _add(
        self,
        piece: int,
        captions: list[Caption],
        images: dict[tuple[int, str], _Image],
        evidence: list[dict[str, Any]],
    ) -> None:
        texts = [caption.text for caption in captions]
        numbers: dict[str, int] = {}
        same = [numbers.setdefault(caption.image, len(numbers)) for caption in captions]
        parse = self._parser.parse_with_evidence if self._with_evidence else self._parser.parse
        for caption, row in zip(captions, parse(texts, same).to_pylist(), strict=True):
            image = images.setdefault((piece, caption.image), _Image(caption.source, caption.line))
            tags = zip(row["tag_ids"], row["tags"], row["kinds"], strict=True)
            image.tags.update(dict.fromkeys(tags, 1))
            if self._with_evidence:
                evidence += _evidence_rows(caption.image, len(image.captions), row)
            image.captions.append(caption.text)


def batches(captions: list[Caption], size: int = BATCH_CAPTIONS) -> Iterator[list[Caption]]:
    """Yield about `size` captions at a time; neighbours of one image stay together."""
    start = 0
    while start < len(captions):
        end = start + size
        while end < len(captions) and captions[end].image == captions[end - 1].image:
            end += 1
        yield captions[start:end]
        start = end


def _image_rows(images: dict[tuple[int, str], _Image]) -> pa.Table:
    rows = [
        {
            "image_id": image_id,
            "source": image.source,
            "line": image.line,
            "captions": image.captions,
            "tag_ids": [tag_id for tag_id, _, _ in image.tags],
            "tags": [tag for _, tag, _ in image.tags],
            "kinds": [kind for _, _, kind in image.tags],
            "counts": list(image.tags.values()),
        }
        for (_, image_id), image in images.items()
    ]
    return pa.Table.from_pylist(rows, IMAGES)


def _problem_rows(problems: list[Problem]) -> pa.Table:
    rows = [
        {
            "source": problem.source,
            "line": problem.line,
            "error_code": problem.error_code,
            "message": problem.message,
        }
        for problem in problems
    ]
    return pa.Table.from_pylist(rows, PROBLEMS)


def _frequency_rows(images: dict[tuple[int, str], _Image]) -> pa.Table:
    num_images: Counter[tuple[int, str, str]] = Counter()
    num_captions: Counter[tuple[int, str, str]] = Counter()
    for image in images.values():
        num_images.update(image.tags.keys())
        num_captions.update(image.tags)
    rows = [
        dict(zip(FREQUENCIES.names, (*tag, count, num_captions[tag]), strict=True))
        for tag, count in sorted(num_images.items())
    ]
    return pa.Table.from_pylist(rows, FREQUENCIES)


def _pair_rows(images: dict[tuple[int, str], _Image]) -> pa.Table:
    pairs: Counter[tuple[tuple[int, str], tuple[int, str]]] = Counter()
    for image in images.values():
        pairs.update(combinations(sorted({(tag_id, tag) for tag_id, tag, _ in image.tags}), 2))
    rows = [
        {"tag_a": a[1], "tag_b": b[1], "tag_id_a": a[0], "tag_id_b": b[0], "images": count}
        for (a, b), count in sorted(pairs.items())
    ]
    return pa.Table.from_pylist(rows, PAIRS)


def _evidence_rows(image_id: str, caption: int, row: dict[str, Any]) -> list[dict[str, Any]]:
    columns = ("tag_ids", "tags", "kinds", "rules", "starts", "ends", "surfaces")
    names = EVIDENCE_ROWS.names[2:]
    return [
        {"image_id": image_id, "caption": caption, **dict(zip(names, values, strict=True))}
        for values in zip(*(row[column] for column in columns), strict=True)
    ]


def merge_counts(parts: Iterator[pa.Table], schema: pa.Schema, counts: list[str]) -> pa.Table:
    """Return the sum of tables with the same keys, most frequent first."""
    keys = [name for name in schema.names if name not in counts]
    total = schema.empty_table()
    for part in parts:
        both = pa.concat_tables([total, part.cast(schema)])
        total = both.group_by(keys).aggregate([(name, "sum") for name in counts])
        total = total.rename_columns([name.removesuffix("_sum") for name in total.column_names])
        total = total.select(schema.names).cast(schema)
    order = [("images", "descending"), *((key, "ascending") for key in keys)]
    return total.sort_by(order)
