import dataclasses

import numpy as np
import pytest

from ram_ray.data_engine.config import RULES, FilterConfig
from ram_ray.data_engine.filter.evidence import Evidence, expected_of, kind_codes, strongest_rivals
from ram_ray.data_engine.filter.fit import Filter, decide, fit
from ram_ray.data_engine.filter.promises import UNKNOWN, Witnesses
from ram_ray.data_engine.filter.suspicion import FEATURES
from ram_ray.data_engine.filter.wrong_tags import draw_wrong_tags
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
        self.second = self.truth & (self.generator.random(shape) < 0.5)
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
            expected=expected_of(self.whole)[rows],
        )

    def fit(
        self, witnesses: Witnesses | None = None, **settings
    ) -> tuple[Filter, Evidence, np.ndarray]:
        rows, tag_ids = np.nonzero(self.observed)
        named = self.evidence(rows, tag_ids, rows)
        wrong = draw_wrong_tags(self.observed, np.random.default_rng(1))
        captions = np.where(wrong.swapped, wrong.rows + len(self.observed), wrong.rows)
        drawn = self.evidence(wrong.rows, wrong.tag_ids, captions)
        config = FilterConfig(**settings)
        judge = fit(named, drawn, NUM_TAGS, config, own=wrong.own, witnesses=witnesses)
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
    assert judge.promise.wrong_share == pytest.approx(is_wrong.mean(), abs=0.06)


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


def test_drawn_wrong_tags_are_not_the_images_own_but_where_they_make_a_caption_whole(world):
    wrong = draw_wrong_tags(world.observed, np.random.default_rng(3))
    own = world.observed[wrong.rows, wrong.tag_ids]
    np.testing.assert_array_equal(wrong.own, own)
    assert wrong.swapped[own].all()
    assert own.any()
    alone = {*zip(wrong.rows[~wrong.swapped], wrong.tag_ids[~wrong.swapped], strict=True)}
    both = wrong.swapped & ~own
    assert alone == {*zip(wrong.rows[both], wrong.tag_ids[both], strict=True)}


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


def test_swapped_captions_are_told_from_single_wrong_tags(world):
    """The same pictures, but a sixth of the captions is another picture's."""
    swapped = World()
    rows = np.flatnonzero(swapped.generator.random(3000) < 1 / 6)
    swapped.observed = swapped.truth & (swapped.generator.random(swapped.truth.shape) < 0.5)
    swapped.observed[rows] = swapped.observed[(rows + 7) % 3000]
    single, whole = world.fit()[0], swapped.fit()[0]
    assert single.swapped_share < 0.5 < whole.swapped_share
    at = [rule == "caption_mismatch" for _, rule in FEATURES]
    assert whole.weights[at].sum() > 1.5 * single.weights[at].sum()


def test_second_captions_that_name_the_removed_tags_forbid_to_remove_them(world):
    rows, tag_ids = np.nonzero(world.observed)
    said = world.second[rows, tag_ids].astype(np.int8)
    free, checked = world.fit()[0], world.fit(Witnesses(said=said))[0]
    assert free.promise.checked_by == "nobody"
    assert checked.promise.checked_by == "agreement"
    assert checked.promise.cut >= free.promise.cut
    judge, named, _ = world.fit(Witnesses(said=np.ones_like(said)))
    assert "other captions" in (judge.promise.broken or "")
    assert not decide(judge, named).removed.any()


def test_trusted_labels_are_counted_as_they_are(world):
    rows, tag_ids = np.nonzero(world.observed)
    said = world.truth[rows, tag_ids].astype(np.int8)
    said[rows > 1500] = UNKNOWN
    judge, named, is_wrong = world.fit(
        Witnesses(said=said, complete=True), max_over_removal=0.02, min_precision=0.8
    )
    removed = decide(judge, named).removed
    assert judge.promise.checked_by == "trusted"
    assert is_wrong[removed].mean() > 0.8
    assert removed[~is_wrong].mean() < 0.02
