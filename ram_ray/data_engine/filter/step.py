"""Step 5: the final labels, every one with its sources and decisions.

    revisions/NNNNNN/labels/   revisions.LABELS, one row per (image, tag)
    revisions/NNNNNN/images/   revisions.IMAGES, one row per image: what training reads
    revisions/NNNNNN/log/      decision_log.LOG

The filter is fitted on a sample of shards, where `locate` has also looked for tags of other
images' captions; then every shard is decided on its own. Corrections of a person come last and
nothing overrides them.
"""

import hashlib
import json

import numpy as np

from ram_ray.data_engine.config import EngineConfig
from ram_ray.data_engine.filter.decide import CORRECTIONS_KEY, FILTER_KEY, DecideLabels
from ram_ray.data_engine.filter.evidence import Evidence, kind_codes
from ram_ray.data_engine.filter.file import filter_to_json
from ram_ray.data_engine.filter.fit import fit
from ram_ray.data_engine.filter.promises import LEAST_ROWS, UNKNOWN, Witnesses
from ram_ray.data_engine.filter.shard_evidence import StepFolders, collect, read_shard
from ram_ray.data_engine.generate.step import read_trusted, sample_shards
from ram_ray.data_engine.plan.vocabulary import read_run_vocabulary
from ram_ray.data_engine.revisions.corrections import read_corrections
from ram_ray.data_engine.revisions.label_sets import open_revision
from ram_ray.data_engine.steps import EngineRun, Step, StepsDone, run_tables
from ram_ray.runs.fields import written_out
from ram_ray.runs.ray_data import in_workers
from ram_ray.storage.stores import open_store


def filter_labels(run: EngineRun, inputs: StepsDone) -> Step | None:
    """Fit the filter, decide on every label; return the finished step: a revision."""
    if not run.uses("filter"):
        return None
    config = run.config
    corrections = read_corrections(config.corrections)
    settings = {
        "filter": written_out("FilterConfig", config.filter_config) if config.filter else None,
        "sample_images": config.sample_images,
        "trusted": config.trusted,
        "agreed": config.agreed,
        "corrections_sha256": hashlib.sha256(json.dumps(corrections).encode()).hexdigest(),
    }
    step = open_revision(run, settings, inputs.all())
    store = step.open(config.store)
    folders = StepFolders(**inputs.urls())  # pyright: ignore[reportArgumentType]
    store.create(CORRECTIONS_KEY, json.dumps(corrections).encode())
    if config.filter and "filter" in run.wanted and not store.exists(FILTER_KEY):
        (fitted,) = in_workers(fit_filter, [(config, folders, run.plan.shards)])
        store.create(FILTER_KEY, fitted)
    arguments = (config.output, config.store, folders, step.url, run.plan.shards, config.agreed)
    run_tables(run, step, DecideLabels, *arguments)
    return step


def fit_filter(config: EngineConfig, folders: StepFolders, num_shards: int) -> bytes:
    """Return the filter fitted on the sample, as JSON; `null` where there is too little."""
    vocabulary = read_run_vocabulary(open_store(config.output, config.store))
    kinds = kind_codes(vocabulary.kinds)
    named, wrong = [], []
    own: list[bool] = []
    said: list[int] = []
    right: list[int] = []
    truth = read_trusted(config, vocabulary)
    at = 0
    for shard in sample_shards(num_shards, config.shard_rows, config.sample_images):
        found = collect(read_shard(folders, shard, config.store), at)
        named.append(found.named.evidence(kinds))
        wrong.append(found.wrong.evidence(kinds))
        own += found.own
        said += found.said
        right += [
            int(truth[image_id][tag_id]) if image_id in truth else UNKNOWN
            for image_id, tag_id in found.named.keys
        ]
        at = found.next_caption
    known, drawn = Evidence.join(named), Evidence.join(wrong)
    if min(len(known), len(own) - sum(own)) < LEAST_ROWS:
        return b"null"
    judge = fit(
        known,
        drawn,
        len(vocabulary),
        config.filter_config,
        own=np.array(own),
        witnesses=_witnesses(right, said),
    )
    return filter_to_json(judge)


def _witnesses(right: list[int], said: list[int]) -> Witnesses:
    """Return complete labels where there are enough, else what other captions say."""
    if right.count(1) >= LEAST_ROWS:
        return Witnesses(said=np.array(right, np.int8), complete=True)
    return Witnesses(said=np.array(said, np.int8))
