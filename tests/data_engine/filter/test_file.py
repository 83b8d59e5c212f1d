"""A stored filter decides to the last bit as the one that was fitted."""

import numpy as np

from ram_ray.data_engine.config import FilterConfig
from ram_ray.data_engine.filter.evidence import NO_RIVAL, Evidence
from ram_ray.data_engine.filter.file import filter_from_json, filter_to_json
from ram_ray.data_engine.filter.fit import decide, fit


def evidence(count: int, seed: int, centre: float) -> Evidence:
    draw = np.random.default_rng(seed)
    score = draw.beta(4 * centre + 0.5, 2, count).astype(np.float32)
    return Evidence(
        caption=np.arange(count) // 3 + 10_000 * seed,
        tag_id=draw.integers(0, 5, count).astype(np.int32),
        kind=np.zeros(count, np.int8),
        whole=score,
        region=np.where(draw.random(count) < 0.2, np.nan, score).astype(np.float32),
        rival=draw.random(count).astype(np.float32),
        rival_id=np.full(count, NO_RIVAL, np.int32),
        cluster_z=draw.normal(size=count).astype(np.float32),
        expected=draw.gamma(2, 2, count).astype(np.float32),
    )


def test_a_filter_survives_its_file() -> None:
    named, wrong = evidence(600, 1, 0.9), evidence(300, 2, 0.05)
    config = FilterConfig(min_precision=0.01, max_over_removal=0.5, rules=("improbable",))
    judge = fit(named, wrong, 5, config)
    again = filter_from_json(filter_to_json(judge))
    assert again.config == config
    mine, theirs = decide(judge, named), decide(again, named)
    assert np.array_equal(mine.suspicion, theirs.suspicion)
    assert np.array_equal(mine.removed, theirs.removed)
    assert mine.removed.any()
