"""The engine without Ray: every stage in this process, in order. What Ray adds is tested apart."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ram_ray.data_engine import engine
from ram_ray.data_engine.cluster import step as cluster
from ram_ray.data_engine.filter import step as filter
from ram_ray.data_engine.generate import step as generate
from ram_ray.data_engine.look import pipeline as looking
from ram_ray.data_engine.look.model_process import Looker, LookOptions
from ram_ray.data_engine.look.stages import CommitSeen
from ram_ray.data_engine.steps import EngineRun, Step
from ram_ray.data_engine.steps import rounds as step_rounds
from ram_ray.runs.committer import Begin, ShardAssembly
from ram_ray.runs.plans import read_plan_shard
from ram_ray.runs.waves import Wave
from ram_ray.storage.fetching import FetchLimits
from ram_ray.workers.chunks import ReadPlan
from ram_ray.workers.fetch_and_decode import FetchAndDecode

BATCH = 4


def run_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the functions that give work to Ray."""

    def run_wave(run: EngineRun, wave: Wave, worker: type, arguments: tuple[object, ...]) -> None:
        del run
        made = worker(*arguments)
        for done, shard in enumerate(wave.shards, start=1):
            made.commit(shard)
            wave.done(done)

    def in_workers(function: Callable[..., Any], calls: list[tuple[Any, ...]]) -> list[Any]:
        return [function(*arguments) for arguments in calls]

    monkeypatch.setattr(step_rounds, "_run_wave", run_wave)
    monkeypatch.setattr(looking, "_run_wave", look_inline)
    here = SimpleNamespace(batch_size=BATCH, num_taggers=1, device="cpu", threads_per_tagger=None)
    monkeypatch.setattr(looking, "place", lambda config: here)
    monkeypatch.setattr(engine, "ray_session", no_ray)
    for module in (generate, filter, cluster):
        monkeypatch.setattr(module, "in_workers", in_workers)


@contextmanager
def no_ray(address: str | None) -> Iterator[None]:
    """Stand in for `ray_session`."""
    del address
    yield


def look_inline(
    run: EngineRun,
    placement: Any,
    options: LookOptions,
    pixels_px: int,
    step: Step,
    wave: Wave,
) -> None:
    """Do what `looking._run_wave` does, stage after stage."""
    del placement, step
    config = run.config
    read = ReadPlan(output=config.output, store=config.store, chunk_rows=BATCH, stretch_chunks=4)
    limits = FetchLimits(config.fetch_timeout_s, config.decode.max_image_bytes, 4)
    decoder = FetchAndDecode(config.store, limits, config.decode, pixels_px)
    looker, commit = Looker(options), CommitSeen(options)
    for done, shard in enumerate(wave.shards, start=1):
        parts: list[tuple[pa.Table, pa.Table]] = []
        for stretch in read(pa.table({"shard": [shard]})):
            for chunk in decoder(stretch):
                row = {n: chunk[n][0].as_py() for n in chunk.column_names if n != "pixels"}
                flat = np.frombuffer(chunk["pixels"][0].as_buffer(), np.uint8)
                images = flat.reshape(len(row["uri"]), pixels_px, pixels_px, 3)
                parts.append(looker.look(row, images, Begin(), lambda position: None))
        assembly = ShardAssembly(len(parts))
        for number, (seen, quarantine) in enumerate(parts):
            assembly.add(number, seen, quarantine)
        commit(run.store, shard, read_plan_shard(run.store, shard), *assembly.tables())
        wave.done(done)
    decoder.close()
