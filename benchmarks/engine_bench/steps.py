"""The engine's steps on cached features: generate, clean. The decisions are the product's own."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import logit

from benchmarks.engine_bench.dataset import Captioned, Dataset
from benchmarks.engine_bench.heads import Ensemble, out_of_fold, train_head
from benchmarks.engine_bench.looking import (
    Pairs,
    View,
    cluster,
    evidence,
    look,
    pairs_of,
)
from ram_ray.data_engine.cluster.clusters import Clusters
from ram_ray.data_engine.config import ClusterConfig, FilterConfig
from ram_ray.data_engine.filter.evidence import Evidence
from ram_ray.data_engine.filter.fit import Decisions, Filter, decide, fit
from ram_ray.data_engine.filter.promises import Witnesses
from ram_ray.data_engine.filter.wrong_tags import draw_wrong_tags
from ram_ray.data_engine.generate.choose import Thresholds, additions, choose_together

FOLDS = 4
MEMBERS = 3
"""Heads per fold; one alone is noisy."""
NEIGHBOURS = 30
"""Nearest images whose captions are candidates for an image's generated caption."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Seen:
    """The baseline: heads out of fold and what they see."""

    heads: list[Ensemble]
    fold: np.ndarray
    view: View


def see(dataset: Dataset, labels: np.ndarray, seed: int, *, perfect: bool = False) -> Seen:
    """Train out-of-fold heads on labels and look at all images."""
    images = dataset.train
    heads, fold = out_of_fold(images.tokens, labels, folds=FOLDS, members=MEMBERS, seed=seed)
    view = look(heads, fold, images, dataset, perfect=perfect)
    return Seen(heads=heads, fold=fold, view=view)


def see_in_fold(dataset: Dataset, labels: np.ndarray, seed: int) -> Seen:
    """As `see`, but with one head that has learned the labels it judges (self-confirmation)."""
    images = dataset.train
    seeds = range(seed * 100 + 50, seed * 100 + 50 + MEMBERS)
    heads = [train_head(images.tokens, labels, seed=each) for each in seeds]
    fold = np.zeros(len(images.tokens), np.int64)
    return Seen(heads=[heads], fold=fold, view=look([heads], fold, images, dataset))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Generated:
    """Tags added, by source; a tag may come from both."""

    by_tags: np.ndarray
    """bool [N, T], above the threshold."""
    by_caption: np.ndarray
    """bool [N, T], named by the generated caption, above the lower threshold of such tags."""
    thresholds: Thresholds

    @property
    def added(self) -> np.ndarray:
        """bool [N, T]."""
        return self.by_tags | self.by_caption


def generate(
    dataset: Dataset,
    scores: np.ndarray,
    *,
    target: float,
    method: str = "agreement",
    num_trusted: int = 0,
    trusted_scores: np.ndarray | None = None,
) -> Generated:
    """Return the tags to add to the captions' tags.

    Args:
        scores: float32 [N, T], out of fold.
        method: "agreement", "own_caption" or "trusted".
        num_trusted: images with complete labels to use, with `trusted_scores` [600, T].
    """
    observed, count = dataset.train.observed, len(scores)
    if method == "trusted":
        assert trusted_scores is not None
        truth = dataset.trusted.truth[:num_trusted]
        both = np.concatenate([scores, trusted_scores[:num_trusted]])
        named = np.concatenate([observed, dataset.trusted.observed[:num_trusted]])
        trusted = (np.arange(count, count + num_trusted), truth)
        told: dict[str, Any] = {"trusted": trusted, "agreement": None}
    else:
        both, named = scores, observed
        agreement = dataset.train.agreement if method == "agreement" else None
        told = {"trusted": None, "agreement": agreement}
    rules: list[np.ndarray | None] = [None]
    if method != "trusted":
        rules.append(generated_captions(dataset.train, scores))
    chosen = choose_together(both, named, rules, target_precision=target, **told)
    by_tags = additions(scores, observed, chosen[0])
    by_caption = np.zeros_like(by_tags)
    for said, lower in zip(rules[1:], chosen[1:], strict=True):
        by_caption = additions(scores, observed, lower, candidates=said)
    return Generated(by_tags=by_tags, by_caption=by_caption, thresholds=chosen[0])


def generated_captions(images: Captioned, scores: np.ndarray) -> np.ndarray:
    """Return bool [N, T], the tags of the caption that the baseline gives each image.

    Captioning by consensus of nearest neighbours (Devlin et al. 2015, arXiv 1505.04467): of the
    captions of similar images, the one that fits the image best, by its out-of-fold scores.
    """
    pooled = np.concatenate([images.tokens.mean(1), images.tokens.max(1)], axis=1)
    pooled = (pooled - pooled.mean(0)) / (pooled.std(0) + 1e-3)
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    usual = logit(images.observed.mean(0).clip(1e-4, 0.999))
    gain = np.clip(logit(scores.clip(1e-6, 1 - 1e-6)) - usual, -6, 6)
    said = np.zeros_like(images.observed)
    for start in range(0, len(pooled), 512):
        rows = np.arange(start, min(start + 512, len(pooled)))
        near = pooled[rows] @ pooled.T
        near[np.arange(len(rows)), rows] = -2
        best = np.argpartition(-near, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        fit_of = np.einsum("nkt,nt->nk", images.observed[best].astype(np.float32), gain[rows])
        said[rows] = images.observed[best[np.arange(len(rows)), fit_of.argmax(1)]]
    return said


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Cleaned:
    """What was removed, and how suspicious everything named was."""

    removed: np.ndarray
    """bool [N, T]."""
    suspicion: np.ndarray
    """float32 [N, T], -inf where nothing is named."""
    judge: Filter
    decisions: Decisions


def clean(
    dataset: Dataset,
    seen: Seen,
    labels: np.ndarray,
    *,
    seed: int,
    config: FilterConfig | None = None,
    clusters: ClusterConfig | None = None,
) -> Cleaned:
    """Return what the filter removes of a label set that holds the captions' tags.

    It learns on the captions' tags only; generated ones are judged beside their image's caption.
    """
    images, observed = dataset.train, dataset.train.observed
    named = pairs_of(observed)
    table = cluster(images, seen.view, named, dataset, clusters or ClusterConfig())
    named_evidence = evidence(images, seen.view, named, table, dataset)
    wrong, own = _wrong(images, seen, table, dataset, seed)
    judge = fit(
        named_evidence,
        wrong,
        dataset.num_tags,
        config,
        own=own,
        witnesses=Witnesses(said=images.agreement[named.rows, named.tag_ids]),
    )
    pairs = pairs_of(labels)
    decisions = decide(
        judge, evidence(images, seen.view, pairs, table, dataset), context=named_evidence
    )
    removed = np.zeros_like(observed)
    removed[pairs.rows, pairs.tag_ids] = decisions.removed
    suspicion = np.full(observed.shape, -np.inf, np.float32)
    suspicion[pairs.rows, pairs.tag_ids] = decisions.suspicion
    return Cleaned(removed=removed, suspicion=suspicion, judge=judge, decisions=decisions)


def _wrong(
    images: Captioned, seen: Seen, table: Clusters, dataset: Dataset, seed: int
) -> tuple[Evidence, np.ndarray]:
    """Return the evidence on the drawn wrong tags, and which of them the own caption names too."""
    observed = images.observed
    wrong = draw_wrong_tags(observed, np.random.default_rng([seed, 17]))
    at = np.flatnonzero(wrong.swapped)  # every pair once; most stand in both ways
    rows, tag_ids = wrong.rows[at], wrong.tag_ids[at]
    pairs = Pairs(rows=rows, tag_ids=tag_ids, captions=rows + len(observed))
    swapped = evidence(images, seen.view, pairs, table, dataset)
    alone = np.flatnonzero(~wrong.own[at])
    single = replace(swapped.where(alone), caption=rows[alone].astype(np.int64))
    return Evidence.join([single, swapped]), wrong.own
