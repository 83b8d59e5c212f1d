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
from ram_ray.data_engine.look.eyes import EyesOptions
from ram_ray.data_engine.look.looker import Looker, LookOptions
from ram_ray.data_engine.look.stages import LookCommitter, SeenAssembly
from ram_ray.data_engine.steps import EngineRun, Step
from ram_ray.data_engine.steps import rounds as step_rounds
from ram_ray.runs.committer import Begin
from ram_ray.storage.fetching import FetchLimits
from ram_ray.workers.chunks import ReadPlan
from ram_ray.workers.fetch_and_decode import FetchAndDecode

BATCH = 4


def run_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the functions that give work to Ray."""

    def commit_shards(
        config: Any,
        shards: tuple[int, ...],
        worker: type,
        arguments: tuple[object, ...],
        reasons: list[str],
        one_more: Callable[[], None],
    ) -> None:
        del config, reasons
        made = worker(*arguments)
        for shard in shards:
            made.commit(shard)
            one_more()

    def in_workers(function: Callable[..., Any], calls: list[tuple[Any, ...]]) -> list[Any]:
        return [function(*arguments) for arguments in calls]

    monkeypatch.setattr(step_rounds, "commit_shards", commit_shards)
    monkeypatch.setattr(looking, "_run_wave", look_inline)
    here = SimpleNamespace(batch_size=BATCH, num_taggers=1)
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
    options: dict[str, Any],
    pixels_px: int,
    step: Step,
    shards: tuple[int, ...],
    reasons: list[str],
    one_more: Callable[[], None],
) -> None:
    """Do what `looking._run_wave` does, stage after stage."""
    del placement, step, reasons
    config = run.config
    look_options = LookOptions(
        output=config.output,
        store=config.store,
        eyes=EyesOptions(
            models=config.models,
            device="cpu",
            threads=None,
            precision=config.precision,
            batch_size=BATCH,
            caption=config.caption,
        ),
        num_shards=run.plan.shards,
        floor=config.floor,
        **options,
    )
    read = ReadPlan(output=config.output, store=config.store, chunk_rows=BATCH, stretch_chunks=4)
    limits = FetchLimits(config.fetch_timeout_s, config.decode.max_image_bytes, 4)
    decoder = FetchAndDecode(config.store, limits, config.decode, pixels_px)
    looker, committer = Looker(look_options), LookCommitter(look_options)
    for shard in shards:
        parts: list[tuple[pa.Table, pa.Table]] = []
        for stretch in read(pa.table({"shard": [shard]})):
            for chunk in decoder(stretch):
                row = {n: chunk[n][0].as_py() for n in chunk.column_names if n != "pixels"}
                flat = np.frombuffer(chunk["pixels"][0].as_buffer(), np.uint8)
                images = flat.reshape(len(row["uri"]), pixels_px, pixels_px, 3)
                parts.append(looker.look(row, images, Begin(), lambda position: None))
        assembly = SeenAssembly(len(parts))
        for number, (seen, quarantine) in enumerate(parts):
            assembly.add(number, seen, quarantine)
        committer._write(shard, *assembly.tables())
        one_more()
    decoder.close()
