"""Step 3: a region for every (image, tag), in the same pass over the pixels as `generate`'s scores.

    steps/look-*/scores/       tables.SCORES
    steps/locate-*/regions/    tables.REGIONS

Regions are looked for before it is known which tags will be added, so that one decode pass is
enough: for every tag that a caption names, and for every tag the model scores from the floor up.
"""

from functools import partial
from typing import Any

from ram_model.vocabulary import Vocabulary, read_lines
from ram_ray.data_engine.config import EngineConfig
from ram_ray.data_engine.generate.step import sample_shards
from ram_ray.data_engine.look.eyes import Eyes
from ram_ray.data_engine.look.locators import Locator
from ram_ray.data_engine.look.models import ModelIdentity
from ram_ray.data_engine.look.pipeline import look
from ram_ray.data_engine.look.windows import WindowLocator
from ram_ray.data_engine.steps import EngineRun, Step, open_step
from ram_ray.errors import ConfigError
from ram_ray.runs.fields import written_out
from ram_ray.storage.stores import absolute_url


def look_at_images(
    run: EngineRun, models: tuple[ModelIdentity, ...], parsed: Step
) -> tuple[Step | None, Step | None]:
    """Score all images and find the regions of their tags; return both steps, None where off."""
    config = run.config
    if not config.looks or run.wanted == {"parse"}:
        return None, None
    seen = _scores_step(run, models, parsed)
    located = _regions_step(run, parsed, seen) if run.uses("locate") else None
    learn_on = sample_shards(run.plan.shards, config.shard_rows, config.sample_images)
    options = {
        "parsed": parsed.url,
        "scores_url": seen.url,
        "regions_url": located.url if located else None,
        "make_locator": partial(make_locator, config),
        "foreign_shards": frozenset(learn_on),
    }
    look(run, options, decoded_px(config, models), *(step for step in (seen, located) if step))
    return seen, located


def _scores_step(run: EngineRun, models: tuple[ModelIdentity, ...], parsed: Step) -> Step:
    config = run.config
    settings: dict[str, Any] = {
        "models": [model.weights_sha256 for model in models],
        "floor": config.floor,
        "caption": config.caption,
        "precision": config.precision,
        "pixels_px": decoded_px(config, models),
        "decode": written_out("DecodeConfig", config.decode),
        "sample_images": config.sample_images,
    }
    return open_step(run, "look", settings, (parsed,))


def _regions_step(run: EngineRun, parsed: Step, seen: Step) -> Step:
    config = run.config
    settings = {
        "locator": config.locator,
        "file": config.locator_file and absolute_url(config.locator_file),
        "names": config.locator_names and absolute_url(config.locator_names),
        "windows": written_out("WindowConfig", config.windows),
    }
    return open_step(run, "locate", settings, (parsed, seen))


def decoded_px(config: EngineConfig, models: tuple[ModelIdentity, ...]) -> int:
    """Return the side of the decoded images: the model's own, and larger to cut regions from."""
    side = max(model.image_size_px for model in models)
    if not config.locate:
        return side
    return config.pixels_px or 2 * side


def make_locator(config: EngineConfig, eyes: Eyes, vocabulary: Vocabulary) -> Locator:
    """Return the locator of a configuration, in the process that uses it."""
    if config.locator == "windows":
        return WindowLocator(eyes, config.windows)
    return open_detector(config, vocabulary, eyes.device)


def open_detector(config: EngineConfig, vocabulary: Vocabulary, device: str) -> Locator:
    """Return the detector in `locator_file`.

    Raises:
        ConfigError: the file cannot be read, or a package that it needs is missing.
    """
    assert config.locator_file is not None, "EngineConfig has checked it"
    if config.locator == "onnx":
        from ram_ray.data_engine.look.onnx_detector import OnnxDetector

        assert config.locator_names is not None, "EngineConfig has checked it"
        try:
            names = [line for line in read_lines(config.locator_names) if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"locator_names cannot be read: {error}.") from error
        return OnnxDetector(config.locator_file, names, vocabulary)
    from ram_ray.data_engine.look.grounding_dino import GroundingConfig, GroundingDino

    return GroundingDino(config.locator_file, vocabulary, GroundingConfig(device=device))
