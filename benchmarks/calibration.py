"""Do calibrated thresholds keep their promise? Simulated scorers, whose true precision is known.

    python -m benchmarks.calibration [--draws 200]

Each draw is 60 tags on 3,000 images. A tag has a prevalence of 1 to 30 %; scores of its positives
and negatives are normal in logits, of different spread, and half of the tags have up to 15 % hard
negatives that look like positives. A label is verified with a probability of 0.3 to 1 that rises
with the score. Prints JSON: of the tags given a threshold, the share whose true precision there
reaches the target (`kept`); of the tags that have such a threshold at recall >= 0.1, the share
given one (`found`).
"""

import argparse
import json
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from ram_model.metrics import UNVERIFIED
from ram_ray.evaluation.calibration import choose_thresholds
from ram_ray.evaluation.config import CalibrationConfig

NUM_IMAGES, NUM_TAGS = 3000, 60
LEAST_RECALL = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Scorer:
    """One tag: how often it occurs, and how the logits of its scores are distributed."""

    prevalence: float
    positive_mean: float
    positive_std: float
    hard_share: float
    hard_mean: float
    shift: float
    scale: float

    def precision_and_recall(self, threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the true precision and recall of "score above threshold"."""
        level = (logit(threshold) - self.shift) / self.scale
        recall = norm.sf((level - self.positive_mean) / self.positive_std)
        false = self.hard_share * norm.sf(level - self.hard_mean)
        false += (1 - self.hard_share) * norm.sf(level)
        right, wrong = self.prevalence * recall, (1 - self.prevalence) * false
        return right / np.maximum(right + wrong, 1e-300), recall

    def draw(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return labels int8 [N], partly unverified, and scores [N]."""
        count = NUM_IMAGES
        present = generator.random(count) < self.prevalence
        hard = generator.random(count) < self.hard_share
        negative = generator.normal(np.where(hard, self.hard_mean, 0.0), 1.0)
        positive = generator.normal(self.positive_mean, self.positive_std, count)
        scores = expit(np.where(present, positive, negative) * self.scale + self.shift)
        verified = generator.random(count) < 0.3 + 0.7 * scores
        return np.where(verified, present, UNVERIFIED).astype(np.int8), scores


def random_scorer(generator: np.random.Generator) -> Scorer:
    """Return a tag, easy or hard, rare or frequent."""
    mean = generator.uniform(0.5, 4)
    return Scorer(
        prevalence=float(np.exp(generator.uniform(np.log(0.01), np.log(0.3)))),
        positive_mean=mean,
        positive_std=generator.uniform(0.7, 1.5),
        hard_share=generator.choice([0.0, generator.uniform(0, 0.15)]),
        hard_mean=mean * generator.uniform(0.3, 1),
        shift=generator.normal(-3, 0.7),
        scale=generator.uniform(0.7, 1.5),
    )


def simulate(target: float, draws: int, seed: int = 0) -> dict[str, float]:
    """Return `kept` and `found` over all draws, and the counts behind them."""
    generator = np.random.default_rng(seed)
    config = CalibrationConfig(target_precision=target)
    grid = expit(np.linspace(-8, 8, 400))
    given = kept = reachable = found = 0
    for _ in range(draws):
        scorers = [random_scorer(generator) for _ in range(NUM_TAGS)]
        drawn = [scorer.draw(generator) for scorer in scorers]
        labels, scores = (np.stack(part, axis=1) for part in zip(*drawn, strict=True))
        for scorer, tag in zip(scorers, choose_thresholds(labels, scores, config), strict=True):
            precision, recall = scorer.precision_and_recall(grid)
            can = bool(((precision >= target) & (recall >= LEAST_RECALL)).any())
            has = tag.outcome == "given"
            given += has
            reachable += can
            found += has and can
            if has:
                true, _ = scorer.precision_and_recall(np.array([tag.threshold]))
                kept += bool(true[0] >= target)
    return {
        "target_precision": target,
        "draws": draws,
        "tags_given": given,
        "kept": kept / max(given, 1),
        "tags_reachable": reachable,
        "found": found / max(reachable, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    arguments = parser.parse_args()
    results = [simulate(target, arguments.draws) for target in (0.5, 0.7, 0.9)]
    print(json.dumps(results, indent=2))
