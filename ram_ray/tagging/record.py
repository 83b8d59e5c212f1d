"""run.json: what makes two calls the same run, so that resuming never mixes results."""

import json
import platform
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from ram_ray import __version__
from ram_ray.errors import ConfigError
from ram_ray.storage.stores import Store, split_url
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.model import ModelIdentity

RECORD_KEY = "run.json"

IDENTITY = (
    "source", "include", "exclude", "shard_rows", "model_id", "weights_sha256", "labels_sha256",
    "vocabulary_sha256", "thresholds_sha256", "threshold_option", "tags", "top_k",
    "score_floor", "caption", "precision", "image_size_px", "decode",
)  # fmt: skip
"""Fields that decide an output's rows; a call that differs in one is another run."""

MODEL_IDENTITY = (
    "weights_sha256", "labels_sha256", "vocabulary_sha256", "thresholds_sha256", "image_size_px",
    "caption",
)  # fmt: skip
"""Those of them that say which model it is, wherever it lies."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The content of run.json."""

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
    labels_sha256: str | None = None  # absent in run.json before open sets
    caption: dict[str, Any] | None = None  # absent before captions
    text_encoder: str | None = None  # these three are absent before retries
    descriptions: str | None = None
    open_set_threshold: float | None = None


def check_record(store: Store, config: TagConfig, model: ModelIdentity) -> RunRecord | None:
    """Return the output's record after checking that it is this run's; None when there is none.

    Raises:
        ConfigError: the output holds another run; names the first field that differs.
    """
    existing = read_record(store)
    if existing is None:
        foreign = next(store.list("plan"), None) or next(store.list("commits"), None)
        if foreign:
            raise ConfigError(f"{store.url} holds {foreign} of an unknown run; choose another.")
        return None
    wanted = _record(config, model)
    for name in IDENTITY:
        old, new = getattr(existing, name), getattr(wanted, name)
        if old != new:
            raise ConfigError(
                f"{store.url} holds another run: its {name} is {old!r}, this call's is {new!r}; "
                "choose another output, or repeat the call as it was to resume."
            )
    return existing


def check_same_model(record: RunRecord, model: ModelIdentity) -> None:
    """Check that a model is the one of a run, whatever its folder is called by now.

    Raises:
        ConfigError: it is another one; names what differs.
    """
    for name in MODEL_IDENTITY:
        old, new = getattr(record, name), getattr(model, name)
        if old != new:
            raise ConfigError(
                f"The model {record.model} is not the one of this run: its {name} is {new!r}, "
                f"the run's is {old!r}; say with --model where that one is now."
            )


def agree_on_record(store: Store, config: TagConfig, model: ModelIdentity) -> RunRecord:
    """Return the output's record, written now if there is none.

    Raises:
        ConfigError: the output holds another run.
    """
    record = check_record(store, config, model)
    if record is None:
        record = _record(config, model)
        store.write(RECORD_KEY, _to_json(record))
    elif config.batch_size is not None:
        record = replace(record, batch_size=config.batch_size)
    return record


def settle_batch_size(store: Store, record: RunRecord, batch_size: int) -> RunRecord:
    """Fill in the batch size once the hardware is known; a recorded one stays."""
    if record.batch_size is not None:
        return record
    settled = replace(record, batch_size=batch_size)
    store.write(RECORD_KEY, _to_json(settled))
    return settled


def read_record(store: Store) -> RunRecord | None:
    """Return run.json; None when there is none.

    Raises:
        ConfigError: it is not one this version can read.
    """
    try:
        fields = json.loads(store.read(RECORD_KEY))
        return RunRecord(**fields)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{store.url}/{RECORD_KEY} cannot be read by this version.") from error


def _record(config: TagConfig, model: ModelIdentity) -> RunRecord:
    threshold = model.threshold_option
    return RunRecord(
        source=_source_identity(config.source),
        include=list(config.include),
        exclude=list(config.exclude),
        shard_rows=config.shard_rows,
        model=config.model,
        model_id=model.model_id,
        weights_sha256=model.weights_sha256,
        labels_sha256=model.labels_sha256,
        vocabulary_sha256=model.vocabulary_sha256,
        thresholds_sha256=model.thresholds_sha256,
        threshold_option=list(threshold) if isinstance(threshold, tuple) else threshold,
        tags=list(config.tags) if config.tags is not None else None,
        top_k=config.top_k,
        score_floor=config.score_floor,
        open_set_threshold=config.open_set_threshold,
        caption=model.caption,
        precision=config.precision,
        image_size_px=model.image_size_px,
        batch_size=config.batch_size,
        decode=asdict(config.decode),
        versions={"ram-ray": __version__, "python": platform.python_version()}
        | {name: version(name) for name in ("ray", "torch", "pillow", "pyarrow")},
        text_encoder=config.text_encoder,
        descriptions=config.descriptions,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _source_identity(source: str) -> str:
    scheme, bucket, path = split_url(source)
    return path if scheme == "file" else f"{scheme}://{bucket}/{path}"


def _to_json(record: RunRecord) -> bytes:
    return json.dumps(asdict(record), indent=1).encode()
