"""Model processes by demand: images that wait, in every process and before them."""

from types import SimpleNamespace
from typing import Any

import pytest

from ram_ray.serving.models.scaling import DEMAND, replicas_for_demand


def context(running: int, reported: dict[str, float]) -> Any:
    return SimpleNamespace(
        current_num_replicas=running,
        target_num_replicas=3,
        aggregated_metrics={DEMAND: reported} if reported else {},
        config=SimpleNamespace(get_target_ongoing_requests=lambda: 16),
    )


@pytest.mark.parametrize(
    ("running", "reported", "wanted"),
    [
        (2, {"a": 40.0, "b": 24.0}, 4.0),  # 64 images, 16 each
        (1, {"a": 0.0}, 0.0),
        (2, {"a": 32.0}, 4.0),  # the other has not reported yet
        (0, {}, 3),  # starting: as before
        (2, {}, 3),
    ],
)
def test_a_process_for_each_batch_in_demand(
    running: int, reported: dict[str, float], wanted: float
) -> None:
    assert replicas_for_demand(context(running, reported)) == (wanted, {})
