"""Step 2: the tags that the model adds.

    steps/look-*/scores/          tables.SCORES, quarantine/ images that could not be seen
    steps/generate-*/additions/   tables.ADDITIONS; thresholds.parquet beside it

The pass over the images is shared with `locate` (`looking.py`). Thresholds are chosen on a sample
of shards, which are random by hash; then every shard is decided on its own.
"""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from ram_model.vocabulary import Vocabulary
from ram_ray.config import StoreConfig
from ram_ray.data_engine.config import EngineConfig
from ram_ray.data_engine.generate.choose import additions, choose_together
from ram_ray.data_engine.generate.samples import Sample, read_sample
from ram_ray.data_engine.generate.thresholds_file import (
    GENERATED_CAPTION,
    GENERATED_TAG,
    THRESHOLDS,
    THRESHOLDS_KEY,
    read_thresholds,
    threshold_rows,
)
from ram_ray.data_engine.plan.image_plan import read_images, shard_of
from ram_ray.data_engine.plan.vocabulary import read_run_vocabulary
from ram_ray.data_engine.steps import (
    EngineRun,
    Step,
    counts_table,
    open_step,
    run_tables,
)
from ram_ray.data_engine.steps.tables import ADDITIONS
from ram_ray.errors import ConfigError
from ram_ray.labels.parser.caption_parser import CaptionParser
from ram_ray.runs.commits import Commit, commit_tables
from ram_ray.runs.plans import to_parquet
from ram_ray.runs.ray_data import in_workers
from ram_ray.storage.stores import open_store


def generate(run: EngineRun, parsed: Step, seen: Step | None) -> Step | None:
    """Choose thresholds and decide which tags are added; return the step, None where it is off."""
    if not run.uses("generate") or seen is None:
        return None
    config = run.config
    settings = {
        "target_precision": config.target_precision,
        "trusted_sha256": _file_sha256(config.trusted),
        "sample_images": config.sample_images,
        "widen": config.widen,
    }
    step = open_step(run, "generate", settings, (parsed, seen))
    store = step.open(config.store)
    if "generate" in run.wanted and not store.exists(THRESHOLDS_KEY):
        # In a worker: the sample is dense, the driver stays small.
        call = (config, parsed.url, seen.url, run.plan.shards)
        (table,) = in_workers(fit_thresholds, [call])
        store.create(THRESHOLDS_KEY, to_parquet(table))
    arguments = (config.output, config.store, parsed.url, seen.url, step.url, config.widen)
    run_tables(run, step, AddTags, *arguments)
    return step


def sample_shards(num_shards: int, shard_rows: int, num_images: int) -> list[int]:
    """Return evenly spread shards that hold about `num_images` images, at least one."""
    wanted = min(num_shards, max(1, -(-num_images // shard_rows)))
    return [position * num_shards // wanted for position in range(wanted)]


def fit_thresholds(
    config: EngineConfig, parsed_url: str, seen_url: str, num_shards: int
) -> pa.Table:
    """Return THRESHOLDS, chosen on the sample, or on the trusted images where there are some."""
    plan = open_store(config.output, config.store)
    vocabulary = read_run_vocabulary(plan)
    truth = read_trusted(config, vocabulary)
    if truth:
        shards = sorted({shard_of(image_id, num_shards) for image_id in truth})
    else:
        shards = sample_shards(num_shards, config.shard_rows, config.sample_images)
    parser = CaptionParser(vocabulary, widen=config.widen) if config.caption else None
    urls = config.output, parsed_url, seen_url
    # Other captions witness about generated ones, so they must not help to read them here.
    beside = "all" if truth else "first"
    sample = Sample.join(
        [
            read_sample(config.store, *urls, shard, parser, num_tags=len(vocabulary), beside=beside)
            for shard in shards
        ]
    )
    trusted = None
    if truth:
        there = [at for at, image_id in enumerate(sample.image_ids) if image_id in truth]
        if not there:
            raise ConfigError(f"trusted is {config.trusted!r}, but none of its images was seen.")
        labels = np.stack([truth[sample.image_ids[at]] for at in there])
        trusted = (np.array(there), labels)
    rules: dict[str, np.ndarray | None] = {GENERATED_TAG: None}
    if config.caption:
        rules[GENERATED_CAPTION] = sample.written
    chosen = choose_together(
        sample.scores,
        # Other captions are witnesses only where they are not what they witness about.
        sample.named if trusted else sample.first,
        list(rules.values()),
        target_precision=config.target_precision,
        agreement=sample.agreement,
        trusted=trusted,
    )
    rows = [
        row
        for rule, one in zip(rules, chosen, strict=True)
        for row in threshold_rows(rule, one, vocabulary)
    ]
    return pa.Table.from_pylist(rows, THRESHOLDS)


class AddTags:
    """Decides on the additions of a shard."""

    def __init__(
        self,
        output: str,
        config: StoreConfig,
        parsed_url: str,
        seen_url: str,
        step_url: str,
        widen: bool,
    ) -> None:
        self._config = config
        self._plan = open_store(output, config)
        self._urls = output, parsed_url, seen_url
        self._store = open_store(step_url, config)
        vocabulary = read_run_vocabulary(self._plan)
        self._num_tags = len(vocabulary)
        self._thresholds = read_thresholds(self._store.read(THRESHOLDS_KEY), self._num_tags)
        writes = GENERATED_CAPTION in self._thresholds
        self._parser = CaptionParser(vocabulary, widen=widen) if writes else None

    def commit(self, shard: int) -> Commit:
        """Decide on one shard and commit it."""
        sample = read_sample(
            self._config, *self._urls, shard, self._parser, num_tags=self._num_tags
        )
        taken = sample.named.copy()
        rows: list[dict[str, Any]] = []
        for rule, thresholds in self._thresholds.items():
            candidates = sample.written if rule == GENERATED_CAPTION else None
            added = additions(sample.scores, taken, thresholds, candidates)
            taken |= added
            rows += [
                {
                    "image_id": sample.image_ids[at],
                    "tag_id": tag_id,
                    "rule": rule,
                    "score": sample.scores[at, tag_id],
                    "threshold": thresholds.values[tag_id],
                }
                for at, tag_id in np.argwhere(added).tolist()
            ]
        rows.sort(key=lambda row: (row["image_id"], row["tag_id"]))
        num_images = read_images(self._plan, shard, ["image_id"]).num_rows
        counts: Counter[Any] = Counter(row["rule"] for row in rows)
        counts.update(("added", row["tag_id"]) for row in rows)
        counts["images_with_additions"] = len({row["image_id"] for row in rows})
        tables = {
            "additions": pa.Table.from_pylist(rows, ADDITIONS),
            "counts": counts_table(counts),
        }
        return commit_tables(self._store, shard, tables, tagged=num_images, quarantined_by_code={})


def read_trusted(config: EngineConfig, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """Return complete labels bool [T] by image id; tags outside the vocabulary are left out."""
    if config.trusted is None:
        return {}
    from ram_model.metrics import PRESENT
    from ram_ray.evaluation.truth import read_truth

    truth = read_truth(config.trusted)
    columns = [(at, found) for at, name in enumerate(truth.names)
               for found in vocabulary.find(name)]  # fmt: skip
    labels: dict[str, np.ndarray] = {}
    for row, image_id in enumerate(truth.image_ids):
        present = np.zeros(len(vocabulary), bool)
        for at, tag_id in columns:
            present[tag_id] |= truth.labels[row, at] == PRESENT
        labels[image_id] = present
    return labels


def _file_sha256(path: str | None) -> str | None:
    import hashlib
    from pathlib import Path

    if path is None:
        return None
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
