"""How good ram-mini's captions are: CIDEr, beside the captions of the nearest training photo."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ram_model import Ram, load_folder
from ram_model.captioning import Captioner
from ram_model.networks.text_generation import CaptionOptions
from ram_ray.evaluation.cider import Cider
from research.ram_mini.tokens import Photos

if TYPE_CHECKING:
    from research.ram_mini.caption import Guides


def measure(folder: Path, photos: Photos, guides: "Guides", cache: Path) -> dict:
    """Return CIDEr of the written folder's captions and of the neighbours', by tars."""
    loaded = load_folder(folder, captions=True)
    assert isinstance(loaded.model, Ram)
    assert loaded.tokenizer is not None
    captioner = Captioner(loaded.model, loaded.tokenizer, CaptionOptions())
    nearest = nearest_training_photos(cache, photos)
    figures: dict[str, object] = {"bytes": sum(p.stat().st_size for p in folder.rglob("*.*"))}
    for name, rows in (("tar_9", photos.threshold_rows), ("tars_10_11", photos.test_rows)):
        texts = write_captions(captioner, loaded.model, photos, guides, rows)
        figures[name] = compare(photos, rows, texts, nearest[rows])
        figures[f"{name}_examples"] = texts[:8]
    return figures


@torch.inference_mode()
def write_captions(
    captioner: Captioner, model: Ram, photos: Photos, guides: "Guides", rows: np.ndarray
) -> list[str]:
    """Return the captions of some photos, guided by the tags found."""
    texts: list[str] = []
    for part in np.array_split(rows, math.ceil(len(rows) / 50)):
        tokens = project(model, photos.tokens[part, 0].float())
        texts += captioner(tokens, guides.found(part))
    return texts


def nearest_training_photos(cache: Path, photos: Photos) -> np.ndarray:
    """Return for each photo the training photo whose pooled SqueezeNet features are nearest."""
    maps = np.load(cache / "teacher_map.npy", mmap_mode="r")
    pooled = [
        np.sqrt(maps[row].astype(np.float32)).mean((1, 2)) for row in range(len(photos.tokens))
    ]
    features = np.stack(pooled)
    features -= features[photos.train_rows].mean(0)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return photos.train_rows[(features @ features[photos.train_rows].T).argmax(1)]


def compare(photos: Photos, rows: np.ndarray, texts: list[str], nearest: np.ndarray) -> dict:
    """Return CIDEr-D and CIDEr of the texts and of the neighbours' captions.

    Of the neighbour's five captions: the mean score of them, and that of the one most like the
    other four. Intervals are 95 % by resampling photos, of the difference to that one.
    """
    result: dict[str, object] = {}
    for name, robust in (("cider_d", True), ("cider", False)):
        metric = Cider([photos.captions[row] for row in rows], robust=robust)
        own = np.array(metric.score(texts))
        each = np.array(
            [[metric.score_one(i, c) for c in photos.captions[n]] for i, n in enumerate(nearest)]
        )
        central = each[np.arange(len(rows)), [most_central(photos.captions[n]) for n in nearest]]
        gain = own - central
        draws = [
            gain[np.random.default_rng(i).integers(0, len(gain), len(gain))].mean()
            for i in range(200)
        ]
        margin = 1.96 * float(np.std(draws))
        result[name] = {
            "model": round(float(own.mean()), 4),
            "neighbour_mean_of_five": round(float(each.mean()), 4),
            "neighbour_most_central": round(float(central.mean()), 4),
            "gain_over_most_central": [round(float(gain.mean()) + s * margin, 4) for s in (-1, 1)],
        }
    return result | {"different_captions": len(set(texts)), "photos": len(texts)}


def most_central(captions: Sequence[str]) -> int:
    """Return the number of the caption that shares most words with the others."""
    words = [set(plain(caption).split()) for caption in captions]
    shares = [sum(len(a & b) / len(a | b) for b in words) for a in words]
    return int(np.argmax(shares))


def project(model: Ram, tokens: Tensor) -> Tensor:
    """Return image tokens [B, 1 + T, E] of the encoder's [B, T, V], the mean first."""
    return model.image_projection(torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1))


def plain(caption: str) -> str:
    """Return a caption in lower case without the full stop and the spaces around it."""
    return " ".join(caption.lower().replace('"', " ").strip(" .").split())
