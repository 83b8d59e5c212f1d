"""The trained model that ships in the package."""

import io
import json
import os
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data as skimage_data

from ram_model import Tagger, load_folder
from ram_model.pretrained import PACKAGED
from ram_model.transforms import resize_for_inference

FOLDER = PACKAGED / "ram-mini"
MAX_BYTES = 30_000_000


def test_folder_loads_and_is_small():
    loaded = load_folder(FOLDER)  # checks the checksums and every key and shape
    assert loaded.config.image_size_px == 128
    assert len(loaded.vocabulary) == loaded.config.num_tags > 150
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < MAX_BYTES


def test_card_and_licence_travel_with_the_weights():
    assert {"MODEL_CARD.md", "WEIGHTS_LICENSE"} <= {path.name for path in FOLDER.iterdir()}


def test_thresholds_are_usable():
    thresholds = load_folder(FOLDER).vocabulary.thresholds
    assert (thresholds > 0).all()
    assert (thresholds <= 1).all()
    assert 60 <= (thresholds < 1).sum()  # the tags that can fire


@pytest.mark.parametrize(("photo", "expected"), [("astronaut", "woman"), ("chelsea", "animal")])
def test_photo_of_another_source_gets_ordinary_tags(photo, expected):
    tagger = Tagger.load("ram-mini")
    assert not tagger.is_random
    tags = tagger.tag_image(Image.fromarray(getattr(skimage_data, photo)()))
    assert expected in tags.names
    assert 1 <= len(tags.names) <= 15
