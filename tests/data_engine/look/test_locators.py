import math

import numpy as np
import pytest

from ram_ray.data_engine.config import WindowConfig
from ram_ray.data_engine.look.locators import Region, check_regions, crop
from ram_ray.data_engine.look.windows import WindowLocator, describe_regions, window_boxes


class LeftIsBright:
    """Tag 0 is brightness, tag 1 darkness; counts the crops it sees."""

    image_size_px = 16

    def __init__(self) -> None:
        self.seen = 0

    def describe(self, images):
        self.seen += len(images)
        bright = images.mean(axis=(1, 2, 3), dtype=np.float32) / 255
        return np.stack([bright, 1 - bright], axis=1), images.mean(axis=(1, 2)).astype(np.float32)


@pytest.fixture
def image():
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :30] = 255
    return pixels


def test_windows_cover_the_image():
    boxes = np.array(window_boxes(WindowConfig(scales=(0.5,), overlap=0.5)))
    assert len(boxes) == 9
    assert boxes.min() == 0
    assert boxes.max() == 1


def test_a_tag_is_in_the_window_that_shows_it(image):
    tagger = LeftIsBright()
    locator = WindowLocator(tagger, WindowConfig(scales=(0.4,)))
    bright, dark = locator.regions(image, [0, 1])
    assert (bright.tag_id, dark.tag_id) == (0, 1)
    assert bright.box[2] < 0.45  # x of the right edge
    assert dark.box[0] > 0.35
    assert tagger.seen == locator.passes_per_image


def test_a_tag_that_no_window_shows_is_not_found(image):
    locator = WindowLocator(LeftIsBright(), WindowConfig(min_score=0.5))
    assert [region.tag_id for region in locator.regions(np.zeros_like(image), [0, 1])] == [1]


def test_the_windows_scores_and_features_come_with_the_regions(image):
    tagger = LeftIsBright()
    regions, scores, features = WindowLocator(tagger).describe_regions(image, [1])
    again, _ = describe_regions(tagger, image, regions)
    np.testing.assert_allclose(scores, again, atol=1e-6)
    assert features.shape == (1, 3)


def test_no_regions_have_no_scores(image):
    scores, features = describe_regions(LeftIsBright(), image, [])
    assert (len(scores), len(features)) == (0, 0)


def test_broken_regions_are_counted_and_the_others_clipped():
    def region(box, score=0.5, tag_id=3):
        return Region(tag_id=tag_id, box=box, score=score)

    given = [
        region((-0.5, 0, 0.5, 2)),
        region((0, 0, math.nan, 1)),
        region((0, 0, 1, 1), score=math.inf),
        region((0.5, 0.5, 0.5, 0.6)),
        region((1.2, 0, 1.5, 1)),
        region((0, 0, 1, 1), tag_id=4),
    ]
    good, problems = check_regions(given, [3])
    assert [r.box for r in good] == [(0, 0, 0.5, 1)]
    expected = ["not_finite", "not_finite", "empty_box", "empty_box", "tag_not_asked_for"]
    assert problems == expected


def test_a_crop_thinner_than_a_pixel_still_is_one(image):
    assert crop(image, (0.999, 0.999, 1.0, 1.0), 8).shape == (8, 8, 3)
