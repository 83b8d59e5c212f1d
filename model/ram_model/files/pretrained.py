"""Models by name: the one that ships with the package, fetched ones, and model folders anywhere."""

import hashlib
import os
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from ram_model.config import variant
from ram_model.errors import UnknownModelError
from ram_model.files.caption_files import no_captions
from ram_model.files.checkpoint import CONFIG, load_folder
from ram_model.networks.ram import Ram
from ram_model.opened_model import PACKAGED, OpenedModel
from ram_model.vocabulary import Vocabulary

BUNDLED = ("ram-mini",)
PUBLISHED = ("ram", "ram-plus", "tag2text")
"""Released by their authors; `ram-ray model fetch` makes folders of them."""

_NUM_PLACEHOLDER_TAGS = 40
# An untrained model scores everything near .5; with this threshold a few tags per image fire.
_PLACEHOLDER_THRESHOLD = 0.48


def open_model(name_or_folder: str | Path = "ram-mini", *, captions: bool = False) -> OpenedModel:
    """Return a named model, or the one in a model folder.

    "ram-mini" is the folder in the package; where that is absent, an untrained model of the same
    shape, always the same, with `is_random` set. The other names are folders of `models_home`.

    Args:
        captions: with the caption side; False leaves its files unread.

    Raises:
        UnknownModelError: neither a known name nor a model folder, or one not fetched yet.
        CheckpointError: a model folder that is damaged.
        CaptionError: captions of a model that has no caption side.
    """
    name = str(name_or_folder)
    if name == "ram-mini" and not (PACKAGED / "ram-mini").is_dir():
        if captions:
            raise no_captions(name)
        return _random_mini()
    return _open_folder(find_model_folder(name), name, captions=captions)


def find_model_folder(name_or_folder: str | Path) -> Path:
    """Return the folder of a named model, or the model folder itself.

    Raises:
        UnknownModelError: neither a known name nor a model folder, or one not fetched yet.
    """
    name = str(name_or_folder)
    named = {known: PACKAGED / known for known in BUNDLED}
    named |= {known: models_home() / known for known in PUBLISHED}
    for folder in (named.get(name), Path(name_or_folder)):
        if folder is not None and (folder / CONFIG).is_file():
            return folder
    if name in PUBLISHED:
        raise UnknownModelError(f"{name} is not on this machine: `ram-ray model fetch {name}`.")
    raise UnknownModelError(
        f"There is no model {name!r}: give one of {', '.join(named)}, or a model folder "
        f"(config.json, model.safetensors, vocabulary.parquet, checksums.json)."
    )


def models_home() -> Path:
    """Return where fetched models are kept: $RAM_RAY_MODELS, or a folder of the user's cache."""
    if given := os.environ.get("RAM_RAY_MODELS"):
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "ram-ray" / "models"


def _open_folder(folder: Path, model_id: str, *, captions: bool = False) -> OpenedModel:
    loaded = load_folder(folder, captions=captions)
    return OpenedModel(
        model=loaded.model,
        config=loaded.config,
        vocabulary=loaded.vocabulary,
        model_id=model_id,
        weights_sha256=loaded.weights_sha256,
        folder=folder,
        tokenizer=loaded.tokenizer,
        captions_sha256=loaded.captions_sha256,
    )


def _random_mini() -> OpenedModel:
    count = _NUM_PLACEHOLDER_TAGS
    config = variant("mini", num_tags=count)
    with torch.random.fork_rng(devices=[]):  # leave the caller's random numbers alone
        torch.manual_seed(0)
        model = Ram(config).eval()
    names = tuple(f"placeholder {tag_id}" for tag_id in range(count))
    thresholds = np.full(count, _PLACEHOLDER_THRESHOLD, dtype=np.float32)
    weights = safetensors.torch.save(model.state_dict())
    return OpenedModel(
        model=model,
        config=config,
        vocabulary=Vocabulary(names=names, thresholds=thresholds),
        model_id="ram-mini (untrained)",
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        is_random=True,
    )
