"""Parse captions at scale: plan -> parse and commit shards -> frequencies -> summary.

    parse_captions(ParseConfig(source="captions", output="parsed", vocabulary="tags.parquet"))

Every line of the source ends as a caption of an image or as a problem with its place. A run that
was killed goes on where its commits end: call it again.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from ram_ray import __version__
from ram_ray.cluster import ray_session
from ram_ray.labels.parser.spacy_tier import load_pipeline
from ram_ray.labels.parsing.config import ParseConfig, ParseSummary
from ram_ray.labels.parsing.plan import CaptionPlan, check_captions, write_caption_plan
from ram_ray.labels.parsing.shard import (
    FREQUENCIES,
    PAIRS,
    VOCABULARY_KEY,
    ParseShard,
    merge_counts,
)
from ram_ray.labels.vocabulary_files import read_vocabulary
from ram_ray.runs.commits import read_commits, read_published
from ram_ray.runs.fields import PARSE
from ram_ray.runs.opening import Planner, Run, open_run, refuse_inside
from ram_ray.runs.plans import to_parquet
from ram_ray.runs.ray_data import over_shards
from ram_ray.runs.record import Record
from ram_ray.runs.waves import Wave
from ram_ray.storage.stores import Store

SUMMARY_KEY = "summary.json"
FREQUENCIES_KEY = "frequencies.parquet"
PAIRS_KEY = "cooccurrence.parquet"

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
    vocabulary = _vocabulary_bytes(config)
    if config.spacy is not None:
        load_pipeline(config.spacy)  # refuse early what no parser process could load
    refuse_inside(config.output, {"source": config.source})
    record, planner = _record(config, vocabulary), _planner(config)
    with open_run(config.output, config.store, record=record, planner=planner) as run:
        store, plan = run.store, run.plan
        num_captions = _parse_shards(run, config, on_shards or (lambda done, total: None))
        frequencies = _write_counts(store, plan)
        commits = list(read_commits(store, range(plan.shards)))
    wall_s = time.monotonic() - started
    summary = ParseSummary(
        num_images=sum(commit.tagged for commit in commits),
        num_problems=sum(commit.quarantined for commit in commits),
        num_tags=len(set(frequencies["tag_id"].to_pylist())),
        num_shards=plan.shards,
        num_files=plan.files,
        skipped_files=plan.skipped,
        passed_over=plan.passed_over,
        passed_examples=plan.passed_examples,
        captions_this_call=num_captions,
        captions_per_s=round(num_captions / wall_s, 1),
        wall_s=round(wall_s, 3),
        resumed=run.planned_before,
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


def _record(config: ParseConfig, vocabulary: bytes) -> Record:
    """Return what this call is, for run.json, with the vocabulary that the run keeps."""
    identity = {
        "command": "labels parse",
        "source": config.source,
        "vocabulary_sha256": hashlib.sha256(vocabulary).hexdigest(),
        "widen": config.widen,
        "spacy": config.spacy,
        "evidence": config.evidence,
        "shard_bytes": config.shard_bytes,
        "columns": config.columns and list(config.columns),
    }
    facts = {"ram_ray": __version__}
    files = {VOCABULARY_KEY: vocabulary}
    return Record(fields=PARSE, identity=identity, facts=facts, files=files)


def _planner(config: ParseConfig) -> Planner[CaptionPlan]:
    def check() -> None:
        check_captions(config.source, config.store)

    def write(store: Store, on_planned: Callable[[int], None]) -> CaptionPlan:
        return write_caption_plan(
            store,
            config.source,
            config.store,
            columns=config.columns,
            shard_bytes=config.shard_bytes,
            on_planned=on_planned,
        )

    return Planner(kind=CaptionPlan, write=write, check=check)


def _parse_shards(run: Run[CaptionPlan], config: ParseConfig, tell: OnShards) -> int:
    """Parse what is pending; return how many captions that was.

    Raises:
        IncompleteRunError: shards are left after `config.max_rounds` passes over them.
    """
    total = run.plan.shards
    shards = run.shards(max_rounds=config.max_rounds, on_done=lambda done: tell(done, total))
    num_captions = 0
    if not shards.all_done:
        with ray_session(config.address):
            for wave in shards.waves():
                num_captions += _parse_wave(run.url, config, wave)
    shards.finish()
    return num_captions


def _parse_wave(output: str, config: ParseConfig, wave: Wave) -> int:
    """Parse some shards through Ray Data; return the captions of those that were committed."""
    done = num_captions = 0
    with wave.attempt():
        pipeline = over_shards(
            wave.shards,
            ParseShard,
            (output, config.store, config.widen, config.evidence, config.spacy),
            processes=config.num_parsers,
            cpus=config.cpus_per_parser,
        )
        batches = pipeline.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        for rows in wave.keeping(iter(batches)):
            done += rows.num_rows
            num_captions += sum(rows["captions"].to_pylist())
            wave.done(done)
    return num_captions


def _write_counts(store: Store, plan: CaptionPlan) -> pa.Table:
    """Add up the shards' counts into the run's two tables; return the frequencies."""

    def parts(folder: str) -> Any:
        for commit in read_commits(store, range(plan.shards)):
            yield read_published(store, commit.file(folder))

    frequencies = merge_counts(parts("frequencies"), FREQUENCIES, ["images", "captions"])
    store.write(FREQUENCIES_KEY, to_parquet(frequencies))
    store.write(PAIRS_KEY, to_parquet(merge_counts(parts("pairs"), PAIRS, ["images"])))
    return frequencies
