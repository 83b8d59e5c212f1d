"""Two real processes over gloo, DDP and FSDP2: the same optimisation as one process."""

import copy
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from ram_model.config import variant
from ram_model.files.checkpoint import build_model
from ram_model.files.resolution import resized_encoder
from ram_ray.training.config import TrainConfig
from ram_ray.training.contrastive import ClipObjective
from ram_ray.training.data.pairs import Pairs
from ram_ray.training.learner import Learner
from ram_ray.training.objective import Batch, Objective
from ram_ray.training.trained import Worker
from tests.model.tiny_clip import tiny_clip
from tests.training.scene import assert_same_weights

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

STEPS = 3
SETTINGS: dict[str, Any] = {
    "data": "x",
    "output": "y",
    "labels": "z",
    "vocabulary": "v",
    "dropout": False,
    "learning_rate": 1e-3,
    "warmup_steps": 0,
    "ema_decay": 0.5,
    "clip_grad_norm": 1.0,
    "max_workers": 2,
}


def batch(rows: range) -> Batch:
    """Return some of the five images of every step; no rows: an image of no weight."""
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
    targets = (torch.rand(5, 3) < 0.4).float()
    chosen = list(rows) or [0]
    present = torch.ones(len(chosen)) if len(rows) else torch.zeros(1)
    known = torch.ones(len(chosen), 3, dtype=torch.bool)
    return Batch(len(rows), pixels[chosen], present, targets[chosen], known)


def pairs(rows: range) -> Pairs:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
    pieces = torch.zeros(5, 77, dtype=torch.int64)
    pieces[:, 0], pieces[:, 1], pieces[:, 2] = 49406, torch.arange(5) + 300, 49407
    chosen = list(rows) or [0]
    present = torch.ones(len(chosen)) if len(rows) else torch.zeros(1)
    return Pairs(len(rows), pixels[chosen], present, pieces[chosen])


def learn(parallel: str, rank: int, world: int, parts: list[range]) -> dict[str, Any]:
    """Train for a few steps; return what a checkpoint would hold."""
    is_clip = parallel.startswith("clip")
    kind = {"kind": "clip", "captions": "c", "vocabulary": None, "labels": None, "variant": "small"}
    fields = dict(SETTINGS)
    fields.update(kind if is_clip else {}, parallel=parallel.removeprefix("clip-"))
    config = TrainConfig(**fields)
    torch.manual_seed(3)
    shape = variant("tiny", num_tags=3)
    object.__setattr__(shape, "image_encoder", resized_encoder(shape.image_encoder, 32))
    objective = ClipObjective(copy.deepcopy(tiny_clip())) if is_clip else Objective(
        build_model(shape), config
    )  # fmt: skip
    learner = Learner(objective, config, Worker(rank=rank, world=world), 10)
    make = pairs if is_clip else batch
    for step in range(STEPS):
        learner.step(step, [make(part) for part in parts])
        learner.restore(shared(learner.tensors(), world))  # as after a death
    return learner.tensors()


def shared(tensors: dict[str, Any], world: int) -> dict[str, Any]:
    """Return the first worker's tensors on all of them, as the store does."""
    if world == 1:
        return tensors
    held = [tensors]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def be_worker(rank: int, parallel: str, port: int, out: str) -> None:
    """Run as one of two processes; the second has three of five images, or the first has none."""
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    parts = [[range(0, 2), range(0)], [range(2, 4), range(4, 5)]][rank]
    tensors = learn(parallel, rank, 2, parts)
    if rank == 0:
        torch.save(tensors, out)
    dist.destroy_process_group()


@pytest.mark.parametrize("parallel", ["ddp", "fsdp", "clip-ddp", "clip-fsdp"])
def test_two_processes_learn_what_one_does(parallel: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = str(tmp_path / "tensors.pt")
    multiprocessing.spawn(be_worker, (parallel, port, out), nprocs=2)  # pyright: ignore[reportPrivateImportUsage]
    found = torch.load(out, weights_only=True)
    kind = "clip-ddp" if parallel.startswith("clip") else "ddp"
    expected = learn(kind, 0, 1, [range(0, 5)])
    key_bias = 2 * SETTINGS["learning_rate"] * STEPS
    assert_same_weights(found["model"], expected["model"], key_bias=key_bias)
    assert_same_weights(found["average"], expected["average"], key_bias=key_bias)
    states = (found["optimizer"]["state"], expected["optimizer"]["state"])
    assert states[0].keys() == states[1].keys()
