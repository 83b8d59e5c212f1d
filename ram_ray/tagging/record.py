"""run.json: what makes two calls the same run, so that resuming never mixes results."""

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from ram_ray import __version__
from ram_ray.config import ImageTables, part_of
from ram_ray.errors import ConfigError
from ram_ray.images.extra_formats import decoder_versions
from ram_ray.runs.fields import MODEL, TAG, WORDS
from ram_ray.runs.record import Record, difference, stored_fields
from ram_ray.storage.stores import Store
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.model import ModelIdentity


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The content of run.json (`ram_ray.runs.fields.TAG`)."""

    source: str
    include: list[str]
    exclude: list[str]
    shard_rows: int
    model: str
    model_id: str
    weights_sha256: str
    vocabulary_sha256: str
    thresholds_sha256: str
    threshold_option: float | list[float] | None
    tags: list[str] | None
    top_k: int | None
    score_floor: float | None
    precision: str
    image_size_px: int
    batch_size: int | None
    """Images per model call; settled once the cluster is known, kept when the run is resumed, so
    that scores stay bit-equal."""
    decode: dict[str, Any]
    versions: dict[str, str]
    created_at: str
    command: str
    labels_sha256: str | None
    caption: dict[str, Any] | None
    text_encoder: str | None
    descriptions: str | None
    open_set_threshold: float | None
    pinned: bool
    uri_column: str | None
    image_column: str | None
    id_column: str | None
    changed_etag: bool
    """Its rows have the column `changed_etag`."""

    @property
    def limits(self) -> dict[str, Any]:
        """Fields of TagChoice that decide how many tags an image keeps, thresholds aside."""
        names = ("open_set_threshold", "top_k", "score_floor")
        return {name: getattr(self, name) for name in names}


SETTLED_KEY = "settled.json"
"""Create-if-absent: what the first call found out that knew the hardware. 0.1.0 put it into
run.json itself."""


def settled_batch_size(store: Store) -> int | None:
    """Return the images per model call that the run keeps; None before its first call."""
    try:
        return json.loads(store.read(SETTLED_KEY))["batch_size"]
    except FileNotFoundError:
        return None


def check_same_model(record: RunRecord, model: ModelIdentity) -> None:
    """Check that a model is the one of a run, whatever its folder is called by now.

    Raises:
        ConfigError: it is another one; names what differs.
    """
    found = difference(asdict(record), asdict(model), MODEL)
    if found is not None:
        raise ConfigError(
            f"The model {record.model} is not the one of this run: its "
            f"{WORDS.get(found.name, found.name)} differs; say with --model where that one is now."
        )


def read_record(store: Store) -> RunRecord | None:
    """Return run.json; None when there is none.

    Raises:
        ConfigError: it is not one this version can read.
    """
    fields = stored_fields(store, TAG)
    if fields is not None and fields.get("batch_size") is None:
        fields["batch_size"] = settled_batch_size(store)
    try:
        return None if fields is None else RunRecord(**fields)
    except TypeError as error:
        raise ConfigError(f"{store.url}/{TAG.key} cannot be read by this version.") from error


def tag_record(config: TagConfig, model: ModelIdentity) -> Record:
    """Return what a call of `tag` or `plan` is, for run.json.

    Raises:
        ConfigError: what reads the formats that it asks for is not here.
    """
    threshold = model.threshold_option
    identity = {
        "command": "tag",
        "source": config.source,
        "include": list(config.include),
        "exclude": list(config.exclude),
        "shard_rows": config.shard_rows,
        "model_id": model.model_id,
        "weights_sha256": model.weights_sha256,
        "labels_sha256": model.labels_sha256,
        "vocabulary_sha256": model.vocabulary_sha256,
        "thresholds_sha256": model.thresholds_sha256,
        "threshold_option": list(threshold) if isinstance(threshold, tuple) else threshold,
        "tags": list(config.tags) if config.tags is not None else None,
        "top_k": config.top_k,
        "score_floor": config.score_floor,
        "caption": model.caption,
        "precision": config.precision,
        "image_size_px": model.image_size_px,
        "decode": asdict(config.decode),
        "pinned": config.pinned,
        **part_of(config, ImageTables),
    }
    facts = {
        "model": config.model,
        "text_encoder": config.text_encoder,
        "descriptions": config.descriptions,
        "open_set_threshold": config.open_set_threshold,
        "batch_size": config.batch_size,
        "changed_etag": True,
        "versions": {"ram-ray": __version__, "python": platform.python_version()}
        | {name: version(name) for name in ("ray", "torch", "pillow", "pyarrow")}
        | decoder_versions(config.decode.formats),
    }
    return Record(fields=TAG, identity=identity, facts=facts)
