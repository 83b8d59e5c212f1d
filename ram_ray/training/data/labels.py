"""What is known of each sample: tags with scores, tags nobody looked for, captions.

`labels.label_rows` says what a row of labels may hold, `labels.captions` which captions are read,
`labels.captions.joining` how both find their image.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from ram_model.vocabulary import Vocabulary
from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.labels.captions.corpus import read_captions
from ram_ray.labels.captions.joining import match, stem_of
from ram_ray.labels.label_rows import LabelRow, Tag, read_label_rows
from ram_ray.labels.parser.caption_parser import CaptionParser
from ram_ray.labels.problems import Problem
from ram_ray.storage.reading import read_uri
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


@dataclass(slots=True)
class SampleLabels:
    """Of one image."""

    scores: dict[int, float] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    captions: list[str] = field(default_factory=list)
    caption_tags: list[list[int]] = field(default_factory=list)


@dataclass(slots=True)
class LabelledSamples:
    """The samples that have labels, and what was passed over on the way."""

    samples: pa.Table
    """With the columns of LABELS."""
    num_unlabelled: int
    """Images without a label."""
    remarks: tuple[str, ...]
    """Sentences for the user: names outside the vocabulary, labels of no image, bad lines."""


def label_samples(
    places: pa.Table,
    vocabulary: Vocabulary | None,
    *,
    labels: str | None,
    captions: str | None,
    store: StoreConfig,
    caption_columns: tuple[str, ...] | None = None,
) -> LabelledSamples:
    """Find the labels and captions of every sample.

    Without a vocabulary only captions count.

    Raises:
        ConfigError: labels that cannot be read, that name no tag at all, or that fit no sample.
    """
    known = _Known(places["image_id"].to_pylist())
    if labels is not None and vocabulary is not None:
        _read_labels(labels, vocabulary, store, known)
    if captions is not None:
        _read_captions(captions, vocabulary, store, caption_columns, known, labels is None)
    found = [known.samples.get(image_id) for image_id in known.image_ids]
    rows = [row for row, sample in enumerate(found) if sample is not None]
    if not rows:
        example = next(iter(known.lost), "none at all")
        raise ConfigError(
            f"No label fits an image: the labels name {example!r}, the data {known.image_ids[0]!r}."
        )
    columns = pa.Table.from_pylist([_row(found[row]) for row in rows], LABELS)
    samples = places.take(rows)
    for name in LABELS.names:
        samples = samples.append_column(LABELS.field(name), columns[name])
    return LabelledSamples(samples, len(found) - len(rows), known.remarks())


class _Known:
    """What labels and captions say, by the image that they mean."""

    def __init__(self, image_ids: list[str]) -> None:
        self.image_ids = image_ids
        self.samples: dict[str, SampleLabels] = {}
        self.lost: Counter[str] = Counter()
        self.unknown_names: Counter[str] = Counter()
        self.problems: list[Problem] = []
        self._ids = set(image_ids)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for image_id in image_ids:
            self._by_stem[stem_of(image_id)].append(image_id)

    def sample(self, name: str) -> SampleLabels | None:
        """Return what is known of the image that `name` means; None, and counted, without one."""
        image_id = name if name in self._ids else match(self._by_stem[stem_of(name)], name)[0]
        if image_id is None:
            self.lost[name] += 1
            return None
        return self.samples.setdefault(image_id, SampleLabels())

    def remarks(self) -> tuple[str, ...]:
        """Return sentences about what was passed over."""
        remarks = []
        if self.unknown_names:
            shown = _shown(self.unknown_names)
            count = sum(self.unknown_names.values())
            remarks.append(f"{count} labels name tags outside the vocabulary, such as {shown}.")
        if self.lost:
            count = sum(self.lost.values())
            remarks.append(f"{count} labels or captions fit no image, such as {_shown(self.lost)}.")
        if self.problems:
            count = len(self.problems)
            remarks.append(f"{count} caption lines give no caption, such as {self.problems[0]}.")
        return tuple(remarks)


def _shown(counts: Counter[str]) -> str:
    return ", ".join(repr(name) for name, _ in counts.most_common(3))


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


def _read_labels(url: str, vocabulary: Vocabulary, store: StoreConfig, known: _Known) -> None:
    num_rows = num_tags = 0
    for row in _label_rows(url, store):
        num_rows += 1
        sample = known.sample(row.image_id)
        ids, scores = _present_ids(row, vocabulary, known)
        num_tags += len(ids)
        unknown = _tag_ids(row.unknown, vocabulary, row.where, known)
        if row.absent is not None:
            absent = set(_tag_ids(row.absent, vocabulary, row.where, known))
            num_tags += len(absent)
            unknown += sorted(set(range(len(vocabulary))) - absent - set(ids))
        if sample is None:
            continue
        sample.scores.update(zip(ids, scores, strict=True))
        sample.unknown.update(unknown)
        sample.captions += row.captions
        sample.caption_tags += [list(ids)] * len(row.captions)
    if num_rows and not num_tags:
        names = _shown(known.unknown_names) or "none at all"
        raise ConfigError(f"The labels {url} name no tag of the vocabulary; they name {names}.")


def _present_ids(
    row: LabelRow, vocabulary: Vocabulary, known: _Known
) -> tuple[list[int], list[float]]:
    """Return the ids and scores of the present tags; a name may stand for several ids."""
    present = row.present or ()
    scores = row.scores or (1.0,) * len(present)
    found: dict[int, float] = {}
    for tag, score in zip(present, scores, strict=True):
        for tag_id in _tag_ids((tag,), vocabulary, row.where, known):
            found.setdefault(tag_id, score)
    return list(found), list(found.values())


def _tag_ids(values: Iterable[Tag], vocabulary: Vocabulary, where: str, known: _Known) -> list[int]:
    """Return ids; names that the vocabulary lacks are counted, as other label sets have them."""
    ids: list[int] = []
    for value in values:
        if isinstance(value, str):
            found = vocabulary.find(value)
            if not found:
                known.unknown_names[value] += 1
            ids += found
        elif 0 <= value < len(vocabulary):
            ids.append(value)
        else:
            raise ConfigError(
                f"{where}: {value!r} is no tag; ids go from 0 to {len(vocabulary) - 1}."
            )
    return list(dict.fromkeys(ids))


def _label_rows(url: str, store: StoreConfig) -> Iterator[LabelRow]:
    for uri in _label_files(url, store):
        try:
            data = read_uri(uri, store)
        except FileNotFoundError as error:
            raise ConfigError(f"labels is {url!r}, but {uri} does not exist.") from error
        yield from read_label_rows(data, uri)


def _label_files(url: str, store: StoreConfig) -> list[str]:
    if url.lower().endswith((".jsonl", ".parquet")):
        return [url if "://" in url else split_url(url)[2]]
    opened = open_store(url, store)
    # the output of `ram-ray labels parse` keeps its rows in one folder, beside other tables
    for folder in ("tags", ""):
        keys = sorted(opened.list(folder))
        keys = [key for key in keys if key.lower().endswith((".parquet", ".jsonl"))]
        if keys:
            return [f"{url.rstrip('/')}/{key.removeprefix('./')}" for key in keys]
    raise ConfigError(f"labels is {url!r}, but holds no .parquet or .jsonl file.")


def _read_captions(
    path: str,
    vocabulary: Vocabulary | None,
    store: StoreConfig,
    columns: tuple[str, ...] | None,
    known: _Known,
    gives_tags: bool,
) -> None:
    read = list(read_captions(path, known.problems.append, store, columns))
    if not read:
        raise ConfigError(f"captions is {path!r}, but holds no caption that can be read.")
    found: list[list[int]] = [[] for _ in read]
    if vocabulary is not None:
        parsed = CaptionParser(vocabulary).parse([caption.text for caption in read])
        found = parsed["tag_ids"].to_pylist()
    for caption, ids in zip(read, found, strict=True):
        sample = known.sample(caption.image)
        if sample is None:
            continue
        if gives_tags:
            sample.scores.update(dict.fromkeys(ids, 1.0))
        sample.captions.append(caption.text)
        sample.caption_tags.append(sorted(ids))
