"""Tag the shards that are not committed, wave by wave."""

from functools import partial

from ram_ray.cluster import Placement
from ram_ray.runs.committer import CommitRows, CommitterProgress
from ram_ray.runs.rounds import WAVE_SHARDS, Shards
from ram_ray.runs.waves import Wave
from ram_ray.storage.stores import absolute_url
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.dataset import build_pipeline, chunks_per_shard
from ram_ray.tagging.model import ModelIdentity
from ram_ray.tagging.progress import RunProgress
from ram_ray.tagging.tables import commit_tags
from ram_ray.workers.fetch_and_decode import check_decoders

WAVE_CHUNKS = 1_536
"""Most chunks per tagger and execution: Ray Data's driver keeps some 15 kB of each until the end
(benchmarks/driver_memory.py), so this bounds its memory whatever the number of images. Between
two waves the models load again, which costs seconds: after a minute on the fastest GPUs, after
many on a CPU."""
MAX_COMMITTERS = 8
"""Committers per wave; each holds only the shards that are open."""


def tag_shards(
    shards: Shards,
    config: TagConfig,
    model: ModelIdentity,
    placement: Placement,
    batch_size: int,
    report: RunProgress,
    *,
    changes: bool = False,
) -> tuple[str, ...]:
    """Tag what is pending, of a run or of a retry; return notes for the user.

    Args:
        config: where to, and how; its `output` is that of `shards`.
        batch_size: images per model call.
        changes: as of `commit_tags`.

    Raises:
        LeaseHeldError: another driver has taken over.
        ConfigError: a machine lacks what reads the formats that the run asks for.
    """
    check_decoders(config.decode.formats)
    notes: set[str] = set()
    commit = partial(commit_tags, changes=changes)
    size = wave_shards(config, placement, batch_size)
    for wave in shards.waves(size, on_round=report.round):
        counts = _tag_wave(wave, config, model, placement, batch_size, report, commit)
        notes |= _device_notes(placement, counts)
    return tuple(sorted(notes))


def wave_shards(config: TagConfig, placement: Placement, batch_size: int) -> int:
    """Return how many shards one Ray Data execution takes on."""
    fitting = WAVE_CHUNKS * placement.num_taggers // chunks_per_shard(config, batch_size)
    return max(1, min(WAVE_SHARDS, fitting))


def _tag_wave(
    wave: Wave,
    config: TagConfig,
    model: ModelIdentity,
    placement: Placement,
    batch_size: int,
    report: RunProgress,
    commit: CommitRows,
) -> list[CommitterProgress]:
    """Run some shards through Ray Data and wait for their commits; return what was done."""
    output = absolute_url(config.output)
    count = min(MAX_COMMITTERS, placement.num_taggers)
    with wave.committers(count, output, config.store, commit) as committers:
        pipeline = build_pipeline(
            config, model, placement, batch_size, wave.shards, committers.actors
        )
        # The rows are never read: their pages of the object store would stay mapped in here.
        for _ in wave.keeping(pipeline.iter_internal_ref_bundles()):
            if report.wants_counts():
                report.wave(committers.progress())
    report.wave_over(committers.counts)
    return committers.counts


def _device_notes(placement: Placement, counts: list[CommitterProgress]) -> set[str]:
    devices = {device for each in counts for device, _ in each.taggers}
    if placement.gpus_per_tagger and "cpu" in devices:
        return {"Ray offers GPUs, but a model process sees none: it tags on the CPU."}
    return set()
