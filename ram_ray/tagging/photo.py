"""Tags of one photo on this machine, without Ray."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ram_ray.config import TagChoice
from ram_ray.errors import ConfigError, ImageError, UnreachableError
from ram_ray.images.decoder import Decoder
from ram_ray.tagging.config import TagConfig, tag_config
from ram_ray.tagging.model import tagger_options, threshold_option
from ram_ray.tagging.remark_notes import remark_notes
from ram_ray.workers.tagger import load_tagger

# What a single photo understands; any other option belongs to a run and is refused, not ignored.
PHOTO_SETTINGS = {one.name for one in fields(TagChoice)} | {
    "source", "device", "precision", "decode.orientation", "decode.wide_grey", "decode.formats"
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class TaggedPhoto:
    """One photo and its tags, score falling."""

    path: str
    model_id: str
    tags: tuple[str, ...]
    scores: tuple[float, ...]
    """Sigmoid scores, 0..1, parallel to `tags`."""
    caption: str | None = None
    """None where none was asked for."""
    notes: tuple[str, ...] = ()


def tag_photo(source: str | None = None, /, **settings: object) -> TaggedPhoto:
    """Return the tags of a local photo.

    Args:
        source: path of the photo.
        settings: fields of TagConfig that a single photo understands (PHOTO_SETTINGS), by dotted
            name, such as model, tags, threshold.

    Raises:
        ConfigError: no photo was named, it is a folder or a bucket, or an option needs an OUTPUT.
        UnreachableError: there is no such file.
        ImageError: the file cannot be decoded.
    """
    if source is not None:
        settings["source"] = source
    path = _photo_path(settings)
    for name in settings:
        if name not in PHOTO_SETTINGS and name.partition(".")[0] != "decode":
            raise ConfigError(f"{name} is for runs: a single photo without OUTPUT does not use it.")
    config = tag_config({**settings, "output": "-"})  # a photo has none, but TagConfig asks
    data = _read(path, config.decode.max_image_bytes)
    tagger, device = _load_tagger(config)
    try:
        with Decoder(tagger.image_size_px, config.decode) as decoder:
            image = decoder.decode(data)
    except ImageError as error:
        raise ImageError(error.code, f"{path}: {error.message}") from error
    tags = tagger(image.pixels[np.newaxis])[0]
    notes = [f"{tagger.model_id} has random weights: its tags mean nothing."] * tagger.is_random
    notes += tagger.notes
    notes += remark_notes({remark.value: 1 for remark in image.remarks})
    if config.device == "auto" and device == "cpu":
        notes.append("No GPU found: tagged on the CPU.")
    return TaggedPhoto(
        path=str(path),
        model_id=tagger.model_id,
        tags=tuple(tags.names),
        scores=tuple(float(score) for score in tags.scores),
        caption=tags.caption,
        notes=tuple(notes),
    )


def _photo_path(settings: Mapping[str, object]) -> Path:
    source = settings.get("source")
    if not source:
        raise ConfigError(
            "Say what to tag: `ram-ray tag SOURCE OUTPUT` or `ram-ray tag photo.jpg`."
        )
    path = Path(str(source))
    if "://" in str(source) or path.is_dir():
        raise ConfigError(
            f"{source} holds many images: say where the results go, `ram-ray tag {source} OUTPUT`."
        )
    if not path.is_file():
        raise UnreachableError(f"There is no file {source}.")
    return path


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)  # one more: the decoder then says that it is too large
    except OSError as error:
        raise UnreachableError(f"{path} cannot be read: {error.strerror}.") from error


def _load_tagger(config: TagConfig) -> tuple[Any, str]:
    options = tagger_options(
        config,
        threshold=threshold_option(config),
        device=config.device,
        threads=None,
        batch_size=1,
    )
    return load_tagger(options)
