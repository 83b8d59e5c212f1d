"""A run's scores and people's labels, side by side: one row per image, one column per tag."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import get_args

import numpy as np
import pyarrow as pa

from ram_model.errors import CheckpointError, UnknownModelError
from ram_model.files.pretrained import OpenedModel, open_model
from ram_model.vocabulary import OFF, Vocabulary
from ram_ray.errors import ConfigError
from ram_ray.evaluation.config import Match
from ram_ray.evaluation.truth import Truth
from ram_ray.runs.commits import committed_shards
from ram_ray.runs.plans import shard_name
from ram_ray.storage.parquet import read_parquet
from ram_ray.storage.stores import Store
from ram_ray.tagging.outputs.run_output import check_all_scores_kept
from ram_ray.tagging.record import RunRecord, read_record

_KEYS: dict[str, Callable[[str], str]] = {
    "path": lambda image_id: image_id,
    "name": lambda image_id: PurePosixPath(image_id).name,
    "stem": lambda image_id: PurePosixPath(image_id).stem,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredImages:
    """Images that a run has tagged and people have labelled; columns are tags in both."""

    image_ids: tuple[str, ...]
    """As the run calls them."""
    uris: tuple[str, ...]
    """Where their bytes are."""
    tag_ids: tuple[int, ...]
    """Of the model's vocabulary, ascending."""
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    labels: np.ndarray
    """int8 [N, C]: 1, 0, -1."""
    scores: np.ndarray
    """float32 [N, C]; 0 where the run kept no score (it lies below the run's score floor)."""
    thresholds: np.ndarray
    """float32 [C], those the run was made with."""
    all_thresholds: np.ndarray
    """float32 [num_tags], of every tag of `vocabulary`."""
    score_floor: float
    model_id: str
    record: RunRecord
    """Of the run."""
    vocabulary: Vocabulary
    num_unlabelled: int
    """Images of the run that the labels do not name."""
    num_untagged: int
    """Labelled images that the run has not tagged."""
    names_without_tag: tuple[str, ...]
    """Names in the labels that are no tag of the run, nor an alias of one."""
    names_switched_off: tuple[str, ...]
    """Tags in the labels that the run never gives (threshold 1.0)."""


def read_scored(store: Store, truth: Truth, match: Match = "path") -> ScoredImages:
    """Return what a finished or unfinished run and the labels have in common.

    Args:
        match: how ids meet: `path` compares them whole, `name` file names, `stem` file names
            without ending. Labels named differently but of one tag (aliases) are merged.

    Raises:
        ConfigError: no run there, one without `--score-floor`, a model that is not here or is
            another one by now; keys that are not unique; nothing in common.
    """
    record = _usable_record(store)
    vocabulary, thresholds = _vocabulary_of(record)
    columns, unknown = _scored_columns(record, vocabulary, truth)
    off = {tag for tag in columns if thresholds[tag] >= OFF}  # such a tag leaves no score
    columns = {tag: places for tag, places in columns.items() if tag not in off}
    if not columns:
        raise ConfigError(_no_tag(truth, off))
    if match not in _KEYS:
        raise ConfigError(f"match is {match!r}, but must be {', '.join(get_args(Match))}.")
    rows_by_key = _unique_keys(truth.image_ids, _KEYS[match], "the labels")
    tag_ids = tuple(columns)
    labelled: list[tuple[str, str, np.ndarray, int]] = []
    unlabelled: list[str] = []
    for image_id, uri, scores in _rows(store, tag_ids):
        row = rows_by_key.get(_KEYS[match](image_id))
        if row is None:
            unlabelled.append(image_id)
        else:
            labelled.append((image_id, uri, scores, row))
    if not labelled:
        raise ConfigError(_no_image(store, truth, unlabelled, match))
    image_ids, uris, found, positions = zip(*labelled, strict=True)
    rows = list(positions)
    _unique_keys(image_ids, _KEYS[match], store.url)
    labels = np.stack([_merged(truth.labels[rows][:, columns[tag]]) for tag in tag_ids], axis=1)
    assert record.score_floor is not None
    return ScoredImages(
        image_ids=image_ids,
        uris=uris,
        tag_ids=tag_ids,
        names=tuple(vocabulary.names[tag] for tag in tag_ids),
        kinds=tuple(vocabulary.kinds[tag] for tag in tag_ids),
        labels=labels,
        scores=np.stack(found),
        thresholds=thresholds[list(tag_ids)],
        all_thresholds=thresholds,
        score_floor=record.score_floor,
        model_id=record.model_id,
        record=record,
        vocabulary=vocabulary,
        num_unlabelled=len(unlabelled),
        num_untagged=len(truth.image_ids) - len(set(rows)),
        names_without_tag=unknown,
        names_switched_off=tuple(vocabulary.names[tag] for tag in sorted(off)),
    )


def _usable_record(store: Store) -> RunRecord:
    record = read_record(store)
    if record is None:
        raise ConfigError(f"{store.url} holds no run; `ram-ray tag` writes one.")
    check_all_scores_kept(record, store.url)
    return record


def _vocabulary_of(record: RunRecord) -> tuple[Vocabulary, np.ndarray]:
    """Return the run's tags, new words last, and their thresholds, float32 [C]."""
    try:
        opened = open_model(record.model)
    except (UnknownModelError, CheckpointError) as error:
        raise ConfigError(f"The run's model is needed for its tags: {error}") from error
    known, option = opened.vocabulary, record.threshold_option
    if option is None:
        thresholds = known.thresholds
    elif isinstance(option, float | int):
        thresholds = np.where(known.thresholds < OFF, option, OFF)
    else:
        thresholds = np.array(option)
    new = known.split(record.tags or ())[1]
    vocabulary = known.extended(new, _new_threshold(record, opened)) if new else known
    if vocabulary.sha256 != record.vocabulary_sha256:
        raise ConfigError(f"The model {record.model} has other tags than it had in this run.")
    added = vocabulary.thresholds[len(known) :]
    return vocabulary, np.concatenate([thresholds, added]).astype(np.float32)


def _new_threshold(record: RunRecord, opened: OpenedModel) -> float:
    """Return the threshold of new words, by the rule of `Tagger`."""
    for given in (record.threshold_option, record.open_set_threshold):
        if isinstance(given, int | float):
            return given
    return opened.config.open_set_threshold


def _no_tag(truth: Truth, off: set[int]) -> str:
    if off:
        return f"All {len(off)} tags that the labels name are switched off in the run."
    examples = ", ".join(map(repr, truth.names[:3]))
    return f"None of the {len(truth.names)} names in the labels ({examples}) is a tag of the run."


def _no_image(store: Store, truth: Truth, image_ids: list[str], match: Match) -> str:
    """Say that the labels name no image of the run, and which match would find some."""
    text = f"No image of {store.url} is named in the labels (match: {match}); "
    if image_ids:
        text += f"its images are called {image_ids[0]!r}, "
    text += f"the labels begin with {truth.image_ids[0]!r}."
    for other, key in _KEYS.items():
        met = len(set(map(key, image_ids)) & set(map(key, truth.image_ids)))
        if met:
            return f"{text} With --match {other} {met:,} would meet."
    return text


def _scored_columns(
    record: RunRecord, vocabulary: Vocabulary, truth: Truth
) -> tuple[dict[int, list[int]], tuple[str, ...]]:
    """Return the labels' columns of each tag that the run scored, and the names without one."""
    columns, unknown = _columns(vocabulary, truth)
    if record.tags is None:
        return columns, unknown
    asked = set(vocabulary.tag_ids_of(record.tags))
    left_out = sorted(columns.keys() - asked)
    unknown += tuple(truth.names[column] for tag in left_out for column in columns[tag])
    return {tag: places for tag, places in columns.items() if tag in asked}, unknown


def _columns(vocabulary: Vocabulary, truth: Truth) -> tuple[dict[int, list[int]], tuple[str, ...]]:
    """Return the label columns of each tag id, ascending, and the names that are no tag."""
    columns: dict[int, list[int]] = {}
    unknown = []
    for column, name in enumerate(truth.names):
        tag_ids = vocabulary.find(name)
        if not tag_ids:
            unknown.append(name)
        for tag_id in tag_ids:
            columns.setdefault(tag_id, []).append(column)
    return dict(sorted(columns.items())), tuple(unknown)


def _merged(labels: np.ndarray) -> np.ndarray:
    """Return int8 [N] of names that mean one tag: one present decides, then one absent."""
    present, absent = (labels == 1).any(1), (labels == 0).any(1)
    return np.where(present, 1, np.where(absent, 0, -1)).astype(np.int8)


def _unique_keys(ids: tuple[str, ...], key: Callable[[str], str], where: str) -> dict[str, int]:
    rows = {key(image_id): row for row, image_id in enumerate(ids)}
    if len(rows) < len(ids):
        twice = next(k for k, count in Counter(map(key, ids)).items() if count > 1)
        raise ConfigError(f"{twice!r} stands for several images in {where}; choose another match.")
    return rows


def _rows(store: Store, tag_ids: tuple[int, ...]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield image id, uri and scores [C] of every tagged image."""
    place = np.full(max(tag_ids) + 1, -1)
    place[list(tag_ids)] = np.arange(len(tag_ids))
    for shard in sorted(committed_shards(store)):
        columns = ("image_id", "uri", "tag_ids", "scores")
        table = read_parquet(store, f"tags/{shard_name(shard)}.parquet", columns=columns)
        ids, scores = (_column(table, name) for name in ("tag_ids", "scores"))
        offsets = ids.offsets.to_numpy()
        flat_ids, flat_scores = ids.values.to_numpy(), scores.values.to_numpy()
        uris = table["uri"].to_pylist()
        for row, image_id in enumerate(table["image_id"].to_pylist()):
            chosen = slice(offsets[row], offsets[row + 1])
            known = flat_ids[chosen] < len(place)
            columns = place[flat_ids[chosen][known]]
            line = np.zeros(len(tag_ids), dtype=np.float32)
            line[columns[columns >= 0]] = flat_scores[chosen][known][columns >= 0]
            yield image_id, uris[row], line


def _column(table: pa.Table, name: str) -> pa.ListArray:
    combined = table[name].combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
