"""Turn a run of `train` into the model folder: weights, vocabulary, thresholds, text encoder.

    python -m research.ram_mini.lite2.finish --data ../shared/data --wheels WHEELS --cache CACHE \
        --vocabulary VOCABULARY --text model/ram_model/weights/ram-mini --run RUN --folder FOLDER
"""

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ram_model import ConvConfig, Vocabulary
from ram_model.files.checkpoint import write_folder
from ram_model.networks.image_encoder import ImageEncoder, build_image_encoder
from ram_model.networks.ram import Ram
from ram_model.vocabulary import OFF
from ram_model.words.label_embeddings import TEMPLATES, TEXT_ENCODER
from ram_model.words.text_encoder import CONFIG, WEIGHTS
from research.ram_mini.lite2.features import Features
from research.ram_mini.lite2.photos import IMAGE_SIZE_PX
from research.ram_mini.lite2.source import ARCHITECTURE, read_wheel, to_timm
from research.ram_mini.lite2.thresholds import Chosen, choose, drawn_objects
from research.ram_mini.lite2.train import finished_model, label_texts, predict
from research.ram_mini.lite2.vocabulary import Words, coco_names, load_words
from research.ram_mini.open import OPEN_SET_THRESHOLD


def published_encoder(wheels: Path) -> ImageEncoder:
    """Return Lite2 as an image encoder, without its class head."""
    config = ConvConfig(image_size_px=IMAGE_SIZE_PX, architecture=ARCHITECTURE)
    encoder = build_image_encoder(config)
    state = to_timm(read_wheel(wheels)).items()
    kept = {f"conv.{name}": tensor for name, tensor in state if not name.startswith("classifier")}
    encoder.load_state_dict(kept)
    return encoder.eval()


def thresholds_of(
    model: Ram,
    features: Features,
    words: Words,
    data: Path,
    said: np.ndarray,
    by_captions: np.ndarray,
) -> Chosen:
    """Return the thresholds of a model on this vocabulary.

    Args:
        said: bool [photos, C], captions say the tag.
        by_captions: bool [C], captions taught it.
    """
    nine, coco = features.threshold_rows, features.rows_of("coco_train2014_100_224")
    drawn = drawn_objects([features.photos[n]["labels"] for n in coco], coco_names(data))
    scores = predict(model, features, nine), predict(model, features, coco)
    return choose(words, by_captions, (said[nine], scores[0]), (drawn, scores[1]))


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
    words, features = load_words(data, vocabulary), Features(cache)
    average = torch.load(run / "checkpoint.pt", weights_only=True)["average"]
    with np.load(cache / "targets.npz") as kept:
        by_captions = kept["by_captions"]
    said = np.load(cache / "said.npy")
    texts = label_texts(text, words.names, [])
    model = finished_model(average, texts, published_encoder(wheels))
    chosen = thresholds_of(model, features, words, data, said, by_captions)
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
