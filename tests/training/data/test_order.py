"""The order of samples: each once, the same for any number of workers."""

import numpy as np
import pytest

from ram_ray.training.data.order import BLOCK_SAMPLES, EpochOrder, Plan


@pytest.mark.parametrize("num_samples", [1, 7, BLOCK_SAMPLES, 40 * BLOCK_SAMPLES + 5])
def test_an_epoch_holds_every_sample_once_and_slices_agree(num_samples: int) -> None:
    order = EpochOrder(num_samples, seed=3)
    whole = order.places(1, 0, num_samples + 10)
    assert np.array_equal(np.sort(whole), np.arange(num_samples))
    cut = [order.places(1, start, start + 999) for start in range(0, num_samples, 999)]
    assert np.array_equal(np.concatenate(cut), whole)


def test_epochs_and_seeds_differ_and_do_not_depend_on_history() -> None:
    order = EpochOrder(500, seed=3)
    first = order.places(0, 0, 500)
    assert not np.array_equal(first, order.places(1, 0, 500))
    assert not np.array_equal(first, EpochOrder(500, seed=4).places(0, 0, 500))
    assert np.array_equal(first, order.places(0, 0, 500))


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_shares_of_any_number_of_workers_make_up_the_step(world: int) -> None:
    plan = Plan(EpochOrder(23, seed=0), batch_size=5, epochs=2)
    assert (plan.steps_per_epoch, plan.num_steps) == (5, 10)
    for step in range(plan.num_steps):
        shares = [plan.share(step, rank, world) for rank in range(world)]
        assert np.array_equal(np.concatenate(shares), plan.samples(step))
        parts = plan.num_parts(step, world, micro_batch_size=2)
        assert all(len(share) <= 2 * parts for share in shares)
    assert len(plan.samples(4)) == 3
