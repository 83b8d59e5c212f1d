"""Which models judge which images, found out before any work."""

from dataclasses import dataclass

from ram_model.vocabulary import Vocabulary
from ram_ray.config import Device
from ram_ray.data_engine.config import EngineConfig
from ram_ray.data_engine.look.eyes import renumber
from ram_ray.errors import ConfigError
from ram_ray.labels.vocabulary_files import read_vocabulary
from ram_ray.workers.tagger import TaggerOptions, load_tagger


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """One model, exactly."""

    model_id: str
    weights_sha256: str
    image_size_px: int
    num_tags: int
    """Tags of the run's vocabulary that it knows."""
    is_random: bool


def model_options(
    config: EngineConfig, *, device: Device, threads: int | None, batch_size: int
) -> tuple[TaggerOptions, ...]:
    """Return what a process needs to make each of the models, in the order of their folds."""
    return tuple(
        TaggerOptions(
            model=model,
            caption=config.caption,
            device=device,
            threads=threads,
            precision=config.precision,
            batch_size=batch_size,
        )
        for model in config.models
    )


def identify_models(config: EngineConfig) -> tuple[tuple[ModelIdentity, ...], Vocabulary]:
    """Load each model once on this machine's CPU; return who they are, and the run's vocabulary.

    Raises:
        ConfigError: no such model, a broken folder, no tag in common with the vocabulary, or
            models of different sizes.
    """
    vocabulary = read_vocabulary(config.vocabulary) if config.vocabulary else None
    found: list[ModelIdentity] = []
    for options in model_options(config, device="cpu", threads=None, batch_size=1):
        tagger, _ = load_tagger(options)
        vocabulary = vocabulary or tagger.vocabulary
        known, _ = renumber(tagger.vocabulary, vocabulary)
        found.append(
            ModelIdentity(
                tagger.model_id,
                tagger.weights_sha256,
                tagger.image_size_px,
                len(known),
                tagger.is_random,
            )
        )
    sizes = sorted({model.image_size_px for model in found})
    if len(sizes) > 1:
        raise ConfigError(
            f"models differ in image size ({sizes} px); folds need one kind of model."
        )
    assert vocabulary is not None, "there is at least one model"
    return tuple(found), vocabulary
