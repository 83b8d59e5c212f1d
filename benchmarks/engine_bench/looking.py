"""What a trained tagger says about images and their regions: the evidence of the benchmark."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from benchmarks.engine_bench.dataset import Captioned, Dataset
from benchmarks.engine_bench.heads import Ensemble, scores_of, window_logits, window_masks
from ram_ray.data_engine.cluster.clusters import Clusters, fit, judge
from ram_ray.data_engine.config import ClusterConfig
from ram_ray.data_engine.filter.evidence import NO_RIVAL, Evidence, expected_of

CHUNK = 256


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class View:
    """All tags on all images, each judged by the head of its fold."""

    whole: np.ndarray
    """float32 [N, T], 0..1."""
    region: np.ndarray
    """float32 [N, T], 0..1, best window; NaN where nothing was located."""
    window: np.ndarray
    """int16 [N, T], that window."""
    rival: np.ndarray
    """float32 [N, T], there the best other tag of the kind."""
    rival_id: np.ndarray
    """int16 [N, T]."""


def look(
    heads: list[Ensemble],
    fold: np.ndarray,
    images: Captioned,
    dataset: Dataset,
    *,
    perfect: bool = False,
) -> View:
    """Return the view of every image through the head that has not seen it.

    Args:
        perfect: regions are the true boxes, and tags that are not there are not located.
    """
    masks = window_masks(int(np.sqrt(images.tokens.shape[1])), dataset.sizes)
    shape = images.observed.shape
    whole, region = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    rival, window = np.zeros(shape, np.float32), np.zeros(shape, np.int16)
    rival_id = np.zeros(shape, np.int16)
    for k, head in enumerate(heads):
        rows = np.flatnonzero(fold == k)
        whole[rows] = scores_of(head, images.tokens[rows])
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            logits = window_logits(head, images.tokens[part], masks)
            at = _true_windows(images, part, masks) if perfect else logits.argmax(1)
            picked = at.clip(min=0)
            own = np.take_along_axis(logits, picked[:, None, :], axis=1)[:, 0]
            region[part] = np.where(at < 0, np.nan, expit(own))
            window[part] = picked
            rival[part], rival_id[part] = _rivals(logits, picked, dataset.kinds)
    rival = np.where(np.isnan(region), np.nan, rival).astype(np.float32)
    return View(whole=whole, region=region, window=window, rival=rival, rival_id=rival_id)


def _rivals(
    logits: np.ndarray, window: np.ndarray, kinds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return, per image and tag, the best other tag of its kind in the tag's window."""
    count, _, num_tags = logits.shape
    best = np.full((count, num_tags), np.nan, np.float32)
    best_id = np.full((count, num_tags), NO_RIVAL, np.int16)
    for tag in range(num_tags):
        others = np.flatnonzero((kinds == kinds[tag]) & (np.arange(num_tags) != tag))
        if len(others) == 0:
            continue
        there = logits[np.arange(count), window[:, tag]][:, others]
        best[:, tag] = expit(there.max(1))
        best_id[:, tag] = others[there.argmax(1)]
    return best, best_id


def _true_windows(images: Captioned, rows: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return int [n, T], the window that overlaps a tag's true box most; -1: no box."""
    assert images.boxes is not None
    side = int(np.sqrt(masks.shape[1]))
    grid = masks.reshape(-1, side, side)
    rectangles = np.array(
        [(m.any(0).argmax(), m.any(1).argmax(), m.any(0).sum(), m.any(1).sum()) for m in grid],
        np.float64,
    )
    rectangles[:, 2:] += rectangles[:, :2]
    rectangles /= side
    found = np.full((len(rows), images.observed.shape[1]), -1)
    for at, row in enumerate(rows.tolist()):
        for tag, box in images.boxes[row].items():
            low = np.maximum(rectangles[:, :2], box[:2])
            sides = np.minimum(rectangles[:, 2:], box[2:]) - low
            both = np.prod(sides.clip(min=0), axis=1)
            area = (box[2] - box[0]) * (box[3] - box[1])
            union = np.prod(rectangles[:, 2:] - rectangles[:, :2], axis=1) + area - both
            found[at, tag] = int((both / union).argmax())
    return found


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pairs:
    """(image, tag) pairs and the caption each stands in."""

    rows: np.ndarray
    tag_ids: np.ndarray
    captions: np.ndarray


def pairs_of(labels: np.ndarray) -> Pairs:
    """Return the pairs of a label set; image i has caption i."""
    rows, tag_ids = np.nonzero(labels)
    return Pairs(rows=rows, tag_ids=tag_ids, captions=rows)


def embed(images: Captioned, view: View, pairs: Pairs, sizes: tuple[int, ...]) -> np.ndarray:
    """Return float32 [M, D], the mean token of each pair's region."""
    masks = window_masks(int(np.sqrt(images.tokens.shape[1])), sizes).astype(np.float32)
    masks /= masks.sum(1, keepdims=True)
    out = np.zeros((len(pairs.rows), images.tokens.shape[2]), np.float32)
    for start in range(0, len(out), 2048):
        part = slice(start, start + 2048)
        rows, tags = pairs.rows[part], pairs.tag_ids[part]
        tokens = images.tokens[rows]
        out[part] = np.einsum("mp,mpd->md", masks[view.window[rows, tags]], tokens)
    return out


def cluster(
    images: Captioned, view: View, pairs: Pairs, dataset: Dataset, config: ClusterConfig
) -> Clusters:
    """Return the clusters of the pairs' regions, centred so that cosine tells looks apart."""
    return fit(embed(images, view, pairs, dataset.sizes) - centre(images), pairs.tag_ids, config)


def centre(images: Captioned) -> np.ndarray:
    """Return float32 [D], the mean token of the images."""
    return images.tokens[::7].mean((0, 1))


def evidence(
    images: Captioned, view: View, pairs: Pairs, clusters: Clusters, dataset: Dataset
) -> Evidence:
    """Return the evidence on each pair."""
    rows, tags = pairs.rows, pairs.tag_ids
    vectors = embed(images, view, pairs, dataset.sizes) - centre(images)
    vectors[np.isnan(view.region[rows, tags])] = np.nan
    return Evidence(
        caption=pairs.captions.astype(np.int64),
        tag_id=tags.astype(np.int32),
        kind=dataset.kinds[tags],
        whole=view.whole[rows, tags],
        region=view.region[rows, tags],
        rival=view.rival[rows, tags],
        rival_id=view.rival_id[rows, tags].astype(np.int32),
        cluster_z=judge(clusters, vectors, tags).z,
        expected=expected_of(view.whole)[rows],
    )
