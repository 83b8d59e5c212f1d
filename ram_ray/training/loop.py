"""What every training process does, from its first checkpoint to the end of the run."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ram_model.config import RamConfig
from ram_ray.errors import RamRayError, UnreachableError
from ram_ray.storage.stores import Store, open_store
from ram_ray.training.checkpoints import newest_whole, read_checkpoint, save_checkpoint
from ram_ray.training.config import TrainConfig
from ram_ray.training.data.batches import BatchMaker
from ram_ray.training.data.feed import SHARD_CHANGED, FeedConfig, Part, plan_parts, read_steps
from ram_ray.training.data.pairs import PairMaker
from ram_ray.training.inputs import Run, read_run
from ram_ray.training.learner import Learner, NotFiniteError
from ram_ray.training.metrics import MetricsLog
from ram_ray.training.notes import Notes
from ram_ray.training.students import build_objective
from ram_ray.training.teachers import open_teacher, open_texts
from ram_ray.training.trained import Worker


def run_worker(config: TrainConfig, worker: Worker, notes: Notes) -> None:
    """Train until the run's last step, or until an error that no restart would heal.

    Such an error goes into the notes. It is raised too where only this worker knows of it, so
    that the others do not wait for it.
    """
    if worker.rank == 0:
        notes.begin()
    if notes.snapshot()["failure"] is not None:
        return
    try:
        _train(config, worker, notes)
    except NotFiniteError as error:  # on all workers alike
        notes.fail(str(error), error.exit_code)
    except RamRayError as error:
        notes.fail(str(error), error.exit_code)
        if worker.world > 1:
            raise
    except Exception as error:
        notes.error(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
        raise


def _train(config: TrainConfig, worker: Worker, notes: Notes) -> None:
    store = open_store(config.output, config.store)
    run = read_run(config, store)
    learner = Learner(
        build_objective(config, run.position.model_config),
        config,
        worker,
        run.plan.steps_per_epoch,
    )
    step = _resume(learner, store, run, worker, notes)
    progress = _Progress(config, worker, run, notes)
    log = MetricsLog(store, config, step) if worker.rank == 0 else None
    failed = True
    try:
        batches, size = _batch_maker(config, run, worker)
        for parts in _feed(config, worker, run, step, size):
            _check_shards(parts)
            line = learner.step(step, [batches.make(part) for part in parts])
            step += 1
            line = progress.done(step, parts, line)
            if log is not None and (step % config.log_steps == 0 or step == run.plan.num_steps):
                log.add(line)
            if step % config.checkpoint_steps == 0 or step == run.plan.num_steps:
                _save(learner, store, run, config, step, log)
        failed = False
    finally:
        if log is not None:
            log.close(failed=failed)
            for remark in log.remarks:
                notes.remark(remark)


def _batch_maker(
    config: TrainConfig, run: Run, worker: Worker
) -> tuple[BatchMaker | PairMaker, int]:
    """Return what makes tensors of parts, and the side of the model's images."""
    facts: dict[str, Any] = {"seed": config.seed, "device": worker.device}
    if run.vocabulary is None:
        clip = json.loads(run.position.model_config)
        length = clip["text_cfg"]["context_length"]
        pairs = PairMaker(run.samples, run.plan, context_length=length, **facts)
        return pairs, clip["vision_cfg"]["image_size"]
    shape = RamConfig.from_json(run.position.model_config)
    labelled = BatchMaker(
        run.samples,
        run.plan,
        run.vocabulary,
        tokenizer=run.tokenizer,
        teacher=open_teacher(config, shape.label_dim),
        texts=open_texts(config, shape.label_dim),
        **facts,
    )
    return labelled, shape.image_size_px


def _resume(learner: Learner, store: Store, run: Run, worker: Worker, notes: Notes) -> int:
    """Load the newest whole checkpoint, the same on every worker; return the steps done."""
    chosen = torch.zeros(1, dtype=torch.int64)
    if worker.rank == 0:
        step, remarks = newest_whole(store)
        for remark in remarks:
            notes.remark(f"{remark} Going on from checkpoint {step}.")
        chosen[0] = step
    if worker.world > 1:
        chosen = chosen.to(worker.device)
        dist.broadcast(chosen, src=0)
    tensors, position = read_checkpoint(store, int(chosen.item()))
    position.check_fits(run.position, f"Checkpoint {position.step} of {store.url}")
    learner.restore(tensors)
    if worker.rank == 0:
        notes.start(worker.world, position.step)
    return position.step


def _feed(config: TrainConfig, worker: Worker, run: Run, first_step: int, size: int) -> Any:
    rows = plan_parts(
        run.plan,
        run.samples,
        rank=worker.rank,
        world=worker.world,
        micro_batch_size=config.micro_batch_size,
        first_step=first_step,
    )
    feed = FeedConfig(
        seed=config.seed,
        augment=config.augment,
        image_size_px=size,
        store=config.store,
        decode=config.decode,
    )
    decoders, cpus = config.num_decoders, config.cpus_per_decoder
    return read_steps(rows, feed, num_decoders=decoders, cpus=cpus)


def _check_shards(parts: Sequence[Part]) -> None:
    """Stop before a step whose images are not the run's.

    Before it, because then no worker can finish the step, and no checkpoint holds it.
    """
    for part in parts:
        for error in part.errors:
            if error is not None and error[0] == SHARD_CHANGED:
                raise UnreachableError(error[1])


def _save(
    learner: Learner, store: Store, run: Run, config: TrainConfig, step: int,
    log: MetricsLog | None,
) -> None:  # fmt: skip
    """Write a checkpoint: every worker gathers, the first one writes."""
    tensors = learner.tensors()
    if log is not None:
        position = replace(run.position, step=step, epoch=step // run.plan.steps_per_epoch)
        save_checkpoint(store, tensors, position, config, keep=config.keep_checkpoints)
        log.flush()


@dataclass(slots=True)
class _Progress:
    """Counts images and errors, and tells the driver how far the run is."""

    config: TrainConfig
    worker: Worker
    run: Run
    notes: Notes
    errors: dict[str, int] = field(default_factory=dict)
    seen: int = 0
    epoch: int = -1
    started: float = field(default_factory=time.monotonic)
    images: int = 0

    def done(self, step: int, parts: Sequence[Part], line: dict[str, float]) -> dict[str, Any]:
        """Note that `step` steps are done; return the line of metrics."""
        epoch = self.run.plan.epoch_of(step - 1)
        if epoch != self.epoch:
            self.epoch, self.errors, self.seen = epoch, {}, 0
        self._audit(step - 1, parts)
        self._count_errors(parts)
        self.images += len(self.run.plan.samples(step - 1))
        rate = self.images / (time.monotonic() - self.started)
        facts = {"step": step, "epoch": epoch, **line, "images_per_s": round(rate, 2)}
        facts |= {"errors": sum(self.errors.values())}
        if self.worker.rank == 0:
            self.notes.reach(step, facts)
        return facts

    def _count_errors(self, parts: Sequence[Part]) -> None:
        for part in parts:
            self.seen += len(part.samples)
            for sample, error in zip(part.samples, part.errors, strict=True):
                if error is not None:
                    code, message = error
                    self.errors[code] = self.errors.get(code, 0) + 1
                    image_id = self.run.samples["image_id"][int(sample)].as_py()
                    self.notes.remark(f"{image_id}: {message} ({code})")
        bad, limit = sum(self.errors.values()), self.config.max_error_rate
        # of this worker's share of an epoch, so that a few bad images early on do not count much
        share = len(self.run.samples) / self.worker.world
        if bad > limit * share:
            code = max(self.errors, key=lambda name: self.errors[name])
            uri = self._worst_uri(parts)
            raise UnreachableError(
                f"{bad} of {self.seen} images of this epoch could not be had, most of all {code}, "
                f"the last in {uri}: repair the data, or raise max_error_rate ({limit:g})."
            )

    def _worst_uri(self, parts: Sequence[Part]) -> str:
        bad = [
            int(sample)
            for part in parts
            for sample, error in zip(part.samples, part.errors, strict=True)
            if error is not None
        ]
        return self.run.samples["uri"][bad[-1]].as_py() if bad else "an earlier step"

    def _audit(self, step: int, parts: Sequence[Part]) -> None:
        """Append this worker's samples of a step to its file, at once: it may be killed next."""
        if self.config.audit is None:
            return
        ids = [int(sample) for part in parts for sample in part.samples]
        entry = {"attempt": self.worker.attempt, "world": self.worker.world, "step": step}
        path = Path(self.config.audit) / f"{self.worker.attempt:04d}-{self.worker.rank:04d}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(entry | {"rank": self.worker.rank, "samples": ids}) + "\n"
        descriptor = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o644)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
