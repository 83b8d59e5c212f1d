import re

import numpy as np
import pytest

from ram_model.metrics import UNVERIFIED
from ram_ray.data_engine.generate.choose import (
    NEVER,
    additions,
    choose_thresholds,
    choose_together,
)
from ram_ray.data_engine.generate.promises import Kept, least
from ram_ray.errors import ConfigError


@pytest.fixture(scope="module")
def world():
    """Scores of a decent model, captions that name 40 % of what is there, and now and then more."""
    generator = np.random.default_rng(0)
    shape = (5000, 12)
    truth = generator.random(shape) < np.linspace(0.03, 0.3, shape[1])
    logits = np.where(truth, 1.5, -4.5) + generator.normal(0, 1.2, shape)
    # a model trained on captions gives the chance that the caption names the tag
    scores = (0.42 / (1 + np.exp(-logits))).astype(np.float32)

    def caption():
        return (truth & (generator.random(shape) < 0.4)) | (generator.random(shape) < 0.004)

    return truth, scores, caption(), caption()


def measure(world, **evidence):
    truth, scores, observed, _ = world
    thresholds = choose_thresholds(scores, observed, target_precision=0.9, **evidence)
    added = additions(scores, observed, thresholds)
    return (added & truth).sum() / added.sum(), (added & truth).sum() / (truth & ~observed).sum()


def test_own_captions_alone_give_additions_about_as_precise_as_asked_for(world):
    precision, recall = measure(world)
    assert precision > 0.87
    assert recall > 0.6


def test_a_second_caption_of_some_images_does_as_well(world):
    agreement = world[3].astype(np.int8)
    agreement[1000:] = UNVERIFIED
    precision, recall = measure(world, agreement=agreement)
    assert precision > 0.87
    assert recall > 0.6


@pytest.mark.parametrize("count", [100, 600])
def test_trusted_images_are_used_where_there_are_some(world, count):
    rows = np.arange(count)
    precision, _ = measure(world, trusted=(rows, world[0][rows]))
    assert precision > 0.85


def test_a_higher_target_adds_less(world):
    _, scores, observed, _ = world
    few, many = (
        additions(scores, observed, choose_thresholds(scores, observed, target_precision=p)).sum()
        for p in (0.97, 0.8)
    )
    assert few < many


def test_nothing_named_is_added_and_candidates_bound_the_additions(world):
    _, scores, observed, other = world
    thresholds = choose_thresholds(scores, observed, candidates=other)
    added = additions(scores, observed, thresholds, candidates=other)
    assert added.any()
    assert not (added & observed).any()
    assert not (added & ~other).any()


def test_a_model_that_knows_nothing_adds_nothing():
    generator = np.random.default_rng(1)
    observed = generator.random((2000, 5)) < 0.1
    scores = generator.random((2000, 5)).astype(np.float32)
    thresholds = choose_thresholds(
        scores, observed, trusted=(np.arange(500), generator.random((500, 5)) < 0.2)
    )
    assert (thresholds.values == NEVER).all()
    assert np.isnan(thresholds.precision).all()


def test_own_captions_add_nothing_where_they_still_rise_among_the_surest():
    """A weak model: the surer it is, the more often a tag is there, up to its surest image."""
    generator = np.random.default_rng(2)
    shape = (5000, 12)
    truth = generator.random(shape) < 0.15
    logits = np.where(truth, 0.8, 0) - 2.5 + generator.normal(0, 1, shape)
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    first, second = (truth & (generator.random(shape) < 0.4) for _ in range(2))
    alone = choose_thresholds(scores, first)
    assert (alone.values == NEVER).all()
    assert "second captions or trusted labels" in (alone.reason or "")
    helped = choose_thresholds(scores, first, agreement=second.astype(np.int8))
    assert helped.reason != alone.reason


def test_wrong_arguments_are_named(world):
    _, scores, observed, _ = world
    with pytest.raises(ConfigError, match="target_precision is 1"):
        choose_thresholds(scores, observed, target_precision=1)
    with pytest.raises(ValueError, match="observed is"):
        choose_thresholds(scores, observed[:5])
    with pytest.raises(ValueError, match="between 0 and 1"):
        choose_thresholds(scores * 10, observed)


def test_what_is_kept_is_close_to_the_truth_and_the_bound_below_it(world):
    truth, scores, observed, other = world
    agreement = other.astype(np.int8)
    agreement[1000:] = UNVERIFIED
    chosen = choose_thresholds(scores, observed, agreement=agreement)
    added = additions(scores, observed, chosen)
    right = (added & truth).sum() / added.sum()
    assert chosen.kept is not None
    assert chosen.kept.at_least < right
    assert chosen.kept.precision == pytest.approx(right, abs=0.06)


def test_thresholds_that_only_luck_chose_add_nothing():
    """Unchecked, the tags that look best here are added, and right in three cases of four."""
    generator = np.random.default_rng(5)
    shape = (2000, 200)
    truth = generator.random(shape) < 0.02
    logits = np.where(truth, 2.4, 0) + generator.normal(0, 1, shape)
    scores = (0.5 / (1 + np.exp(3.5 - logits))).astype(np.float32)
    first, second = (truth & (generator.random(shape) < 0.35) for _ in range(2))
    agreement = second.astype(np.int8)
    agreement[500:] = UNVERIFIED
    chosen = choose_thresholds(scores, first, agreement=agreement)
    assert not additions(scores, first, chosen).any()


def test_a_promise_that_fails_says_what_came_nearest():
    """A model right in two of three additions, and people who say so."""
    generator = np.random.default_rng(6)
    shape = (2000, 20)
    sure = generator.random(shape) < 0.1
    truth = sure & (generator.random(shape) < 0.67)
    scores = np.where(sure, 0.4 + 0.1 * generator.random(shape), 0.01).astype(np.float32)
    observed = truth & (generator.random(shape) < 0.1)
    rows = np.arange(1000)
    high, low = (
        choose_thresholds(scores, observed, trusted=(rows, truth[rows]), target_precision=target)
        for target in (0.8, 0.55)
    )
    assert low.reason is None
    assert re.search("by the trusted labels .* 80% and 68% are needed", high.reason or "")


def test_the_bound_has_to_be_near_the_target():
    few = Kept(precision=0.95, at_least=0.7, num_additions=20)
    many = Kept(precision=0.91, at_least=0.88, num_additions=900)
    assert (few.holds(0.9), many.holds(0.9), many.holds(0.93)) == (False, True, False)
    assert least(0.9) == pytest.approx(0.81, abs=0.001)


def test_what_is_kept_counts_the_additions_of_all_rules(world):
    """Each alone may keep the target while the tags that either adds do not."""
    truth, scores, observed, other = world
    generator = np.random.default_rng(7)
    written = truth & (generator.random(truth.shape) < 0.5)
    agreement = other.astype(np.int8)
    together = choose_together(scores, observed, [None, written], agreement=agreement)
    alone = choose_thresholds(scores, observed, agreement=agreement)
    assert together[0].kept is not None
    assert alone.kept is not None
    assert together[0].kept.num_additions > alone.kept.num_additions
