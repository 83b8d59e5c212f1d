"""The locator that needs no detector: windows of several sizes, scored by the tagger itself."""

from collections.abc import Sequence

import numpy as np

from ram_ray.data_engine.config import WindowConfig
from ram_ray.data_engine.look.locators import Box, Region, RegionTagger, crop


def window_boxes(config: WindowConfig) -> list[Box]:
    """Return the windows of an image: per scale a square grid that covers it."""
    boxes: list[Box] = []
    for scale in config.scales:
        steps = int(np.ceil((1 - scale) / (scale * (1 - config.overlap)) - 1e-9)) + 1
        starts = np.linspace(0, 1 - scale, steps) if steps > 1 else np.array([(1 - scale) / 2])
        boxes += [
            (float(x), float(y), float(x + scale), float(y + scale)) for y in starts for x in starts
        ]
    return boxes


class WindowLocator:
    """Scores every window with a tagger; a tag is where its score is highest."""

    name = "windows"

    def __init__(self, tagger: RegionTagger, config: WindowConfig | None = None) -> None:
        self._tagger = tagger
        self._config = config or WindowConfig()
        self._boxes = window_boxes(self._config)

    @property
    def passes_per_image(self) -> int:
        """Crops that the tagger sees per image."""
        return len(self._boxes)

    def regions(self, image: np.ndarray, tag_ids: Sequence[int]) -> list[Region]:
        """As `Locator.regions`; the score is the tagger's on the window."""
        return self.describe_regions(image, tag_ids)[0]

    def describe_regions(
        self, image: np.ndarray, tag_ids: Sequence[int]
    ) -> tuple[list[Region], np.ndarray, np.ndarray]:
        """Return the regions, and of each the scores [R, T] and features [R, D] of the tagger.

        Saves a second pass over the crops: locating by windows has already scored them.
        """
        side = self._tagger.image_size_px
        crops = np.stack([crop(image, box, side) for box in self._boxes])
        scores, features = self._tagger.describe(crops)
        regions, rows = [], []
        for tag_id in dict.fromkeys(tag_ids):
            best = np.argsort(-scores[:, tag_id], kind="stable")[: self._config.regions_per_tag]
            for row in best.tolist():
                score = float(scores[row, tag_id])
                if score >= self._config.min_score:
                    regions.append(Region(tag_id=tag_id, box=self._boxes[row], score=score))
                    rows.append(row)
        return regions, scores[rows], features[rows]


def describe_regions(
    tagger: RegionTagger, image: np.ndarray, regions: Sequence[Region]
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores float32 [R, T] and features float32 [R, D] of any locator's regions."""
    if not regions:
        scores, features = tagger.describe(np.zeros((0, *_square(tagger), 3), np.uint8))
        return scores, features
    crops = np.stack([crop(image, region.box, tagger.image_size_px) for region in regions])
    return tagger.describe(crops)


def _square(tagger: RegionTagger) -> tuple[int, int]:
    return tagger.image_size_px, tagger.image_size_px
