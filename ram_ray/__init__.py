"""ram-ray: the Recognize Anything Model family as a distributed system on Ray.

    import ram_ray as rr
    rr.tag(rr.TagConfig(source="photos", output="tags-out"))

Importing this package costs nothing: ray, torch and the stores load where they are used. The names
below are the public API (docs/python.md); the rest may change between versions. The rooms:

    cli          the command
    demo         `ram-ray demo`
    data_engine  captions and images to clean labels
    training     labels to models
    evaluation   how good tags are
    serving      the HTTP API and the page
    labels       vocabularies, and captions to tags
    tagging      a bucket to tags
    workers      stages that pipelines share
    runs         a run, once: plan, leases, commits
    images       bytes to pixels
    models       published models to folders
    storage      folders and buckets
    cluster      Ray: join or start it, what runs where
    console      what is printed
    exit_codes   how a command ends
    options      settings from files and words
    config       settings of pipelines
    errors       what can go wrong
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ram_ray.config import DecodeConfig, StoreConfig
    from ram_ray.data_engine.config import EngineConfig
    from ram_ray.data_engine.engine import run as run_engine
    from ram_ray.errors import (
        ConfigError,
        ImageError,
        ImageErrorCode,
        IncompleteRunError,
        LeaseHeldError,
        RamRayError,
        UnreachableError,
    )
    from ram_ray.evaluation.config import CalibrationConfig, LabelsConfig
    from ram_ray.evaluation.pipeline import calibrate, evaluate
    from ram_ray.images.decoder import Decoder
    from ram_ray.labels.builder.build import build_vocabulary as build_labels
    from ram_ray.labels.builder.config import BuildConfig, ListConfig
    from ram_ray.labels.parser.caption_parser import CaptionParser
    from ram_ray.labels.parsing.config import ParseConfig
    from ram_ray.labels.parsing.pipeline import parse_captions
    from ram_ray.serving.config import ServeConfig
    from ram_ray.serving.own_app import tagger_app
    from ram_ray.serving.server import serve
    from ram_ray.tagging.config import TagConfig
    from ram_ray.tagging.exports.pipeline import export
    from ram_ray.tagging.forecast.pipeline import plan_bucket as plan
    from ram_ray.tagging.outputs.rethresholding import rethreshold
    from ram_ray.tagging.outputs.verification import verify_output as verify
    from ram_ray.tagging.own_dataset import DecodeRows as FetchAndDecode
    from ram_ray.tagging.own_dataset import TagRows as TagImages
    from ram_ray.tagging.photo import tag_photo
    from ram_ray.tagging.pipeline import tag_bucket as tag
    from ram_ray.tagging.retrying.config import RetryConfig
    from ram_ray.tagging.retrying.pipeline import retry_quarantined as retry
    from ram_ray.training.config import TrainConfig
    from ram_ray.training.pipeline import train

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022  in the order in which people meet them
    "tag", "tag_photo", "plan", "retry", "verify", "rethreshold", "export",
    "evaluate", "calibrate", "parse_captions", "build_labels", "run_engine", "train", "serve",
    "FetchAndDecode", "TagImages", "tagger_app", "Decoder", "CaptionParser",
    "TagConfig", "RetryConfig", "ParseConfig", "BuildConfig", "ListConfig", "EngineConfig",
    "TrainConfig", "LabelsConfig", "CalibrationConfig", "ServeConfig", "StoreConfig",
    "DecodeConfig",
    "RamRayError", "ConfigError", "LeaseHeldError", "IncompleteRunError", "UnreachableError",
    "ImageError", "ImageErrorCode",
]  # fmt: skip

_HOME = {
    "tag": "tagging.pipeline:tag_bucket",
    "tag_photo": "tagging.photo:tag_photo",
    "plan": "tagging.forecast.pipeline:plan_bucket",
    "retry": "tagging.retrying.pipeline:retry_quarantined",
    "verify": "tagging.outputs.verification:verify_output",
    "rethreshold": "tagging.outputs.rethresholding:rethreshold",
    "export": "tagging.exports.pipeline:export",
    "evaluate": "evaluation.pipeline:evaluate",
    "calibrate": "evaluation.pipeline:calibrate",
    "parse_captions": "labels.parsing.pipeline:parse_captions",
    "build_labels": "labels.builder.build:build_vocabulary",
    "run_engine": "data_engine.engine:run",
    "train": "training.pipeline:train",
    "serve": "serving.server:serve",
    "FetchAndDecode": "tagging.own_dataset:DecodeRows",
    "TagImages": "tagging.own_dataset:TagRows",
    "tagger_app": "serving.own_app:tagger_app",
    "Decoder": "images.decoder:Decoder",
    "CaptionParser": "labels.parser.caption_parser:CaptionParser",
    "TagConfig": "tagging.config:TagConfig",
    "RetryConfig": "tagging.retrying.config:RetryConfig",
    "ParseConfig": "labels.parsing.config:ParseConfig",
    "BuildConfig": "labels.builder.config:BuildConfig",
    "ListConfig": "labels.builder.config:ListConfig",
    "EngineConfig": "data_engine.config:EngineConfig",
    "TrainConfig": "training.config:TrainConfig",
    "LabelsConfig": "evaluation.config:LabelsConfig",
    "CalibrationConfig": "evaluation.config:CalibrationConfig",
    "ServeConfig": "serving.config:ServeConfig",
    "StoreConfig": "config:StoreConfig",
    "DecodeConfig": "config:DecodeConfig",
    "RamRayError": "errors:RamRayError",
    "ConfigError": "errors:ConfigError",
    "LeaseHeldError": "errors:LeaseHeldError",
    "IncompleteRunError": "errors:IncompleteRunError",
    "UnreachableError": "errors:UnreachableError",
    "ImageError": "errors:ImageError",
    "ImageErrorCode": "errors:ImageErrorCode",
}
"""Where each public name is at home."""


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'ram_ray' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    return getattr(import_module(f"ram_ray.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
