"""Label embeddings of words a model was not trained on: the open set (RAM and RAM++ papers).

RAM takes one embedding per word, averaged over prompt templates; RAM++ takes one per description
and weighs them by the image. Both come from the text encoder that the model learnt from, and are
kept in a cache, a file per word, because they cost seconds of CPU per word and never change.
"""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from ram_model.config import RamConfig
from ram_model.errors import LabelError
from ram_model.opened_model import PACKAGED
from ram_model.weight_files import file_sha256, write_weights
from ram_model.words.prompts import (
    Descriptions,
    describe_templates,
    open_clip_templates,
    read_descriptions,
    read_templates,
    write_prompts,
)
from ram_model.words.text_encoder import WEIGHTS, load_text_encoder

# In a model folder; the last one is written by tagging, the others when the folder is made.
TEXT_ENCODER, TEMPLATES, DESCRIPTIONS = "text_encoder", "templates.txt", "descriptions.json"
LABEL_CACHE = "label_cache"
MAX_CACHE_BYTES = 256 * 2**20
"""Of a cache folder: 65 000 words of RAM (one block each), or 1 600 of RAM++ with 80 templates."""
_BLOCK_BYTES = 4096  # what even a small file takes on most disks

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LabelSource:
    """What label embeddings of new words are made from, and where they are kept."""

    text_encoder: Path
    text_encoder_sha256: str
    templates: tuple[str, ...]
    templates_origin: str
    """"templates.txt" of the model folder, or "open_clip"."""
    descriptions: Descriptions
    """By tag; words without any get the sentences of the templates."""
    cache_folders: tuple[Path, ...]
    """Looked through in order; written to the first that can be."""

    def fingerprint(self, config: RamConfig, words: Sequence[str]) -> str:
        """Return a hash of everything the embeddings of `words` depend on."""
        described = {word: self.descriptions.get(word) for word in words}
        facts = [config.kind, self.text_encoder_sha256, self.templates]
        text = json.dumps([*facts, described if config.kind == "ram_plus" else list(words)])
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    @cached_property
    def templates_note(self) -> str:
        """Say in a few words which templates these are."""
        return describe_templates(self.templates, self.templates_origin)


def find_label_source(
    folder: str | Path | None,
    *,
    text_encoder: str | Path | None = None,
    descriptions: str | Path | None = None,
) -> LabelSource | None:
    """Return the label source of a model folder; None where there is no text encoder.

    Args:
        folder: of the model; None for a model without one.
        text_encoder: folder or weight file to use instead of the folder's own.
        descriptions: JSON file to use instead of the folder's own.

    Raises:
        LabelError: a file is damaged or absent.
    """
    folder = None if folder is None else Path(folder)
    sums = _recorded_sums(folder)
    if text_encoder is not None:
        place = Path(text_encoder)
        sha256 = _weights_sha256(place)
    elif folder is not None and (folder / TEXT_ENCODER / WEIGHTS).is_file():
        place = folder / TEXT_ENCODER
        sha256 = sums.get(f"{TEXT_ENCODER}/{WEIGHTS}") or _weights_sha256(place)
    else:
        return None
    own_templates = _own_file(folder, TEMPLATES, sums)
    described = descriptions or _own_file(folder, DESCRIPTIONS, sums)
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    caches = [user_cache / "ram-ray" / LABEL_CACHE]
    if folder is not None and not folder.is_relative_to(PACKAGED):  # nothing writes to the package
        caches.insert(0, folder / LABEL_CACHE)
    return LabelSource(
        text_encoder=place,
        text_encoder_sha256=sha256,
        templates=read_templates(own_templates) if own_templates else open_clip_templates(),
        templates_origin=TEMPLATES if own_templates else "open_clip",
        descriptions=read_descriptions(described) if described else {},
        cache_folders=tuple(caches),
    )


def embed_words(
    source: LabelSource, config: RamConfig, words: Sequence[str], *, device: str = "cpu"
) -> dict[str, Tensor]:
    """Return the label embeddings of `words`, float32 [K, E] each, from the cache or made now.

    K is 1 for RAM; for RAM++ it is the number of the word's descriptions, or of templates where it
    has none.

    Raises:
        LabelError: a word is too long, or the text encoder is not of the model's label space.
    """
    names = {word: source.fingerprint(config, [word])[:32] + ".safetensors" for word in words}
    rows = {word: _read_cache(source.cache_folders, name) for word, name in names.items()}
    if missing := [word for word, found in rows.items() if found is None]:
        made = dict(zip(missing, _embed(source, config, missing, device), strict=True))
        _write_cache(source.cache_folders, {names[word]: row for word, row in made.items()})
        rows |= made
    return {word: row for word, row in rows.items() if row is not None}


def _embed(
    source: LabelSource, config: RamConfig, words: Sequence[str], device: str
) -> list[Tensor]:
    encoder = load_text_encoder(source.text_encoder)
    if encoder.config.embed_dim != config.label_dim:
        raise LabelError(
            f"The text encoder {source.text_encoder} makes vectors of {encoder.config.embed_dim} "
            f"numbers, but the model's labels have {config.label_dim}."
        )
    rows = []
    for word in words:
        prompts = write_prompts(word, source.templates)
        if not all(map(encoder.fits, prompts)):
            raise LabelError(f"The tag {word[:60]!r}... is too long for the text encoder.")
        if config.kind == "ram_plus":
            rows.append(encoder.encode(source.descriptions.get(word, prompts), device))
        else:
            # mean of unit vectors, made a unit vector again (recognize-anything, as above)
            rows.append(F.normalize(encoder.encode(prompts, device).mean(0, keepdim=True)))
    return rows


def _read_cache(folders: Sequence[Path], name: str) -> Tensor | None:
    for folder in folders:
        try:
            row = load_file(folder / name)["0"]
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (KeyError, OSError, SafetensorError) as error:
            _log.warning("%s is damaged and made again: %s", folder / name, error)
            continue
        with contextlib.suppress(OSError):  # a folder of somebody else's, or removed meanwhile
            os.utime(folder / name)
        return row
    return None


def _write_cache(folders: Sequence[Path], rows: Mapping[str, Tensor]) -> None:
    problems = []
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, row in rows.items():
                write_weights({"0": row}, folder / name)
            _remove_least_used(folder)
        except OSError as error:
            problems.append(f"{folder} ({error.strerror or error})")
            continue
        if problems:
            _log.warning("Cannot write to %s: label embeddings are in %s.", problems[0], folder)
        return
    _log.warning("Label embeddings are made again next time: no cache at %s.", ", ".join(problems))


def _remove_least_used(folder: Path) -> None:
    """Keep the cache within its bound; reading a file makes it the newest."""
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process removes some too
            status = path.stat()
            found.append((status.st_mtime_ns, max(status.st_size, _BLOCK_BYTES), path))
    excess = sum(size for _, size, _ in found) - MAX_CACHE_BYTES
    for _, size, path in sorted(found):
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= size


def _recorded_sums(folder: Path | None) -> dict[str, str]:
    path = None if folder is None else folder / "checksums.json"
    if path is None or not path.is_file():
        return {}
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _own_file(folder: Path | None, name: str, sums: Mapping[str, str]) -> Path | None:
    """Return a checked file of the model folder; None where it has none."""
    if folder is None or not (folder / name).is_file():
        return None
    if name in sums and sums[name] != file_sha256(folder / name):
        raise LabelError(f"{folder / name} is not the file that checksums.json describes.")
    return folder / name


def _weights_sha256(place: Path) -> str:
    """Return the hash of a text encoder: of its one file, or of all files in its folder."""
    if place.is_file():
        return file_sha256(place)
    files = sorted(p for p in place.iterdir() if p.is_file()) if place.is_dir() else []
    return hashlib.sha256("".join(map(file_sha256, files)).encode("ascii")).hexdigest()
