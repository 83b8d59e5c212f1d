"""Pairs of image and tag sorted by score into levels, to count them there."""

from dataclasses import dataclass

import numpy as np

GRID = 32
"""Levels of score."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Levels:
    """The considered pairs by their score over the tag's mention rate, highest first."""

    grid: np.ndarray
    """float64 [G], the lower end of each level, falling."""
    level: np.ndarray
    """int [N, T], from 0 (highest) to G - 1; G: below all."""
    considered: np.ndarray
    added: np.ndarray
    """float64 [G, T], pairs that the caption does not name."""

    @classmethod
    def of(cls, relative: np.ndarray, observed: np.ndarray, considered: np.ndarray) -> "Levels":
        """Sort pairs [N, T] into levels, thinner ones at the top."""
        values = np.sort(relative[considered & ~observed])[::-1]
        if len(values) == 0:
            values = np.ones(1)
        ranks = np.geomspace(min(30, len(values)), len(values), GRID).astype(int) - 1
        grid = np.unique(values[ranks])[::-1]
        level = len(grid) - np.searchsorted(grid[::-1], relative, side="right")
        empty = np.zeros((len(grid), relative.shape[1]))
        levels = cls(grid=grid, level=level, considered=considered, added=empty)
        return cls(grid=grid, level=level, considered=considered, added=levels.sum(~observed))

    def sum(self, pairs: np.ndarray) -> np.ndarray:
        """Return float64 [G, T], how many of these considered pairs bool [N, T] each level has."""
        size, num_tags = len(self.grid), self.level.shape[1]
        cells = self.level * num_tags + np.arange(num_tags)
        chosen = (pairs & self.considered).ravel()
        total = np.bincount(cells.ravel()[chosen], minlength=(size + 1) * num_tags)
        return total.reshape(size + 1, num_tags)[:size].astype(np.float64)
