from collections import Counter

import numpy as np
import pytest
from PIL import Image

from ram_model.training import rand_augment as module
from ram_model.training.rand_augment import OPERATIONS, rand_augment


def _photo(width: int = 64, height: int = 48) -> Image.Image:
    """Smooth content between 40 and 200: no channel is stretched already."""
    coarse = np.random.default_rng(0).integers(40, 200, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def _by_definition(image: Image.Image, source_of: object) -> np.ndarray:
    """Bilinear lookup at `source_of(x, y)`, pixel centres at whole numbers; NaN outside."""
    pixels = np.array(image).astype(float)
    ys, xs = np.mgrid[: image.height, : image.width].astype(float)
    x, y = source_of(xs, ys)  # pyright: ignore[reportCallIssue]
    inside = (x >= 0) & (y >= 0) & (x <= image.width - 1) & (y <= image.height - 1)
    x0 = np.clip(np.floor(x).astype(int), 0, image.width - 2)
    y0 = np.clip(np.floor(y).astype(int), 0, image.height - 2)
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]
    upper = pixels[y0, x0] * (1 - fx) + pixels[y0, x0 + 1] * fx
    lower = pixels[y0 + 1, x0] * (1 - fx) + pixels[y0 + 1, x0 + 1] * fx
    return np.where(inside[..., None], upper * (1 - fy) + lower * fy, np.nan)


def _rotated(xs: np.ndarray, ys: np.ndarray, sign: float) -> tuple[np.ndarray, np.ndarray]:
    angle, x, y = np.deg2rad(15 * sign), xs - 32, ys - 24
    # image rows grow downwards: turning the content to the left looks up to the right
    return x * np.cos(angle) - y * np.sin(angle) + 32, x * np.sin(angle) + y * np.cos(angle) + 24


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("name", "source_of"),
    [
        ("ShearX", lambda x, y, s: (x - s * 0.15 * y, y)),
        ("ShearY", lambda x, y, s: (x, y - s * 0.15 * x)),
        ("TranslateX", lambda x, y, s: (x + s * 5, y)),
        ("TranslateY", lambda x, y, s: (x, y + s * 5)),
        ("Rotate", _rotated),
    ],
)
def test_geometry(name: str, source_of: object, sign: float) -> None:
    image = _photo()
    expected = _by_definition(image, lambda x, y: source_of(x, y, sign))  # pyright: ignore[reportCallIssue]
    ours = np.array(OPERATIONS[name](image, sign)).astype(float)
    inside = ~np.isnan(expected)
    assert 0.6 < inside.mean() < 1
    assert np.abs(ours - expected)[inside].max() <= 1.01  # Pillow cuts off what others round
    if name.startswith("Translate"):
        assert (ours[~inside] == 128).all()


def test_colours() -> None:
    image = _photo()
    stretched = np.array(OPERATIONS["AutoContrast"](image, 1))
    assert stretched.min(axis=(0, 1)).tolist() == [0, 0, 0]
    assert stretched.max(axis=(0, 1)).tolist() == [255, 255, 255]
    flat = np.array(OPERATIONS["Equalize"](image, 1))
    for channel in range(3):
        counts, _ = np.histogram(flat[..., channel], bins=4, range=(0, 256))
        assert counts / counts.sum() == pytest.approx([0.25] * 4, abs=0.03)
    for name in ("Identity", "Brightness", "Sharpness"):
        assert OPERATIONS[name](image, -1) is image


def test_two_draws_with_replacement_each_applied_half_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[str, float]] = []

    def record(name: str) -> module.Operation:
        return lambda image, sign: calls.append((name, sign)) or image

    monkeypatch.setattr(module, "OPERATIONS", {name: record(name) for name in OPERATIONS})
    rng, image, lengths, repeats = np.random.default_rng(0), _photo(), Counter(), 0
    for _ in range(4000):
        start = len(calls)
        rand_augment(image, rng)
        applied = calls[start:]
        lengths[len(applied)] += 1
        repeats += len(applied) == 2 and applied[0][0] == applied[1][0]
    assert [lengths[n] / 4000 for n in range(3)] == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    assert repeats / lengths[2] == pytest.approx(0.1, abs=0.03)
    frequency = Counter(name for name, _ in calls)
    assert set(frequency) == set(OPERATIONS)
    assert min(frequency.values()) > 0.08 * len(calls)
    assert np.mean([sign for _, sign in calls]) == pytest.approx(0, abs=0.05)
