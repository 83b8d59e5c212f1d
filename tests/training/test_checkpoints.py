"""Checkpoints: the newest whole one counts, and what is lost is said."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, DiskFullError
from ram_ray.storage.stores import Store, open_store
from ram_ray.training.checkpoints import (
    CheckpointLostError,
    Position,
    newest_whole,
    read_checkpoint,
    save_checkpoint,
    steps_saved,
)

POSITION = Position(
    step=0,
    epoch=0,
    steps_per_epoch=5,
    seed=1,
    batch_size=8,
    index_sha256="a",
    vocabulary_sha256="b",
    model_config="{}",
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = open_store(str(tmp_path), StoreConfig())
    for step in (2, 4, 6):
        save(opened, step)
    return opened


def save(store: Store, step: int) -> None:
    tensors = {"model": {"w": torch.full((3,), float(step))}}
    save_checkpoint(store, tensors, replace(POSITION, step=step), StoreConfig(), keep=2)


def file(store: Store, step: int, suffix: str) -> Path:
    return Path(store.url) / "checkpoints" / f"step-{step:08d}.{suffix}"


def test_old_ones_are_pruned_and_the_newest_is_read_back(store: Store) -> None:
    assert steps_saved(store) == [4, 6]
    assert newest_whole(store) == (6, [])
    tensors, position = read_checkpoint(store, 6)
    assert torch.equal(tensors["model"]["w"], torch.full((3,), 6.0))
    assert position == replace(POSITION, step=6)


def test_a_damaged_or_vanished_one_is_passed_over_and_named(store: Store) -> None:
    file(store, 6, "pt").write_bytes(file(store, 6, "pt").read_bytes()[:-1])
    step, remarks = newest_whole(store)
    assert (step, remarks) == (4, [f"Checkpoint 6 of {store.url} is damaged."])
    file(store, 4, "pt").unlink()
    with pytest.raises(CheckpointLostError, match=r"4 of .* is gone\. No checkpoint of .* is left"):
        newest_whole(store)


def test_one_whose_facts_were_not_written_does_not_count(store: Store) -> None:
    file(store, 6, "json").unlink()
    assert newest_whole(store) == (4, [])


def test_a_full_disk_leaves_the_one_before(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(key: str, data: bytes) -> None:
        (Path(store.url) / f"{key}#1").write_bytes(data[:10])  # what obstore leaves
        raise DiskFullError("The disk is full.")

    monkeypatch.setattr(store, "write", full)
    with pytest.raises(DiskFullError, match=r"is full: checkpoint 8 was not .* whole one is 6"):
        save(store, 8)
    assert newest_whole(store) == (6, [])
    assert not list(file(store, 8, "pt").parent.glob("*#1"))


def test_one_of_another_run_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"another seed \(1 there, 2 here\)"):
        POSITION.check_fits(replace(POSITION, seed=2), "Checkpoint 4")
