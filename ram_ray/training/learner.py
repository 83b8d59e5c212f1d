"""One worker's model, losses and optimizer; a step takes the worker's share of a global batch."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.nn.parallel import DistributedDataParallel

from ram_ray.errors import RamRayError
from ram_ray.training.config import TrainConfig
from ram_ray.training.parallel import gather_rows, sharded_like, sum_over_workers, whole, wrap
from ram_ray.training.schedule import learning_rate
from ram_ray.training.trained import Coupled, Trained, Worker

_FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)


class NotFiniteError(RamRayError):
    """A loss is NaN or infinite: on every worker at once, because they share the sum."""


class Learner:
    """Trains an objective, alone or as one of several workers."""

    def __init__(
        self, objective: "Trained", config: TrainConfig, worker: Worker, steps_per_epoch: int
    ) -> None:
        self._config = config
        self._worker = worker
        self._steps_per_epoch = steps_per_epoch
        self._objective = objective.to(worker.device)
        self._objective.train(config.dropout)
        self._weights = objective.weights
        self._bf16 = config.precision == "bf16" or (
            config.precision == "auto" and worker.device.startswith("cuda")
        )
        self._wrapped = wrap(self._objective, config, worker, bf16=self._bf16)
        trained = [p for p in self._objective.parameters() if p.requires_grad]
        # scalars, which FSDP cannot shard, apart: AdamW takes no mixture
        self._scalars = [p for p in trained if p.ndim == 0]
        groups = [[p for p in trained if p.ndim > 0], self._scalars]
        self._optimizer = torch.optim.AdamW(
            [{"params": group} for group in groups if group],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        self._average: dict[str, Tensor] | None = None
        if config.ema_decay is not None:
            self._average = {n: p.detach().clone() for n, p in self._named_trained()}
        self._values: dict[str, float] = {}

    def step(self, step: int, batches: Sequence[Any]) -> dict[str, float]:
        """Do one optimizer step on this worker's batches; return the losses of the whole step.

        Args:
            step: global number, from 0.
            batches: one per forward pass; every worker has equally many.

        Raises:
            NotFiniteError: the loss is NaN or infinite; no weight was changed.
        """
        rate = learning_rate(self._config, step, self._steps_per_epoch)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        batches, coupled = self._couple(batches)
        counts = self._total([batch.counts() for batch in batches])
        factors = self._factors(step, batches, counts)
        # dropout of a step depends on nothing before it
        torch.manual_seed((self._config.seed * 1_000_003 + step) * 1_009 + self._worker.rank)
        self._optimizer.zero_grad(set_to_none=True)
        sums: list[dict[str, float]] = []
        for number, batch in enumerate(batches):
            with self._without_sync(last=number == len(batches) - 1):
                parts = self._forward(batch)
                # DDP and FSDP average gradients over workers; the loss is a sum over them
                loss = torch.stack([parts[n] * factors[n] for n in parts]).sum()
                (loss * self._worker.world).backward()
            sums.append({name: value.item() for name, value in parts.items()})
        values = self._means(self._total(sums), counts) | coupled
        total = sum(self._weights[name] * value for name, value in values.items())
        if not math.isfinite(total):
            raise NotFiniteError(
                f"The loss is not finite at step {step} ({_spelled(values)}): a lower "
                f"learning_rate than {rate:g}, a longer warm-up or clip_grad_norm may help; "
                "the last checkpoint is sound."
            )
        self._average_scalars()
        norm = self._clip()
        self._optimizer.step()
        self._update_average(step)
        self._values = values
        line = {"loss": total, **values, "learning_rate": rate}
        return line if norm is None else line | {"grad_norm": norm}

    def tensors(self) -> dict[str, Any]:
        """Return what a checkpoint holds; every worker must call it, rank 0 gets it whole."""
        average = self._average and {name: whole(t).cpu() for name, t in self._average.items()}
        return {
            "model": get_model_state_dict(self._objective, options=_FULL),
            "optimizer": get_optimizer_state_dict(self._objective, self._optimizer, options=_FULL),
            "average": average,
            "values": self._values,
        }

    def restore(self, tensors: dict[str, Any]) -> None:
        """Take over a checkpoint; that of step 0 has no optimizer."""
        set_model_state_dict(self._objective, tensors["model"], options=_FULL)
        if tensors["optimizer"] is not None:
            state = tensors["optimizer"]
            set_optimizer_state_dict(self._objective, self._optimizer, state, options=_FULL)
        if self._average is not None:
            source = tensors["average"] or tensors["model"]
            for name, parameter in self._named_trained():
                self._average[name] = sharded_like(source[name], parameter)
        self._values = dict(tensors["values"])

    def _forward(self, batch: Any) -> dict[str, Tensor]:
        device = self._worker.device.partition(":")[0]
        with torch.autocast(device, torch.bfloat16, enabled=self._bf16):
            return self._wrapped(batch)

    def _without_sync(self, *, last: bool) -> AbstractContextManager[Any]:
        """Exchange gradients only after a step's last forward pass."""
        if isinstance(self._wrapped, DistributedDataParallel):
            return nullcontext() if last else self._wrapped.no_sync()
        if hasattr(self._wrapped, "set_requires_gradient_sync"):
            self._wrapped.set_requires_gradient_sync(last)  # pyright: ignore[reportCallIssue]
        return nullcontext()

    def _factors(
        self, step: int, batches: Sequence[Any], counts: dict[str, float]
    ) -> dict[str, float]:
        """Return what each loss sum is multiplied with: weight over count.

        Beside a caption loss, the tag loss is made as large as it, as in the papers. The ratio is
        that of the step before, which is the same for any number of workers; at first it is found
        by a pass without gradients.
        """
        factors = {name: w / max(counts[name], 1.0) for name, w in self._weights.items()}
        if "caption" in factors and "tag" in factors:
            if not self._values:
                with torch.no_grad():
                    first = [{n: v.item() for n, v in self._forward(b).items()} for b in batches]
                self._values = self._means(self._total(first), counts)
            ratio = self._values["caption"] / max(self._values["tag"], 1e-12)
            factors["tag"] *= ratio if ratio > 0 and math.isfinite(ratio) else 1.0
        return factors

    def _couple(self, batches: Sequence[Any]) -> tuple[Sequence[Any], dict[str, float]]:
        """Give batches of a coupled loss their part of its gradient; return the loss too."""
        if not isinstance(self._objective, Coupled):
            return batches, {}
        with torch.no_grad():
            own = torch.cat([self._forward(batch)["features"] for batch in batches])
        present = torch.cat([batch.present for batch in batches])
        features, first = gather_rows(own, self._worker)
        whole_present, _ = gather_rows(present, self._worker)
        loss, signal, scale_signal = self._objective.couple(features, whole_present)
        ends = np.cumsum([len(batch.present) for batch in batches])
        starts = [0, *ends[:-1]]
        signalled = [
            batch._replace(
                signal=signal[first + start : first + end],
                scale_signal=scale_signal if first + start == 0 else 0.0,
            )
            for batch, start, end in zip(batches, starts, ends, strict=True)
        ]
        return signalled, {"contrastive": loss}

    def _total(self, rows: Sequence[dict[str, float]]) -> dict[str, float]:
        """Return the sums of this worker's passes, over all workers."""
        return sum_over_workers(_summed(rows), self._worker)

    def _means(self, sums: dict[str, float], counts: dict[str, float]) -> dict[str, float]:
        return {name: value / max(counts[name], 1.0) for name, value in sums.items()}

    def _clip(self) -> float | None:
        if self._config.clip_grad_norm is None:
            return None
        sharded, plain = [], []
        for _, parameter in self._named_trained():
            if parameter.grad is not None:
                (sharded if hasattr(parameter, "device_mesh") else plain).append(parameter)
        groups = [group for group in (sharded, plain) if group]
        norms = [whole(nn.utils.get_total_norm([p.grad for p in group])) for group in groups]
        norm = torch.stack(norms).norm()
        for group in groups:
            nn.utils.clip_grads_with_norm_(group, self._config.clip_grad_norm, norm)
        return norm.item()

    def _average_scalars(self) -> None:
        """Do for scalars what FSDP does for the weights that it shards."""
        if isinstance(self._wrapped, DistributedDataParallel) or self._worker.world == 1:
            return
        for parameter in self._scalars:
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= self._worker.world

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        if self._average is None or self._config.ema_decay is None:
            return
        # follows closely at first, when the average would otherwise hold random weights
        decay = min(self._config.ema_decay, (1 + step) / (10 + step))
        for name, parameter in self._named_trained():
            self._average[name].lerp_(parameter.detach(), 1 - decay)

    def _named_trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(n, p) for n, p in self._objective.named_parameters() if p.requires_grad]


def _summed(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) for name in rows[0]}


def _spelled(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())
