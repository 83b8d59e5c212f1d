"""The models that look at images, with their tags renumbered into the run's vocabulary."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ram_model.vocabulary import Vocabulary
from ram_ray.data_engine.look.locators import Locator
from ram_ray.errors import ConfigError
from ram_ray.workers.tagger import TaggerOptions, load_tagger


class Eyes:
    """One model: scores and describes images in the run's tags (a `locators.RegionTagger`)."""

    def __init__(self, tagger: Any, vocabulary: Vocabulary) -> None:
        self._tagger = tagger
        self._columns, self._tag_ids = renumber(tagger.vocabulary, vocabulary)
        self._num_tags = len(vocabulary)
        self.image_size_px: int = tagger.image_size_px
        self.device = str(tagger.device)
        self.num_passes = 0
        """Crops looked at so far."""

    def describe(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `RegionTagger.describe`; NaN in the columns of tags that the model does not know."""
        scores, vectors = self._tagger.describe(images)
        self.num_passes += len(images)
        ours = np.full((len(images), self._num_tags), np.nan, np.float32)
        ours[:, self._tag_ids] = scores[:, self._columns]
        return ours, vectors

    def caption(self, images: np.ndarray) -> list[str | None]:
        """Return a caption per image, guided by the tags found."""
        self.num_passes += len(images)
        size = self._tagger.batch_size
        parts = [images[start : start + size] for start in range(0, len(images), size)]
        return [tags.caption for part in parts for tags in self._tagger(part)]


class FoldedEyes:
    """The models of all folds; each is loaded when a shard of its fold comes."""

    def __init__(self, models: Sequence[TaggerOptions], vocabulary: Vocabulary) -> None:
        self._models = models
        self._vocabulary = vocabulary
        self._eyes: dict[int, Eyes] = {}

    def of_fold(self, fold: int) -> Eyes:
        """Return the model that judges the images of a fold."""
        if fold not in self._eyes:
            tagger, _ = load_tagger(self._models[fold])
            self._eyes[fold] = Eyes(tagger, self._vocabulary)
        return self._eyes[fold]


def renumber(model: Vocabulary, ours: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Return (columns of the model, tag ids of ours) of the tags that both have, by name.

    Raises:
        ConfigError: they have none in common.
    """
    if model.sha256 == ours.sha256:
        every = np.arange(len(ours))
        return every, every
    pairs: dict[int, int] = {}
    for tag_id, name in enumerate(ours.names):
        found = model.find(name)
        if len(found) == 1:
            pairs.setdefault(tag_id, found[0])
    if not pairs:
        raise ConfigError("vocabulary and model have no tag in common.")
    return np.array(list(pairs.values())), np.array(list(pairs))


def shrink(image: np.ndarray, size_px: int) -> np.ndarray:
    """Return the image uint8 [P, P, 3] at the model's size, uint8 [size_px, size_px, 3]."""
    if image.shape[0] == size_px:
        return image
    small = Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BILINEAR)
    return np.asarray(small)


def locate(
    eyes: Eyes, locator: Locator, image: np.ndarray, tag_ids: Sequence[int]
) -> tuple[list[Any], np.ndarray, np.ndarray, list[str]]:
    """Return regions, their scores [R, T] and vectors [R, E], and why others are unusable."""
    from ram_ray.data_engine.look.locators import check_regions
    from ram_ray.data_engine.look.windows import WindowLocator, describe_regions

    if isinstance(locator, WindowLocator):  # the windows have been scored already
        regions, scores, vectors = locator.describe_regions(image, tag_ids)
        return regions, scores, vectors, []
    regions, problems = check_regions(locator.regions(image, tag_ids), tag_ids)
    scores, vectors = describe_regions(eyes, image, regions)
    return regions, scores, vectors, problems
