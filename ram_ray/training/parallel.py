"""One model on several workers: replicated (DDP) or sharded (FSDP2)."""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from ram_ray.training.config import TrainConfig
from ram_ray.training.trained import Trained, Worker


def wrap(objective: Trained, config: TrainConfig, worker: Worker, *, bf16: bool) -> nn.Module:
    """Return the module to call: the objective itself, or around it what exchanges gradients.

    Args:
        bf16: run the network in 16 bit; gradients are added up in 32.
    """
    if config.parallel == "fsdp" and dist.is_initialized():
        policy = MixedPrecisionPolicy()
        if bf16:
            policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        for block in _blocks(objective):
            fully_shard(block, mp_policy=policy)
        scalars = {p for p in objective.parameters() if p.ndim == 0}
        fully_shard(objective, mp_policy=policy, ignored_params=scalars)
        return objective
    if worker.world == 1:
        return objective
    # without the tag loss some weights of the decoder get no gradient
    return DistributedDataParallel(
        objective, find_unused_parameters=not {"tag", "contrastive"} & objective.weights.keys()
    )


def gather_rows(own: Tensor, worker: Worker) -> tuple[Tensor, int]:
    """Return the rows of all workers in rank order, and where this worker's begin."""
    if worker.world == 1:
        return own, 0
    counts = torch.zeros(worker.world, dtype=torch.int64, device=own.device)
    counts[worker.rank] = len(own)
    dist.all_reduce(counts)
    padded = own.new_zeros((int(counts.max()), *own.shape[1:]))
    padded[: len(own)] = own
    found = [torch.empty_like(padded) for _ in range(worker.world)]
    dist.all_gather(found, padded)
    rows = torch.cat([part[: int(n)] for part, n in zip(found, counts, strict=True)])
    return rows, int(counts[: worker.rank].sum())


def sum_over_workers(sums: dict[str, float], worker: Worker) -> dict[str, float]:
    """Return sums over all workers."""
    if worker.world == 1:
        return sums
    names = sorted(sums)
    values = torch.tensor([sums[n] for n in names], dtype=torch.float64)
    values = values.to(worker.device)
    dist.all_reduce(values)
    return dict(zip(names, values.tolist(), strict=True))


def _blocks(objective: nn.Module) -> list[nn.Module]:
    """Return the repeated blocks, each of which FSDP shards as a unit.

    The layers of the text side are not among them: they lend each other their parts, and FSDP
    gathers weights only for a module that is called itself.
    """
    names = ("SwinTransformerBlock", "ResidualAttentionBlock")
    return [module for module in objective.modules() if type(module).__name__ in names]


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor that may be sharded as a whole one."""
    full = getattr(tensor, "full_tensor", None)  # of an FSDP shard
    return tensor.detach() if full is None else full()


def sharded_like(value: Tensor, parameter: Tensor) -> Tensor:
    """Return a copy of a whole tensor, sharded as the parameter is."""
    mesh = getattr(parameter, "device_mesh", None)
    if mesh is None:
        return value.to(parameter.device, copy=True)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(parameter.device), mesh, parameter.placements)  # pyright: ignore[reportAttributeAccessIssue]
