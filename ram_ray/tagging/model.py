"""The model of a run: which one it is, exactly, and what a process needs to load it."""

from dataclasses import asdict, dataclass
from typing import Any

from ram_ray.config import Device, TagChoice, part_of
from ram_ray.errors import ConfigError
from ram_ray.options import read_threshold_file
from ram_ray.tagging.config import TagConfig
from ram_ray.workers.tagger import TaggerOptions, load_tagger


def tagger_options(
    config: TagConfig,
    *,
    threshold: float | tuple[float, ...] | None,
    device: Device,
    threads: int | None,
    batch_size: int,
) -> TaggerOptions:
    """Return what a model process needs to know of a run's settings.

    Args:
        threshold: as `threshold_option` gives it; files are not read again.
    """
    several = isinstance(threshold, tuple)
    asked = part_of(config, TagChoice)
    asked["threshold_file"] = None
    asked["threshold"] = None if several else threshold
    asked["thresholds"] = threshold if several else None
    return TaggerOptions(
        **asked, device=device, threads=threads, precision=config.precision, batch_size=batch_size
    )


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model, exactly."""

    model_id: str
    image_size_px: int
    weights_sha256: str
    vocabulary_sha256: str
    thresholds_sha256: str
    threshold_option: float | tuple[float, ...] | None
    """The `threshold` option of `Tagger`."""
    notes: tuple[str, ...]
    labels_sha256: str | None = None
    """Of what the labels of new words were made from; None without new words."""
    caption: dict[str, Any] | None = None
    """How captions are written, and the hash of what writes them; None without captions."""


def identify_model(config: TagConfig) -> ModelIdentity:
    """Load the model once on this machine's CPU and say which it is; finds what is wrong early.

    Raises:
        ConfigError: no such model, a broken model folder, unknown tags, bad thresholds.
    """
    return identify_with_threshold(config, threshold_option(config))


def identify_with_threshold(
    config: TagConfig, threshold: float | tuple[float, ...] | None
) -> ModelIdentity:
    """Do as `identify_model`, where the thresholds are known and need no file."""
    options = tagger_options(config, threshold=threshold, device="cpu", threads=None, batch_size=1)
    tagger, _ = load_tagger(options)
    random_weights = f"{tagger.model_id} has random weights: its tags mean nothing."
    return ModelIdentity(
        model_id=tagger.model_id,
        image_size_px=tagger.image_size_px,
        weights_sha256=tagger.weights_sha256,
        labels_sha256=tagger.labels_sha256,
        vocabulary_sha256=tagger.vocabulary_sha256,
        thresholds_sha256=tagger.thresholds_sha256,
        threshold_option=threshold,
        caption=_caption_identity(tagger),
        notes=((random_weights,) if tagger.is_random else ()) + tagger.notes,
    )


def _caption_identity(tagger: Any) -> dict[str, Any] | None:
    if tagger.captions is None:
        return None
    options = asdict(tagger.captions)
    tags = options.pop("tags")  # a list, as JSON gives it back
    return {"sha256": tagger.captions_sha256, "tags": tags and list(tags), **options}


def threshold_option(config: TagConfig) -> float | tuple[float, ...] | None:
    """Return the `threshold` option of `Tagger` that the configuration asks for.

    Raises:
        ConfigError: the threshold file cannot be read, or holds something else than numbers.
    """
    if config.threshold_file is None:
        return config.threshold
    return read_threshold_file(config.threshold_file)


def image_size_of(model: str) -> int:
    """Return S of a model's pixels [S, S, 3] from its configuration; its weights are not loaded.

    Raises:
        ConfigError: no such model, or one whose configuration cannot be read.
    """
    # Only here: they load torch, and settings are read without it.
    from ram_model.config import RamConfig
    from ram_model.files.checkpoint import CONFIG
    from ram_model.files.pretrained import find_model_folder

    try:
        config = (find_model_folder(model) / CONFIG).read_text(encoding="utf-8")
        return RamConfig.from_json(config).image_size_px
    except (ValueError, OSError) as error:  # ram_model's errors are ValueErrors
        raise ConfigError(str(error)) from error
