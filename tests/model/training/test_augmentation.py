import numpy as np
import pytest
from PIL import Image

from ram_model.training.augmentation import (
    CropBox,
    ViewRequest,
    augment_for_training,
    augmentation_rng,
    crop_and_resize,
    draw_crop,
    training_view,
)
from ram_model.transforms import resize_for_inference


def _photo(width: int = 90, height: int = 60) -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def _augmented(image: Image.Image, *, seed: int = 0, epoch: int = 0, sample: str = "a") -> bytes:
    rng = augmentation_rng(seed=seed, epoch=epoch, sample=sample)
    pixels = augment_for_training(image, 32, rng)
    assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.dtype(np.uint8))
    return pixels.tobytes()


def test_augmentation_depends_on_seed_epoch_and_sample_alone() -> None:
    image = _photo()
    views = [
        _augmented(image, seed=seed, epoch=epoch, sample=sample)
        for seed in (0, 1)
        for epoch in (0, 1)
        for sample in ("a", "b", "ab")
    ]
    assert len(set(views)) == 12
    np.random.seed(5)  # the global state must not matter
    assert _augmented(image, seed=1, epoch=1, sample="b") == views[10]
    assert augmentation_rng(seed=0, epoch=0, sample=7).random() != (
        augmentation_rng(seed=0, epoch=7, sample=0).random()
    )


def test_a_second_view_of_the_same_sample_is_another_crop() -> None:
    rng = augmentation_rng(seed=0, epoch=0, sample="a")
    first, second = (augment_for_training(_photo(), 32, rng) for _ in range(2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("wrong", [{"seed": -1, "epoch": 0}, {"seed": 0, "epoch": -1}])
def test_negative_keys_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="is -1, but must be at least 0"):
        augmentation_rng(**wrong, sample="a")


def test_only_rgb_is_augmented() -> None:
    with pytest.raises(ValueError, match="mode is 'L', but must be RGB"):
        augment_for_training(Image.new("L", (4, 4)), 8, np.random.default_rng(0))


def test_half_of_the_views_are_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ram_model.training.augmentation.rand_augment", lambda image, rng: image)
    ramp = Image.fromarray(np.tile(np.arange(90, dtype=np.uint8)[None, :, None], (60, 1, 3)))
    views = [augment_for_training(ramp, 8, np.random.default_rng(i)) for i in range(400)]
    mirrored = [view[0, 0, 0] > view[0, 7, 0] for view in views]
    assert np.mean(mirrored) == pytest.approx(0.5, abs=0.08)


def test_crops_are_distributed_as_those_of_torchvision() -> None:
    torch = pytest.importorskip("torch")
    from torchvision.transforms import RandomResizedCrop

    torch.manual_seed(0)
    rng, image = np.random.default_rng(0), _photo()
    ours = np.array([draw_crop(90, 60, rng) for _ in range(4000)])
    drawn = [
        RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3])  # pyright: ignore[reportArgumentType]
        for _ in range(4000)
    ]
    theirs = np.array(drawn)[:, [1, 0, 3, 2]]  # top, left, height, width there
    assert np.abs(ours.mean(0) - theirs.mean(0)).max() <= 1
    assert np.abs(ours.std(0) - theirs.std(0)).max() <= 1
    shares = ours[:, 2] * ours[:, 3] / (90 * 60)
    assert shares.min() == pytest.approx(0.2, abs=0.02)
    assert ours.min() >= 0
    assert (ours[:, 0] + ours[:, 2]).max() <= 90
    assert (ours[:, 1] + ours[:, 3]).max() <= 60


@pytest.mark.parametrize(
    ("size", "box"),
    [((1000, 10), CropBox(493, 0, 13, 10)), ((10, 1000), CropBox(0, 493, 10, 13))],
)
def test_panoramas_get_the_largest_centred_crop(size: tuple[int, int], box: CropBox) -> None:
    assert draw_crop(*size, np.random.default_rng(0)) == box


def test_one_pixel_is_enough() -> None:
    pixels = augment_for_training(Image.new("RGB", (1, 1), (9, 8, 7)), 4, np.random.default_rng(0))
    assert pixels.shape == (4, 4, 3)


def test_crop_is_resized_as_torchvision_does() -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    image, box = _photo(), CropBox(11, 7, 40, 45)
    theirs = functional.resized_crop(
        image, box.top, box.left, box.height, box.width, [32, 32], Image.Resampling.BICUBIC
    )
    assert np.array_equal(np.array(crop_and_resize(image, box, 32)), np.array(theirs))


def test_a_view_says_what_of_the_image_it_shows() -> None:
    ramp = np.zeros((90, 120, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 240, 120)  # red says how far right a pixel lies
    image = Image.fromarray(ramp)
    for epoch in range(6):
        request = ViewRequest("crop", 3, epoch, "a.jpg")
        view = training_view(image, 32, request)
        assert np.array_equal(view.pixels, training_view(image, 32, request).pixels)
        left, _, width, _ = view.crop
        ends = (left, left + width) if not view.mirrored else (left + width, left)
        seen = view.pixels[16, :, 0].astype(float)
        assert seen[0] == pytest.approx(ends[0] * 240, abs=8)
        assert seen[-1] == pytest.approx(ends[1] * 240, abs=8)
    rng = augmentation_rng(seed=3, epoch=0, sample="a.jpg")
    full = training_view(image, 32, ViewRequest("full", 3, 0, "a.jpg"))
    assert np.array_equal(full.pixels, augment_for_training(image, 32, rng))
    whole = training_view(image, 32, ViewRequest("none", 3, 0, "a.jpg"))
    assert np.array_equal(whole.pixels, resize_for_inference(image, 32))
