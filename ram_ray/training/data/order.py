"""The order of samples, a function of seed and epoch alone: no worker needs to ask another one.

A position in a run is (epoch, step), whatever the number of workers: step s of an epoch owns
places s * G to (s + 1) * G of the epoch's order, G being the global batch.
"""

import math

import numpy as np

BLOCK_SAMPLES = 1024
"""Neighbours in the index, so mostly in one tar, that move together."""
WINDOW_BLOCKS = 32
"""Blocks that are shuffled into one another: 32,768 samples, so that fetches stay local."""


class EpochOrder:
    """Permutations of `num_samples` samples, one per epoch; windows of it are made when needed."""

    def __init__(self, num_samples: int, seed: int) -> None:
        if num_samples < 1:
            raise ValueError(f"num_samples is {num_samples}, but must be at least 1.")
        self.num_samples = num_samples
        self._seed = seed
        self._num_blocks = math.ceil(num_samples / BLOCK_SAMPLES)
        self._blocks: tuple[int, np.ndarray, np.ndarray] | None = None  # epoch, blocks, ends
        self._samples: tuple[int, int, np.ndarray] | None = None  # epoch, window, its samples

    def places(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Return the samples at places start..stop of an epoch, int64; stop may lie beyond it."""
        blocks, ends = self._epoch(epoch)
        stop = min(stop, self.num_samples)
        parts = [np.zeros(0, np.int64)]
        for window in range(math.ceil(self._num_blocks / WINDOW_BLOCKS)):
            first = window * WINDOW_BLOCKS
            last = min(first + WINDOW_BLOCKS, self._num_blocks)
            low, high = max(start, ends[first]), min(stop, ends[last])
            if low < high:
                samples = self._window(epoch, window, blocks[first:last])
                parts.append(samples[low - ends[first] : high - ends[first]])
        return np.concatenate(parts)

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an epoch's order of blocks, and the places where they end."""
        if self._blocks is None or self._blocks[0] != epoch:
            blocks = np.random.default_rng([self._seed, epoch]).permutation(self._num_blocks)
            last = self._num_blocks - 1
            sizes = np.full(self._num_blocks, BLOCK_SAMPLES, np.int64)
            sizes[blocks == last] = self.num_samples - last * BLOCK_SAMPLES
            self._blocks = (epoch, blocks, np.concatenate([[0], np.cumsum(sizes)]))
        return self._blocks[1:]

    def _window(self, epoch: int, window: int, blocks: np.ndarray) -> np.ndarray:
        if self._samples is None or self._samples[:2] != (epoch, window):
            starts = blocks.astype(np.int64) * BLOCK_SAMPLES
            samples = (starts[:, None] + np.arange(BLOCK_SAMPLES)).ravel()
            samples = samples[samples < self.num_samples]
            np.random.default_rng([self._seed, epoch, window]).shuffle(samples)
            self._samples = (epoch, window, samples)
        return self._samples[2]


class Plan:
    """Which samples each global step takes, and which of them each worker."""

    def __init__(self, order: EpochOrder, *, batch_size: int, epochs: int) -> None:
        self._order = order
        self._batch_size = batch_size
        self.steps_per_epoch = math.ceil(order.num_samples / batch_size)
        self.num_steps = self.steps_per_epoch * epochs

    def epoch_of(self, step: int) -> int:
        """Return the epoch, from 0, of a global step."""
        return step // self.steps_per_epoch

    def samples(self, step: int) -> np.ndarray:
        """Return the samples of a global step, int64; the last step of an epoch may be short."""
        start = (step % self.steps_per_epoch) * self._batch_size
        return self._order.places(self.epoch_of(step), start, start + self._batch_size)

    def share(self, step: int, rank: int, world: int) -> np.ndarray:
        """Return the contiguous part of a step that a worker takes; it may be empty."""
        samples = self.samples(step)
        return samples[len(samples) * rank // world : len(samples) * (rank + 1) // world]

    def num_parts(self, step: int, world: int, micro_batch_size: int) -> int:
        """Return the forward passes of every worker in a step, equal for all of them."""
        largest = math.ceil(len(self.samples(step)) / world)
        return max(1, math.ceil(largest / micro_batch_size))
