"""Turn a run of `tune` into the model folder: weights, vocabulary, thresholds, text encoder.

    python -m research.ram_mini.lite2.finish --data ../shared/data --wheels WHEELS --cache CACHE \
        --vocabulary VOCABULARY --text model/ram_model/weights/ram-mini --run RUN --folder FOLDER
"""

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from timm.layers.norm_act import FrozenBatchNormAct2d
from torch import Tensor, nn

from ram_model import ConvConfig, Vocabulary
from ram_model.files.checkpoint import write_folder
from ram_model.networks.image_encoder import ImageEncoder, build_image_encoder
from ram_model.networks.ram import Ram
from ram_model.vocabulary import OFF
from ram_model.words.label_embeddings import TEMPLATES, TEXT_ENCODER
from ram_model.words.text_encoder import CONFIG, WEIGHTS
from research.ram_mini.lite2.features import TUNED, Features
from research.ram_mini.lite2.lower import LOWER_STAGES
from research.ram_mini.lite2.pack import Linear, pack, with_encoder
from research.ram_mini.lite2.photos import IMAGE_SIZE_PX
from research.ram_mini.lite2.source import ARCHITECTURE, read_wheel, to_timm
from research.ram_mini.lite2.thresholds import Chosen, choose, read_seen
from research.ram_mini.lite2.vocabulary import Words, load_words
from research.ram_mini.open import OPEN_SET_THRESHOLD, embed
from research.ram_mini.probe import decode


def published_encoder(wheels: Path) -> ImageEncoder:
    """Return Lite2 as an image encoder, without its class head."""
    config = ConvConfig(image_size_px=IMAGE_SIZE_PX, architecture=ARCHITECTURE)
    encoder = build_image_encoder(config)
    state = to_timm(read_wheel(wheels)).items()
    kept = {f"conv.{name}": tensor for name, tensor in state if not name.startswith("classifier")}
    encoder.load_state_dict(kept)
    return encoder.eval()


def tuned_encoder(wheels: Path, tuned: dict[str, Tensor]) -> ImageEncoder:
    """Return the encoder with the upper half of a `Tuned`, whose norms are inside convolutions."""
    encoder = published_encoder(wheels)
    state = encoder.state_dict()
    for conv, norm in _pairs(encoder.get_submodule("conv"), "conv"):
        name = conv.removeprefix("conv.")
        if name.startswith("blocks."):
            stage, _, rest = name.removeprefix("blocks.").partition(".")
            name = f"upper.blocks.{int(stage) - LOWER_STAGES}.{rest}"
        name = name.replace("conv_head", "upper.head.0")
        if f"{name}.weight" not in tuned:  # of the lower half
            continue
        eps = cast(float, encoder.get_submodule(norm).eps)
        state[f"{conv}.weight"] = tuned[f"{name}.weight"]
        state[f"{norm}.bias"] = tuned[f"{name}.bias"]
        for part, value in (("weight", 1.0), ("running_mean", 0.0), ("running_var", 1.0 - eps)):
            state[f"{norm}.{part}"] = torch.full_like(state[f"{norm}.{part}"], value)
    encoder.load_state_dict(state)
    return encoder.eval()


def _pairs(module: nn.Module, prefix: str) -> list[tuple[str, str]]:
    """Return the names of each convolution and of the norm that follows it."""
    pairs, before = [], ""
    for name, child in module.named_children():
        full = f"{prefix}.{name}"
        if isinstance(child, nn.Conv2d):
            before = full
        elif isinstance(child, FrozenBatchNormAct2d):
            pairs.append((before, full))
        else:
            pairs += _pairs(child, full)
    return pairs


def make_model(
    tuned: dict[str, Tensor], features: Features, texts: Tensor, num_tags: int, wheels: Path
) -> Ram:
    """Return the whole model of a run, its classifiers packed into label queries."""
    linear = Linear(tuned["head.weight"], tuned["head.bias"])
    pooled = features.pooled(features.train_rows)
    return with_encoder(pack(linear, pooled, texts, num_tags), tuned_encoder(wheels, tuned))


@torch.inference_mode()
def predict(model: Ram, features: Features, rows: np.ndarray) -> np.ndarray:
    """Return scores [rows, C] of whole photos."""
    parts = np.array_split(rows, max(1, len(rows) // 50))
    return torch.cat([decode(model, features.batch(p)) for p in parts]).float().sigmoid().numpy()


def thresholds_of(
    model: Ram,
    features: Features,
    words: Words,
    said: np.ndarray,
    by_captions: np.ndarray,
) -> Chosen:
    """Return the thresholds of a model on this vocabulary.

    Args:
        said: bool [photos, C], captions say the tag.
        by_captions: bool [C], captions taught it.
    """
    nine, seen = features.threshold_rows, read_seen(features, words)
    at_nine, at_seen = predict(model, features, nine), predict(model, features, seen.rows)
    return choose(words, by_captions, (said[nine], at_nine), seen, at_seen)


def write(model: Ram, vocabulary: Vocabulary, text: Path, folder: Path) -> None:
    """Write the model folder with the text encoder of the first ram-mini; no captions yet."""
    parts = [f"{TEXT_ENCODER}/{CONFIG}", f"{TEXT_ENCODER}/{WEIGHTS}", TEMPLATES]
    (folder / TEXT_ENCODER).mkdir(parents=True, exist_ok=True)
    for part in parts:
        if not (folder / part).exists():
            shutil.copyfile(text / part, folder / part)
    config = replace(
        model.config, open_set_threshold=OPEN_SET_THRESHOLD, train_labels=False, captions=None
    )
    write_folder(model.state_dict(), config, vocabulary, folder, dtype=torch.float16, parts=parts)


def main(
    data: Path, wheels: Path, cache: Path, vocabulary: Path, text: Path, run: Path, folder: Path
) -> dict:
    """Write the folder; return how the thresholds came about."""
    words, features = load_words(data, vocabulary), Features(cache, TUNED)
    with np.load(cache / "targets.npz") as kept:
        by_captions, others = kept["by_captions"], kept["others"].tolist()
    said = np.load(cache / "said.npy")
    tuned = torch.load(run / "tuned.pt", weights_only=True)
    texts = embed(text, [*words.names, *others])
    model = make_model(tuned, features, texts, len(words.names), wheels)
    chosen = thresholds_of(model, features, words, said, by_captions)
    known = words.vocabulary
    made = Vocabulary(
        names=known.names, thresholds=chosen.thresholds, names_zh=known.names_zh,
        kinds=known.kinds, aliases=known.aliases, parents=known.parents,
    )  # fmt: skip
    write(model, made, text, folder)
    origins = {one: int((chosen.origin == one).sum()) for one in sorted(set(chosen.origin))}
    facts = {
        "tags": len(known),
        "shown": int((chosen.thresholds < OFF).sum()),
        "origins": origins,
        "by_teacher": chosen.by_teacher,
        "off": [n for n, t in zip(known.names, chosen.thresholds, strict=True) if t >= OFF],
    }
    (run / "thresholds.json").write_text(
        json.dumps(facts | {"origin": dict(zip(known.names, chosen.origin.tolist(), strict=True))})
    )
    return facts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--wheels", "--cache", "--vocabulary", "--text", "--run", "--folder"):
        parser.add_argument(name, type=Path, required=True)
    a = parser.parse_args()
    facts = main(a.data, a.wheels, a.cache, a.vocabulary, a.text, a.run, a.folder)
    print(json.dumps(facts, indent=2))
