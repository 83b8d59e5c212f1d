"""The pictures that `ram-ray demo --serve` shows: the demo's own, with their credits."""

import json

from PIL import Image

from ram_ray.demo.page import write_examples
from ram_ray.serving.config import PageConfig


def test_every_listed_picture_is_there_with_its_credit(tmp_path):
    count = write_examples(tmp_path)
    PageConfig(examples=str(tmp_path))  # accepts it
    listed = json.loads((tmp_path / "examples.json").read_text())
    assert listed["open"] is True
    pictures = listed["pictures"]
    assert len(pictures) == count
    assert {picture["name"].split("/")[0] for picture in pictures} == {"photos", "crops", "broken"}
    for picture in pictures:
        path = tmp_path / picture["name"]
        assert path.is_file()
        if not picture["name"].startswith("broken/"):
            assert picture["licence"]
            with Image.open(path) as image:
                image.verify()
    crop = next(each for each in pictures if each["name"] == "crops/chelsea-1.jpg")
    assert (crop["title"], crop["credit"]) == ("Chelsea the cat", "Stefan van der Walt")
