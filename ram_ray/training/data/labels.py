"""What is known of each sample: tags with scores, tags nobody looked for, captions.

Label rows name `image_id` and any of

    tag_ids or tags (names)   present tags; `present` and `labels` mean the same as `tags`
    scores                    0..1 for each of them: soft targets; left out: 1
    unknown                   ids or names of tags without a verdict, which cost nothing
    absent                    makes every tag that is neither present nor absent unknown
    captions                  texts, for the caption loss
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ram_model.vocabulary import Vocabulary
from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.labels.captions import read_captions
from ram_ray.labels.parser.caption_parser import CaptionParser
from ram_ray.labels.problems import Problem
from ram_ray.storage.fetching import read_uri
from ram_ray.storage.stores import open_store, split_url

_IDS, _NUMBERS, _TEXTS = pa.list_(pa.int32()), pa.list_(pa.float32()), pa.list_(pa.string())
LABELS = pa.schema(
    [
        pa.field("tag_ids", _IDS),
        pa.field("scores", _NUMBERS),  # parallel to tag_ids
        pa.field("unknown", _IDS),
        pa.field("captions", _TEXTS),
        pa.field("caption_tags", pa.list_(_IDS)),  # parallel to captions
    ]
)
"""Columns of a sample beside `samples.PLACES`."""
_PRESENT = ("tag_ids", "tags", "present", "labels")


@dataclass(slots=True)
class SampleLabels:
    """Of one image."""

    scores: dict[int, float] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    captions: list[str] = field(default_factory=list)
    caption_tags: list[list[int]] = field(default_factory=list)


def label_samples(
    places: pa.Table,
    vocabulary: Vocabulary | None,
    *,
    labels: str | None,
    captions: str | None,
    store: StoreConfig,
) -> tuple[pa.Table, int]:
    """Return the samples that have labels, with the columns of LABELS, and how many have none.

    Without a vocabulary only captions count.

    Labels meet samples by `image_id`, or by its last part or stem where that is unambiguous.

    Raises:
        ConfigError: labels that cannot be read, or that fit no sample.
    """
    known: dict[str, SampleLabels] = {}
    if labels is not None and vocabulary is not None:
        _read_labels(labels, vocabulary, store, known)
    if captions is not None:
        _read_captions(captions, vocabulary, known, gives_tags=labels is None)
    found = list(map(_matcher(known), places["image_id"].to_pylist()))
    rows = [row for row, sample in enumerate(found) if sample is not None]
    if not rows:
        example = next(iter(known), "none at all")
        raise ConfigError(
            f"No label fits an image: the labels name {example!r}, the data "
            f"{places['image_id'][0].as_py()!r}."
        )
    columns = pa.Table.from_pylist([_row(found[row]) for row in rows], LABELS)
    samples = places.take(rows)
    for name in LABELS.names:
        samples = samples.append_column(LABELS.field(name), columns[name])
    return samples, len(found) - len(rows)


def _row(sample: SampleLabels | None) -> dict[str, object]:
    assert sample is not None
    ids = sorted(sample.scores)
    return {
        "tag_ids": ids,
        "scores": [sample.scores[i] for i in ids],
        "unknown": sorted(sample.unknown - set(ids)),
        "captions": sample.captions,
        "caption_tags": sample.caption_tags,
    }


def _matcher(known: dict[str, SampleLabels]) -> Callable[[str], SampleLabels | None]:
    """Return a function from image id to labels: by id, then by file name, then by stem."""
    by_name: dict[str, SampleLabels | None] = {}
    for image_id, sample in known.items():
        for key in {_name(image_id), _stem(image_id)} - {image_id}:
            by_name[key] = None if key in by_name else sample  # ambiguous: matches nothing

    def match(image_id: str) -> SampleLabels | None:
        for key in (image_id, _name(image_id), _stem(image_id)):
            if key in known:
                return known[key]
            if by_name.get(key) is not None:
                return by_name[key]
        return None

    return match


def _name(image_id: str) -> str:
    return image_id.rsplit("/", 1)[-1]


def _stem(image_id: str) -> str:
    return _name(image_id).rpartition(".")[0] or _name(image_id)


def _read_labels(
    url: str, vocabulary: Vocabulary, store: StoreConfig, known: dict[str, SampleLabels]
) -> None:
    for where, row in _label_rows(url, store):
        if not isinstance(row, dict) or "image_id" not in row:
            raise ConfigError(f"{where}: a row needs image_id.")
        sample = known.setdefault(str(row["image_id"]), SampleLabels())
        column = next((name for name in _PRESENT if row.get(name) is not None), None)
        ids = [] if column is None else _tag_ids(row[column], vocabulary, where)
        scores = row.get("scores") or [1.0] * len(ids)
        if len(scores) != len(ids) or not all(0 <= score <= 1 for score in scores):
            raise ConfigError(f"{where}: scores must be {len(ids)} numbers between 0 and 1.")
        sample.scores.update(zip(ids, scores, strict=True))
        sample.unknown.update(_tag_ids(row.get("unknown") or [], vocabulary, where))
        if row.get("absent") is not None:
            absent = set(_tag_ids(row["absent"], vocabulary, where))
            sample.unknown.update(set(range(len(vocabulary))) - absent - set(ids))
        sample.captions += row.get("captions") or []
        sample.caption_tags += [list(ids)] * len(row.get("captions") or [])


def _tag_ids(values: Iterable[object], vocabulary: Vocabulary, where: str) -> list[int]:
    """Return ids; names that the vocabulary lacks are passed over, as other label sets have them.

    A name may stand for several ids.
    """
    ids: list[int] = []
    for value in values:
        if isinstance(value, str):
            ids += vocabulary.find(value)
        elif isinstance(value, int) and 0 <= value < len(vocabulary):
            ids.append(value)
        else:
            raise ConfigError(
                f"{where}: {value!r} is no tag; ids go from 0 to {len(vocabulary) - 1}."
            )
    return list(dict.fromkeys(ids))


def _label_rows(url: str, store: StoreConfig) -> Iterator[tuple[str, Any]]:
    for uri in _label_files(url, store):
        try:
            data = read_uri(uri, store)
            if uri.endswith(".jsonl"):
                for number, line in enumerate(data.decode("utf-8").splitlines(), start=1):
                    if line.strip():
                        yield f"{uri}, line {number}", json.loads(line)
            else:
                table = pq.read_table(pa.BufferReader(data))
                for number, row in enumerate(table.to_pylist()):
                    yield f"{uri}, row {number}", row
        except FileNotFoundError as error:
            raise ConfigError(f"labels is {url!r}, but {uri} does not exist.") from error
        except (pa.ArrowInvalid, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"The labels {uri} cannot be read: {error}.") from error


def _label_files(url: str, store: StoreConfig) -> list[str]:
    if url.endswith((".jsonl", ".parquet")):
        return [url if "://" in url else split_url(url)[2]]
    opened = open_store(url, store)
    # the output of `ram-ray labels parse` keeps its rows in one folder, beside other tables
    for folder in ("tags", ""):
        keys = sorted(opened.list(folder))
        keys = [key for key in keys if key.endswith((".parquet", ".jsonl"))]
        if keys:
            return [f"{url.rstrip('/')}/{key.removeprefix('./')}" for key in keys]
    raise ConfigError(f"labels is {url!r}, but holds no .parquet or .jsonl file.")


def _read_captions(
    path: str, vocabulary: Vocabulary | None, known: dict[str, SampleLabels], *, gives_tags: bool
) -> None:
    problems: list[Problem] = []
    read = list(read_captions(path, problems.append))
    if not read:
        raise ConfigError(f"captions is {path!r}, but holds no caption that can be read.")
    found: list[list[int]] = [[] for _ in read]
    if vocabulary is not None:
        parsed = CaptionParser(vocabulary).parse([caption.text for caption in read])
        found = parsed["tag_ids"].to_pylist()
    for caption, ids in zip(read, found, strict=True):
        sample = known.setdefault(caption.image, SampleLabels())
        if gives_tags:
            sample.scores.update(dict.fromkeys(ids, 1.0))
        sample.captions.append(caption.text)
        sample.caption_tags.append(sorted(ids))
