"""Checkpoints: whole or not there, the newest whole one counts, old ones go.

`checkpoints/step-00000040.pt` holds the tensors; `.json` beside it is written afterwards and holds
their checksum with everything that must fit on resume. A store replaces objects whole, so neither
file is ever seen in part; a file without its JSON is what a killed worker left.
"""

import hashlib
import io
import json
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch

from ram_ray.errors import ConfigError, DiskFullError, RamRayError, UnreachableError
from ram_ray.storage.stores import Store

FOLDER = "checkpoints"


class CheckpointLostError(RamRayError):
    """A checkpoint was there and cannot be had any more, or is damaged."""

    exit_code = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """Where a run stands, and of which run that is true."""

    step: int
    """Steps done, from 0; the next one to do."""
    epoch: int
    steps_per_epoch: int
    seed: int
    """All random numbers are functions of it and of the position: there is no state to keep."""
    batch_size: int
    index_sha256: str
    vocabulary_sha256: str
    model_config: str
    """JSON of the `RamConfig`, or of the CLIP."""

    def check_fits(self, run: Self, where: str) -> None:
        """Check that a checkpoint is of this run.

        Raises:
            ConfigError: naming the first thing that differs.
        """
        for name, what in _MUST_FIT.items():
            mine, its = getattr(run, name), getattr(self, name)
            if mine != its:
                shown = f" ({its} there, {mine} here)" if isinstance(mine, int) else ""
                raise ConfigError(
                    f"{where} was trained with {what}{shown}; give another output, or train "
                    "with the same."
                )


_MUST_FIT = {
    "index_sha256": "other images or labels",
    "vocabulary_sha256": "another vocabulary",
    "model_config": "another model",
    "seed": "another seed",
    "batch_size": "another batch_size",
}


def save_checkpoint(
    store: Store, tensors: dict[str, Any], position: Position, config: object, *, keep: int
) -> None:
    """Write a checkpoint, then prune all but the newest `keep`.

    Raises:
        UnreachableError: it could not be written; those before it are as they were.
    """
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    data = buffer.getvalue()
    facts = {
        "position": asdict(position),
        "sha256": hashlib.sha256(data).hexdigest(),
        "num_bytes": len(data),
        "config": asdict(config),  # pyright: ignore[reportArgumentType]
    }
    key = _key(position.step)
    try:
        store.write(f"{key}.pt", data)
        store.write(f"{key}.json", json.dumps(facts, indent=1).encode())
    except UnreachableError as error:
        _remove_leftovers(store, key)
        raise type(error)(_not_written(store, position.step, error)) from error
    for step in steps_saved(store)[:-keep]:
        store.delete(f"{_key(step)}.json")  # first: without it, the rest is no checkpoint
        store.delete(f"{_key(step)}.pt")


def steps_saved(store: Store) -> list[int]:
    """Return the steps of the checkpoints that claim to be whole, ascending."""
    names = [key.rsplit("/", 1)[-1] for key in store.list(FOLDER)]
    return sorted(int(name[5:-5]) for name in names if name.endswith(".json"))


def newest_whole(store: Store) -> tuple[int, list[str]]:
    """Return the step of the newest checkpoint that is whole, and remarks on newer ones.

    Raises:
        CheckpointLostError: there are checkpoints, but none is whole; or there is none at all.
    """
    remarks = []
    for step in reversed(steps_saved(store)):
        try:
            _read_bytes(store, step)
        except CheckpointLostError as error:
            remarks.append(str(error))
            continue
        return step, remarks
    raise CheckpointLostError(
        " ".join(remarks) + f" No checkpoint of {store.url} is left: give another output, or "
        f"delete {FOLDER} and run.json in it to start again."
    )


def read_checkpoint(
    store: Store, step: int, device: str = "cpu"
) -> tuple[dict[str, Any], Position]:
    """Return the tensors and the position of a checkpoint.

    Raises:
        CheckpointLostError: it is gone or damaged.
    """
    data, position = _read_bytes(store, step)
    try:
        tensors = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    except (ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointLostError(f"Checkpoint {step} of {store.url} is damaged.") from error
    return tensors, position


def _read_bytes(store: Store, step: int) -> tuple[bytes, Position]:
    """Return a checkpoint's file, with the right checksum, and its position."""
    key = _key(step)
    try:
        facts = json.loads(store.read(f"{key}.json"))
        position = Position(**facts["position"])
        data = store.read(f"{key}.pt")
    except FileNotFoundError as error:
        raise CheckpointLostError(f"Checkpoint {step} of {store.url} is gone.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointLostError(f"Checkpoint {step} of {store.url} is damaged.") from error
    if hashlib.sha256(data).hexdigest() != facts["sha256"]:
        raise CheckpointLostError(f"Checkpoint {step} of {store.url} is damaged.")
    return data, position


def _key(step: int) -> str:
    return f"{FOLDER}/step-{step:08d}"


def _remove_leftovers(store: Store, key: str) -> None:
    """Free what the failed write took, also obstore's own unfinished file beside it."""
    name = key.rsplit("/", 1)[-1]
    for left in _leftovers(store, name):
        try:
            store.delete(left)
        except UnreachableError:
            continue  # the sentence about the write says more


def _leftovers(store: Store, name: str) -> Sequence[str]:
    try:
        return [key for key in store.list(FOLDER) if key.rsplit("/", 1)[-1].startswith(name)]
    except (FileNotFoundError, UnreachableError):
        return []


def _not_written(store: Store, step: int, error: UnreachableError) -> str:
    kept = [saved for saved in steps_saved(store) if saved != step]
    newest = f"the newest whole one is {kept[-1]}" if kept else "there is none yet"
    if isinstance(error, DiskFullError):
        return (
            f"The disk of {store.url} is full: checkpoint {step} was not written, {newest}. Free "
            "space and run the same command again."
        )
    return f"Checkpoint {step} was not written, {newest}. {error}"
