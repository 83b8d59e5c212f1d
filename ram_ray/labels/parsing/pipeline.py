"""Parse captions at scale: plan -> parse and commit shards -> frequencies -> summary.

    parse_captions(ParseConfig(source="captions", output="parsed", vocabulary="tags.parquet"))

Every line of the source ends as a caption of an image or as a problem with its place. A run that
was killed goes on where its commits end: call it again.
"""

import gc
import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from ram_ray import __version__
from ram_ray.cluster import ray_session
from ram_ray.errors import ConfigError, IncompleteRunError
from ram_ray.labels.parser.spacy_tier import load_pipeline
from ram_ray.labels.parsing.config import ParseConfig, ParseSummary
from ram_ray.labels.parsing.plan import CaptionPlan, read_caption_plan, write_caption_plan
from ram_ray.labels.parsing.shard import (
    FREQUENCIES,
    PAIRS,
    VOCABULARY_KEY,
    ParseShard,
    merge_counts,
)
from ram_ray.labels.vocabulary_files import read_vocabulary
from ram_ray.runs.commits import (
    committed_shards,
    finish_publishing,
    iter_batches,
    read_commits,
    read_published,
)
from ram_ray.runs.leases import Lease, take_lease
from ram_ray.runs.plans import to_parquet
from ram_ray.storage.stores import Store, open_store, probe_create_if_absent, split_url

RECORD_KEY = "run.json"
SUMMARY_KEY = "summary.json"
FREQUENCIES_KEY = "frequencies.parquet"
PAIRS_KEY = "cooccurrence.parquet"
WAVE_SHARDS = 2_000
"""Most shards per Ray Data execution."""

_log = logging.getLogger(__name__)


OnShards = Callable[[int, int], None]
"""Told the shards that are done and how many there are."""


def parse_captions(config: ParseConfig, *, on_shards: OnShards | None = None) -> ParseSummary:
    """Parse every caption of `config.source` into `config.output`.

    Raises:
        ConfigError: a setting is wrong, there are no captions, or the output holds another run.
        UnreachableError: source, output or cluster cannot be reached.
        LeaseHeldError: another driver works on this output.
        IncompleteRunError: some shards failed in every round; run again to resume.
    """
    started = time.monotonic()
    tell = on_shards or (lambda done, total: None)
    vocabulary = _vocabulary_bytes(config)
    if config.spacy is not None:
        load_pipeline(config.spacy)  # refuse early what no parser process could load
    _check_output(config)
    store = open_store(config.output, config.store, create=True)
    probe_create_if_absent(store)
    lease = take_lease(store)
    try:
        _agree_on_record(store, config, vocabulary)
        plan, resumed = _make_plan(store, config, lease)
        num_captions = _run_rounds(store, config, plan, lease, tell)
        finish_publishing(store, set(range(plan.shards)))
        frequencies = _write_counts(store, plan)
        commits = list(read_commits(store, range(plan.shards)))
    finally:
        lease.release()
    wall_s = time.monotonic() - started
    summary = ParseSummary(
        num_images=sum(commit.tagged for commit in commits),
        num_problems=sum(commit.quarantined for commit in commits),
        num_tags=len(set(frequencies["tag_id"].to_pylist())),
        num_shards=plan.shards,
        num_files=plan.files,
        skipped_files=plan.skipped,
        captions_this_call=num_captions,
        captions_per_s=round(num_captions / wall_s, 1),
        wall_s=round(wall_s, 3),
        resumed=resumed,
        output=store.url,
    )
    store.write(SUMMARY_KEY, json.dumps(asdict(summary), indent=1).encode())
    return summary


def _vocabulary_bytes(config: ParseConfig) -> bytes:
    """Return the vocabulary as Parquet, whatever file it came in."""
    vocabulary = read_vocabulary(config.vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / VOCABULARY_KEY
        vocabulary.to_parquet(path)
        return path.read_bytes()


def _check_output(config: ParseConfig) -> None:
    kind, bucket, source = split_url(config.source)
    out_kind, out_bucket, output = split_url(config.output)
    if (kind, bucket) == (out_kind, out_bucket) and f"{output}/".startswith(f"{source}/"):
        raise ConfigError(f"output {config.output} lies inside the source; choose another.")


def _agree_on_record(store: Store, config: ParseConfig, vocabulary: bytes) -> None:
    """Write run.json, or check that the one there is this run's.

    Raises:
        ConfigError: the output holds another run.
    """
    identity: dict[str, Any] = {
        "command": "labels parse",
        "source": config.source,
        "vocabulary_sha256": hashlib.sha256(vocabulary).hexdigest(),
        "widen": config.widen,
        "spacy": config.spacy,
        "evidence": config.evidence,
        "shard_bytes": config.shard_bytes,
        "ram_ray": __version__,
    }
    record = identity | {"created_at": datetime.now(UTC).isoformat(timespec="seconds")}
    if store.create(RECORD_KEY, json.dumps(record, indent=1).encode()):
        store.write(VOCABULARY_KEY, vocabulary)
        return
    there = json.loads(store.read(RECORD_KEY))
    for name, value in identity.items():
        if there.get(name) != value:
            raise ConfigError(
                f"{config.output} holds another run: its {name} is {there.get(name)!r}, not "
                f"{value!r}; choose another output."
            )
    if not store.exists(VOCABULARY_KEY):  # the first driver died between the two
        store.write(VOCABULARY_KEY, vocabulary)


def _make_plan(store: Store, config: ParseConfig, lease: Lease) -> tuple[CaptionPlan, bool]:
    plan = read_caption_plan(store)
    if plan is not None:
        return plan, True
    plan = write_caption_plan(
        store,
        config.source,
        config.store,
        shard_bytes=config.shard_bytes,
        on_planned=lambda _: lease.keep(),
    )
    if plan.shards == 0:
        other = f" ({plan.skipped:,} files of other kinds)" if plan.skipped else ""
        raise ConfigError(f"There are no captions in {config.source}{other}.")
    return plan, False


def _run_rounds(
    store: Store, config: ParseConfig, plan: CaptionPlan, lease: Lease, tell: OnShards
) -> int:
    """Parse what is pending until every shard is committed; return how many captions that was.

    Raises:
        IncompleteRunError: shards are left after `config.max_rounds` passes over them.
    """
    reasons: list[str] = []
    num_captions = 0
    if len(committed_shards(store)) < plan.shards:
        with ray_session(config.address):
            for _ in range(config.max_rounds):
                committed = committed_shards(store)
                pending = (shard for shard in range(plan.shards) if shard not in committed)
                if len(committed) == plan.shards:
                    break
                done = len(committed)
                for wave in iter_batches(pending, WAVE_SHARDS):
                    lease.keep()
                    for row in _run_wave(config, wave, lease, reasons):
                        done += 1
                        num_captions += row["captions"]
                        tell(done, plan.shards)
                    gc.collect()  # an execution of Ray Data is a cycle of objects
    left = sorted(set(range(plan.shards)) - committed_shards(store))
    if left:
        shown = ", ".join(map(str, left[:10])) + (", ..." if len(left) > 10 else "")
        why = f" Last reason: {reasons[-1]}" if reasons else ""
        raise IncompleteRunError(
            f"{len(left)} of {plan.shards} shards are not committed ({shown}); what is committed "
            f"stays, run the same command again to resume.{why}"
        )
    return num_captions


def _run_wave(
    config: ParseConfig, shards: tuple[int, ...], lease: Lease, reasons: list[str]
) -> list[dict[str, int]]:
    """Run some shards through Ray Data; failures go to `reasons`."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext
    from ray.exceptions import RayError

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    DataContext.get_current().enable_progress_bars = False
    cpus = int(ray.cluster_resources().get("CPU", 1))
    parsers = min(config.num_parsers or max(1, cpus), len(shards))
    rows = [{"shard": shard} for shard in shards]
    pipeline = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        ParseShard,
        fn_constructor_args=(config.output, config.store),
        fn_constructor_kwargs={
            "widen": config.widen,
            "with_evidence": config.evidence,
            "spacy": config.spacy,
        },
        batch_size=1,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(min_size=1, max_size=parsers),
        num_cpus=config.cpus_per_parser,
    )
    finished: list[dict[str, int]] = []
    try:
        for done in pipeline.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            lease.keep()
            finished += cast(pa.Table, done).to_pylist()
    except RayError as error:
        # Ray has retried what can be retried; the next round starts from the commits.
        reasons.append(str(error).strip().splitlines()[-1][:300])
        _log.warning("A pass over %d shards ended early: %s", len(shards), reasons[-1])
    return finished


def _write_counts(store: Store, plan: CaptionPlan) -> pa.Table:
    """Add up the shards' counts into the run's two tables; return the frequencies."""

    def parts(folder: str) -> Any:
        for commit in read_commits(store, range(plan.shards)):
            yield read_published(store, commit.file(folder))

    frequencies = merge_counts(parts("frequencies"), FREQUENCIES, ["images", "captions"])
    store.write(FREQUENCIES_KEY, to_parquet(frequencies))
    store.write(PAIRS_KEY, to_parquet(merge_counts(parts("pairs"), PAIRS, ["images"])))
    return frequencies
