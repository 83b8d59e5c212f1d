import numpy as np
import pytest
import torch

from ram_model.networks.normalisation import Normalisation
from ram_model.transforms import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD


@pytest.mark.parametrize(
    ("mean", "std"), [(IMAGENET_MEAN, IMAGENET_STD), (CLIP_MEAN, CLIP_STD)], ids=["infer", "train"]
)
def test_equals_the_transforms_of_the_reference(mean: tuple, std: tuple) -> None:
    from torchvision.transforms import functional

    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    ours = Normalisation(mean, std)(torch.from_numpy(pixels))
    for values, image in zip(ours, pixels, strict=True):
        theirs = functional.normalize(functional.to_tensor(image), list(mean), list(std))
        assert torch.equal(values, theirs)


def test_has_no_weights_to_store() -> None:
    assert Normalisation(CLIP_MEAN, CLIP_STD).state_dict() == {}
