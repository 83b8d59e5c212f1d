import dataclasses

import numpy as np
import pytest

from ram_ray.data_engine.evidence import Evidence, kind_codes, strongest_rivals
from ram_ray.data_engine.filter_config import RULES, FilterConfig
from ram_ray.data_engine.filtering import Filter, decide, fit
from ram_ray.data_engine.wrong_tags import draw_wrong_tags
from ram_ray.errors import ConfigError

NUM_TAGS = 10


class World:
    """3,000 images; captions name half of what is there, and a tenth of the named is wrong."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng(0)
        shape = (3000, NUM_TAGS)
        self.truth = self.generator.random(shape) < 0.2
        self.observed = self.truth & (self.generator.random(shape) < 0.5)
        self.observed |= ~self.truth & (self.generator.random(shape) < 0.014)
        noise = self.generator.normal(0, 1, (2, *shape))
        self.whole, self.region = 1 / (1 + np.exp(-(np.where(self.truth, 1.5, -1.5) + noise)))
        self.kinds = kind_codes(["object"] * 8 + ["scene"] * 2)

    def evidence(self, rows, tag_ids, captions) -> Evidence:
        rivals, rival_ids = strongest_rivals(self.region[rows], tag_ids, self.kinds)
        nowhere = self.kinds[tag_ids] == self.kinds[-1]  # nothing localises scenes
        region = np.where(nowhere, np.nan, self.region[rows, tag_ids])
        return Evidence(
            caption=captions.astype(np.int64),
            tag_id=tag_ids.astype(np.int32),
            kind=self.kinds[tag_ids],
            whole=self.whole[rows, tag_ids].astype(np.float32),
            region=region.astype(np.float32),
            rival=np.where(nowhere, np.nan, rivals).astype(np.float32),
            rival_id=rival_ids,
            cluster_z=np.where(nowhere, np.nan, -region).astype(np.float32),
        )

    def fit(self, **settings) -> tuple[Filter, Evidence, np.ndarray]:
        rows, tag_ids = np.nonzero(self.observed)
        named = self.evidence(rows, tag_ids, rows)
        wrong = draw_wrong_tags(self.observed, self.generator)
        captions = np.where(wrong.swapped, wrong.rows + len(self.observed), wrong.rows)
        drawn = self.evidence(wrong.rows, wrong.tag_ids, captions)
        judge = fit(named, drawn, NUM_TAGS, FilterConfig(**settings))
        return judge, named, ~self.truth[rows, tag_ids]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_wrong_tags_go_and_right_ones_stay_without_any_label(world):
    judge, named, is_wrong = world.fit()
    removed = decide(judge, named).removed
    assert is_wrong[removed].mean() > 0.5
    assert removed[is_wrong].mean() > 0.6
    assert removed[~is_wrong].mean() < 0.08
    assert judge.wrong_share == pytest.approx(is_wrong.mean(), abs=0.06)


def test_every_removal_has_one_rule_that_spoke_most_for_it(world):
    judge, named, _ = world.fit()
    decisions = decide(judge, named)
    assert ((decisions.rule >= 0) == decisions.removed).all()
    most = decisions.contributions.argmax(axis=1)
    assert (decisions.rule[decisions.removed] == most[decisions.removed]).all()
    total = decisions.contributions.sum(axis=1) + judge.bias
    np.testing.assert_allclose(total, decisions.suspicion, atol=1e-4)


def test_one_rule_alone_uses_its_own_evidence_only(world):
    judge, named, _ = world.fit(rules=("region_contradiction",))
    rules = decide(judge, named).rule
    assert set(rules.tolist()) == {-1, RULES.index("region_contradiction")}


def test_a_policy_keeps_what_nothing_localises(world):
    judge, named, _ = world.fit(policy={"scene": "keep"})
    removed = decide(judge, named).removed
    scene = named.kind == world.kinds[-1]
    assert removed.any()
    assert not removed[scene].any()


def test_a_decision_depends_on_its_own_caption_only(world):
    judge, named, _ = world.fit()
    whole = decide(judge, named)
    some = np.flatnonzero(named.caption < 40)
    part = decide(judge, named.where(some))
    np.testing.assert_array_equal(part.removed, whole.removed[some])
    np.testing.assert_allclose(part.suspicion, whole.suspicion[some], atol=1e-5)


def test_generated_tags_are_judged_beside_their_caption(world):
    judge, named, _ = world.fit()
    rows = np.unique(named.caption)[:50]
    tag_ids = np.full(50, 3)
    generated = world.evidence(rows, tag_ids, rows)
    assert len(decide(judge, generated, context=named).removed) == 50


def test_drawn_wrong_tags_are_none_of_the_images_own(world):
    wrong = draw_wrong_tags(world.observed, np.random.default_rng(3), num_images=200)
    assert len(np.unique(wrong.rows)) <= 200
    assert not world.observed[wrong.rows, wrong.tag_ids].any()


def test_too_little_to_learn_from_is_refused(world):
    rows, tag_ids = np.nonzero(world.observed)
    few = world.evidence(rows[:10], tag_ids[:10], rows[:10])
    with pytest.raises(ValueError, match="at least 50"):
        fit(few, few, NUM_TAGS)


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="policy"):
        FilterConfig(policy={"object": "burn"})  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="rules"):
        FilterConfig(rules=())


def test_evidence_of_uneven_columns_or_without_a_whole_score_is_refused(world):
    rows, tag_ids = np.nonzero(world.observed)
    named = world.evidence(rows, tag_ids, rows)
    with pytest.raises(ValueError, match="whole is"):
        dataclasses.replace(named, whole=named.whole[:3])
    with pytest.raises(ValueError, match="whole holds NaN"):
        dataclasses.replace(named, whole=np.full_like(named.whole, np.nan))
