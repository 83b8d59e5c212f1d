"""The arms: what each does to the captions' tags. All share one baseline and one trainer.

No arm sees the truth of a training or test image, but `oracle`, and `perfect_detector`, which
knows the true boxes (both bounds, not methods).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.engine_bench import steps
from benchmarks.engine_bench.dataset import Dataset
from benchmarks.engine_bench.heads import Loss, scores_by_fold
from benchmarks.engine_bench.looking import cluster as fit_clusters
from benchmarks.engine_bench.looking import evidence, look, pairs_of
from benchmarks.engine_bench.steps import Cleaned, Seen, clean, generate, see, see_in_fold
from ram_ray.data_engine.config import RULES, ClusterConfig, FilterConfig


class Arm(NamedTuple):
    """One label set, and how a model is trained on it."""

    name: str
    labels: np.ndarray
    """bool [N, T]."""
    loss: Loss = "bce"
    suspicion: np.ndarray | None = None
    """float [N, T], higher is more likely wrong; of arms that rank the captions' tags."""
    train: bool = True
    """Whether a model is trained on it; settings of one step are compared by their labels."""


PRECISIONS = (0.9, 0.97)
"""Of added tags; the first is the engine's."""
FOR_F1 = 0.5
"""Precision of added tags for who wants F1: there even one right in two pays, and the engine adds
nothing that is less likely right (`threshold_search.LEAST_CHANCE`)."""
REMOVED_FOR_F1 = 0.75
"""Precision of removals that pay for F1 where captions name a third of what is there."""


def arms(dataset: Dataset, seed: int, *, more_baselines: bool = True) -> Iterator[Arm]:
    """Yield every arm.

    Args:
        more_baselines: also those that train a baseline of their own (in fold, two rounds).
    """
    observed, truth = dataset.train.observed, dataset.train.truth
    seen = see(dataset, observed, seed)
    scores = seen.view.whole
    yield Arm("parsing", observed)
    yield Arm("oracle", truth)
    yield Arm("robust_loss_asl", observed, "asl")
    yield Arm("robust_loss_splc", observed, "splc")
    generated = generate(dataset, scores, target=PRECISIONS[0])
    yield from _generation_arms(dataset, seen)
    cleaned = clean(dataset, seen, observed, seed=seed)
    yield from _cleaning_arms(dataset, seen, cleaned, seed)
    yield from _cleanlab_arms(dataset, scores, generated.added)
    engine = _engine(dataset, seen, seed)
    yield Arm("engine", engine)
    yield from _arms_for_f1(dataset, seen, seed)
    if dataset.train.boxes is not None:
        view = look(seen.heads, seen.fold, dataset.train, dataset, perfect=True)
        perfect = Seen(heads=seen.heads, fold=seen.fold, view=view)
        found = clean(dataset, perfect, observed, seed=seed)
        yield Arm("cleaning_perfect_detector", observed & ~found.removed, "bce", found.suspicion)
        yield Arm("engine_perfect_detector", _engine(dataset, perfect, seed))
    if more_baselines:
        in_fold = see_in_fold(dataset, observed, seed)
        confirmed = generate(dataset, in_fold.view.whole, target=PRECISIONS[0])
        yield Arm(f"generation_{PRECISIONS[0]:.2f}_in_fold", observed | confirmed.added)
        yield Arm("engine_in_fold", _engine(dataset, in_fold, seed))
        yield Arm("engine_two_rounds", _engine(dataset, see(dataset, engine, seed + 500), seed))


def _engine(
    dataset: Dataset,
    seen: Seen,
    seed: int,
    *,
    target: float = PRECISIONS[0],
    config: FilterConfig | None = None,
) -> np.ndarray:
    """Return the labels of generation, then cleaning of captions' and generated tags."""
    generated = generate(dataset, seen.view.whole, target=target)
    labels = dataset.train.observed | generated.added
    return labels & ~clean(dataset, seen, labels, seed=seed, config=config).removed


def _arms_for_f1(dataset: Dataset, seen: Seen, seed: int) -> Iterator[Arm]:
    added = generate(dataset, seen.view.whole, target=FOR_F1).added
    yield Arm(f"generation_{FOR_F1:.2f}", dataset.train.observed | added, train=False)
    engine = _engine(dataset, seen, seed, target=FOR_F1)
    yield Arm(f"engine_{FOR_F1:.2f}", engine, train=False)
    careful = FilterConfig(min_precision=REMOVED_FOR_F1)
    engine = _engine(dataset, seen, seed, target=FOR_F1, config=careful)
    yield Arm("engine_for_f1", engine, train=False)


def _generation_arms(dataset: Dataset, seen: Seen) -> Iterator[Arm]:
    observed, scores = dataset.train.observed, seen.view.whole
    trusted = scores_by_fold(seen.heads, dataset.trusted.tokens)
    for target in PRECISIONS:
        found = generate(dataset, scores, target=target)
        suffix = f"{target:.2f}"
        yield Arm(f"generation_{suffix}", observed | found.added)
        own = generate(dataset, scores, target=target, method="own_caption")
        yield Arm(f"generation_{suffix}_own_caption", observed | own.added, train=False)
        for count in (100, 600):
            with_trusted = generate(
                dataset,
                scores,
                target=target,
                method="trusted",
                num_trusted=count,
                trusted_scores=trusted,
            )
            name = f"generation_{suffix}_trusted_{count}"
            yield Arm(name, observed | with_trusted.added, train=False)
        if target == PRECISIONS[0]:
            yield Arm("generated_tags_alone", observed | found.by_tags)
            yield Arm("generated_captions_alone", observed | found.by_caption)
            raw = steps.generated_captions(dataset.train, scores)
            yield Arm("generated_captions_unfiltered", observed | raw)


def _cleaning_arms(dataset: Dataset, seen: Seen, cleaned: Cleaned, seed: int) -> Iterator[Arm]:
    observed = dataset.train.observed
    yield Arm("cleaning", observed & ~cleaned.removed, "bce", cleaned.suspicion)
    for rule in RULES:
        one = clean(dataset, seen, observed, seed=seed, config=FilterConfig(rules=(rule,)))
        yield Arm(f"cleaning_{rule}", observed & ~one.removed, "bce", one.suspicion)
    yield Arm("cleaning_ram_recipe", observed & ~ram_recipe(dataset, seen))
    yield Arm("placebo", observed & ~placebo(observed, int(cleaned.removed.sum()), seed))


def placebo(observed: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return bool [N, T], so many of the observed tags at random."""
    rows, tag_ids = np.nonzero(observed)
    chosen = np.random.default_rng([seed, 23]).choice(len(rows), count, replace=False)
    removed = np.zeros_like(observed)
    removed[rows[chosen], tag_ids[chosen]] = True
    return removed


def ram_recipe(dataset: Dataset, seen: Seen) -> np.ndarray:
    """Return what RAM's text removes, plainly: outlier 10 % per tag, and tags unseen on the region.

    The paper gives no threshold for "not predicted on the region"; here below the score that
    predicts as many tags per tag as captions name, on whole images.
    """
    images, observed = dataset.train, dataset.train.observed
    named = pairs_of(observed)
    config = ClusterConfig(cut="share", outlier_share=0.1)
    table = fit_clusters(images, seen.view, named, dataset, config)
    found = evidence(images, seen.view, named, table, dataset)
    cut = (table.cut - table.median) / table.scale
    z_cut = np.full(dataset.num_tags, np.inf)
    z_cut[table.tag_ids] = cut
    outlier = found.cluster_z > z_cut[found.tag_id]
    shares = observed.mean(0)
    usual = np.array([np.quantile(seen.view.whole[:, t], 1 - s) for t, s in enumerate(shares)])
    unseen = found.region < usual[found.tag_id]
    removed = np.zeros_like(observed)
    removed[named.rows, named.tag_ids] = outlier | unseen
    return removed


def _cleanlab_arms(dataset: Dataset, scores: np.ndarray, added: np.ndarray) -> Iterator[Arm]:
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class

    observed = dataset.train.observed
    named = [np.flatnonzero(row).tolist() for row in observed]
    issues = np.asarray(find_multilabel_issues_per_class(named, scores, n_jobs=1), bool)
    kept = observed & ~issues
    suspicion = np.where(observed, 1 - scores, -np.inf)
    yield Arm("cleanlab", kept, "bce", suspicion)
    yield Arm("cleanlab_both_ways", observed ^ issues)
    yield Arm("cleanlab_and_generation", kept | added)


__all__ = ["PRECISIONS", "Arm", "arms", "placebo", "ram_recipe"]
