"""What makes two calls the same run: every such field of every pipeline, registered here.

A record says `name: value`; two calls are the same run when all these fields agree, whatever
version of ram-ray wrote the record. A field that comes later is registered with what its absence
means, which is what earlier versions did: their runs then resume, and a call that asks for
something else is another run. Optional columns have their order here, too.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordFields:
    """The names in one kind of record."""

    key: str
    """Where it lies in the output."""
    identity: tuple[str, ...]
    """Fields that decide an output's rows, in the order in which a difference is told."""
    facts: tuple[str, ...] = ()
    """Fields that are told beside, and may differ."""
    places: tuple[str, ...] = ()
    """Identity fields that name a folder, a file or a URL: stored absolute, or None."""
    absent: Mapping[str, Any] = field(default_factory=dict)
    """Value of a field that is missing; of a part of a field as `decode.orientation`."""


_BEFORE_COMMANDS = {"command": "tag"}
"""In 0.1.0 the record of `tag` said no command, and was the only one that did not."""

TAG = RecordFields(
    key="run.json",
    identity=(
        "command", "source", "include", "exclude", "shard_rows", "model_id", "weights_sha256",
        "labels_sha256", "vocabulary_sha256", "thresholds_sha256", "threshold_option", "tags",
        "top_k", "score_floor", "caption", "precision", "image_size_px", "decode",
        "pinned", "uri_column", "image_column", "id_column",
    ),
    facts=("model", "text_encoder", "descriptions", "open_set_threshold", "batch_size",
           "versions", "created_at", "changed_etag"),
    places=("source",),
    absent=_BEFORE_COMMANDS | {
        "changed_etag": False,  # before 0.2.0
        "labels_sha256": None,  # before open sets
        "caption": None,  # before captions
        "text_encoder": None,  # before retries
        "descriptions": None,
        "open_set_threshold": None,
        "decode.wide_grey": "clip",  # before 0.2.0
        "decode.formats": [],
        "pinned": False,
        "uri_column": None,  # before tables and lists
        "image_column": None,
        "id_column": None,
    },
)  # fmt: skip
"""`tag`, `plan`; a retry compares MODEL alone."""

MODEL = (
    "weights_sha256", "labels_sha256", "vocabulary_sha256", "thresholds_sha256", "image_size_px",
    "caption",
)  # fmt: skip
"""Fields of TAG that say which model it is, wherever it lies."""

WORDS: Mapping[str, str] = {
    "model_id": "model",
    "weights_sha256": "model (by its weights)",
    "labels_sha256": "new words (by their embeddings)",
    "vocabulary_sha256": "vocabulary (by its content)",
    "thresholds_sha256": "model's own thresholds (by their values)",
    "threshold_option": "threshold",
    "image_size_px": "model's image size",
    "folds": "number of models",
}
"""What people call a field whose name is ours alone; the others are called as the settings are."""

RETRY = ("error_codes", "decode")
"""Fields of a retry's own record, retry.json."""

PARSE = RecordFields(
    key="run.json",
    identity=("command", "source", "vocabulary_sha256", "widen", "spacy", "evidence",
              "shard_bytes", "columns"),
    facts=("ram_ray", "created_at"),
    places=("source",),
    absent=_BEFORE_COMMANDS | {"columns": None},  # 0.1.0 knew no tables without names
)  # fmt: skip
"""`labels parse`."""

ENGINE = RecordFields(
    key="engine.json",
    identity=(
        "source",
        "captions",
        "shard_rows",
        "folds",
        "vocabulary_sha256",
        "columns",
        "formats",
    ),
    facts=("ram_ray", "created_at"),
    places=("source", "captions"),
    absent={"columns": None, "formats": []},
)
"""`engine run`; its steps have fingerprints of their own."""

LATER_SETTINGS: Mapping[str, Any] = {}
"""Settings that the engine's steps got after 0.1.0, and the value that does what 0.1.0 did; at
that value they are no part of a fingerprint."""

WRITTEN_OUT: Mapping[str, tuple[str, ...]] = {
    "ClusterConfig": ("num_clusters", "min_regions", "sample_per_tag", "cut", "outlier_z",
                      "outlier_share", "iterations", "seed"),
    "DecodeConfig": ("orientation", "max_image_bytes", "max_image_pixels", "decode_timeout_s",
                     "decode_memory_bytes"),
    "FilterConfig": ("rules", "min_precision", "max_over_removal", "policy", "penalty"),
    "WindowConfig": ("scales", "overlap", "min_score", "regions_per_tag"),
}  # fmt: skip
"""Configs that 0.1.0 wrote out whole, by `repr`, in the fingerprints of steps."""

OPTIONAL_COLUMNS = ("caption", "embedding", "boxes", "masks", "changed_etag")
"""Columns that a run adds to its tags files when asked, always in this order."""


def written_out(name: str, config: Any) -> str:
    """Return a config as 0.1.0 wrote it into fingerprints, whatever its class is called by now.

    A field that came later is written only where it is not its default, and after the others.

    Args:
        name: of WRITTEN_OUT.
        config: a dataclass that still has the fields of it.
    """
    shown = [f"{one}={getattr(config, one)!r}" for one in WRITTEN_OUT[name]]
    for one in fields(config):
        value = getattr(config, one.name)
        usual = one.default if one.default_factory is MISSING else one.default_factory()
        if one.name not in WRITTEN_OUT[name] and value != usual:
            shown.append(f"{one.name}={value!r}")
    return f"{name}({', '.join(shown)})"
