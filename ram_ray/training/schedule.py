"""The learning rate of every step: warm-up, then one of the schedules."""

import math

from ram_ray.training.config import TrainConfig

PAPER_WARMUP_STEPS = 3000
"""Of RAM's pretraining (recognize-anything, `configs/pretrain.yaml`)."""


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a global step (the papers' code: `utils.py`, both schedules)."""
    total = steps_per_epoch * config.epochs
    warmup = config.warmup_steps
    if warmup is None:
        warmup = min(PAPER_WARMUP_STEPS, math.ceil(total / 10))
    peak, floor = config.learning_rate, min(config.min_learning_rate, config.learning_rate)
    if step < warmup:
        return floor + (peak - floor) * (step + 1) / warmup
    epoch = step // steps_per_epoch
    if config.schedule == "epoch_decay":
        return max(floor, peak * config.decay**epoch)
    if config.schedule == "epoch_cosine":
        return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * epoch / config.epochs))
    if config.schedule == "cosine":
        share = (step - warmup) / max(1, total - warmup)
        return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * share))
    return peak
