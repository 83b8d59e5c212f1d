"""Step 4: how unusual each region looks among the regions of its tag.

    steps/sample-*/samples/     some regions of every tag, drawn by hash
    steps/cluster-*/fit/        centroids and cuts of a group of tags
    steps/cluster-*/verdicts/   tables.VERDICTS

Two streaming passes over the stored vectors; no picture is touched, and nothing is shuffled:

1. Every shard keeps the regions whose hash of (image, tag) is below the tag's rate. The rate
   follows from how often the tag occurs, so that a tag on half of all images gives as many
   samples as a rare one, and no process ever holds the regions of a hot tag. A resumed run draws
   the same regions.
2. Groups of tags are fitted each in a process of its own; their small table goes to every process,
   which judges the regions of a shard where they are.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from ram_ray.config import StoreConfig
from ram_ray.data_engine.cluster.clusters import CLUSTERS, Clusters, fit, judge
from ram_ray.data_engine.config import ClusterConfig
from ram_ray.data_engine.plan.image_plan import name_hash
from ram_ray.data_engine.steps import (
    EngineRun,
    Step,
    counts_table,
    open_step,
    read_table,
    run_tables,
    sum_counts,
)
from ram_ray.data_engine.steps.tables import IMAGE_ID, TAG_ID, VERDICTS
from ram_ray.runs.commits import Commit, commit_tables
from ram_ray.runs.fields import written_out
from ram_ray.runs.plans import to_parquet
from ram_ray.runs.ray_data import in_workers
from ram_ray.storage.parquet import read_parquet
from ram_ray.storage.stores import Store, open_store

SAMPLES = pa.schema([IMAGE_ID, TAG_ID, pa.field("vector", pa.large_binary(), nullable=False)])
CLUSTERS_KEY = "clusters.parquet"
RATES_KEY = "rates.parquet"
GROUP_BYTES = 256 * 2**20
"""Vectors (float32) that one fitting process holds."""


def cluster(run: EngineRun, parsed: Step, added: Step | None, located: Step | None) -> Step | None:
    """Fit the looks of every tag and judge all regions; return the step, None where it is off."""
    if not run.uses("cluster") or located is None:
        return None
    config = run.config
    settings = {"clusters": written_out("ClusterConfig", config.clusters)}
    sampled = open_step(run, "sample", settings, (parsed, added, located))
    judged = open_step(run, "cluster", settings, (parsed, added, located, sampled))
    inputs = (config.store, parsed.url, added.url if added else None, located.url)
    store = sampled.open(config.store)
    if "cluster" in run.wanted and not store.exists(RATES_KEY):
        store.create(RATES_KEY, to_parquet(sampling_rates(run, parsed, added)))
    run_tables(run, sampled, SampleRegions, *inputs, sampled.url)
    if "cluster" in run.wanted and not judged.open(config.store).exists(CLUSTERS_KEY):
        fit_groups(run, sampled, judged)
    run_tables(run, judged, JudgeRegions, *inputs, judged.url)
    return judged


def sampling_rates(run: EngineRun, parsed: Step, added: Step | None) -> pa.Table:
    """Return per tag how often it occurs and the share of its regions that are drawn."""
    counts = sum_counts(parsed, run.config.store)
    if added is not None:
        counts += sum_counts(added, run.config.store)
    total: Counter[int] = Counter()
    for key, value in counts.items():
        if isinstance(key, tuple):
            total[key[1]] += value
    wanted = run.config.clusters.sample_per_tag
    tag_ids = sorted(total)
    return pa.table(
        {
            "tag_id": pa.array(tag_ids, pa.int32()),
            "count": pa.array([total[tag_id] for tag_id in tag_ids], pa.int64()),
            "rate": pa.array([min(1.0, wanted / total[tag_id]) for tag_id in tag_ids]),
        }
    )


class _Inputs:
    """Reads the regions of a shard, those of tags that somebody gave."""

    def __init__(
        self, config: StoreConfig, parsed_url: str, added_url: str | None, located_url: str
    ) -> None:
        self._parsed = open_store(parsed_url, config)
        self._added = open_store(added_url, config) if added_url else None
        self._located = open_store(located_url, config)

    def given(self, shard: int) -> dict[str, set[int]]:
        """Return the tags of each image that its captions name or the model adds."""
        tables = [read_table(self._parsed, "mentions", shard)]
        if self._added is not None:
            tables.append(read_table(self._added, "additions", shard))
        given: dict[str, set[int]] = defaultdict(set)
        for table in tables:
            columns = table["image_id"].to_pylist(), table["tag_id"].to_pylist()
            for image_id, tag_id in zip(*columns, strict=True):
                given[image_id].add(tag_id)
        return given

    def regions(self, shard: int) -> Iterator[tuple[str, list[dict[str, Any]], np.ndarray, set]]:
        """Yield image, best region per tag, the image's vectors [V, E], and its foreign tags."""
        for row in read_table(self._located, "regions", shard).to_pylist():
            best = best_regions(row["regions"])
            count = 1 + max((region["vector"] for region in row["regions"]), default=-1)
            vectors = np.frombuffer(row["vectors"], np.float16)
            vectors = vectors.reshape(count, -1) if count else vectors.reshape(0, 0)
            yield row["image_id"], best, vectors, set(row["foreign"])


def best_regions(regions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the region per tag on which the tagger is surest of it, in order of tag id."""
    best: dict[int, dict[str, Any]] = {}
    for region in regions:
        there = best.get(region["tag_id"])
        if there is None or region["score"] > there["score"]:
            best[region["tag_id"]] = region
    return [best[tag_id] for tag_id in sorted(best)]


class SampleRegions:
    """Keeps the drawn regions of a shard."""

    def __init__(
        self,
        config: StoreConfig,
        parsed_url: str,
        added_url: str | None,
        located_url: str,
        step_url: str,
    ) -> None:
        self._inputs = _Inputs(config, parsed_url, added_url, located_url)
        self._store = open_store(step_url, config)
        rates = read_parquet(self._store, RATES_KEY)
        ends = [math.ceil(rate * 2**64) for rate in rates["rate"].to_pylist()]
        self._ends = dict(zip(rates["tag_id"].to_pylist(), ends, strict=True))

    def commit(self, shard: int) -> Commit:
        """Draw from one shard and commit it."""
        given = self._inputs.given(shard)
        rows: list[dict[str, Any]] = []
        images = 0
        for image_id, regions, vectors, _ in self._inputs.regions(shard):
            images += 1
            for region in regions:
                tag_id = region["tag_id"]
                if tag_id not in given.get(image_id, ()):
                    continue
                if name_hash(f"sample/{tag_id}/{image_id}") < self._ends.get(tag_id, 0):
                    vector = vectors[region["vector"]].tobytes()
                    rows.append({"image_id": image_id, "tag_id": tag_id, "vector": vector})
        rows.sort(key=lambda row: (row["tag_id"], row["image_id"]))
        counts = Counter({"sampled": len(rows)})
        tables = {
            "samples": pa.Table.from_pylist(rows, SAMPLES),
            "counts": counts_table(counts),
        }
        return commit_tables(self._store, shard, tables, tagged=images, quarantined_by_code={})


def fit_groups(run: EngineRun, sampled: Step, judged: Step) -> None:
    """Fit groups of tags, each in a process of its own, and write CLUSTERS_KEY."""
    config = run.config
    store = judged.open(config.store)
    rates = read_parquet(sampled.open(config.store), RATES_KEY)
    groups = group_tags(rates, config.clusters)
    calls = [
        (config.store, sampled.url, judged.url, group, tags, run.plan.shards, config.clusters)
        for group, tags in enumerate(groups)
    ]
    keys = in_workers(fit_group, calls)
    tables = [read_parquet(store, key) for key in keys]
    table = pa.concat_tables([CLUSTERS.empty_table(), *tables]).sort_by("tag_id")
    store.create(CLUSTERS_KEY, to_parquet(table))


def group_tags(rates: pa.Table, config: ClusterConfig, width: int = 512) -> list[list[int]]:
    """Return the tags in groups whose samples fit GROUP_BYTES, tags with too few regions left out.

    Args:
        rates: of `sampling_rates`.
        width: floats of a vector; 512 in every released model.
    """
    groups: list[list[int]] = [[]]
    size = 0
    for row in rates.to_pylist():
        rows = min(row["count"], config.sample_per_tag)
        if rows < config.min_regions:
            continue
        if groups[-1] and (size + rows) * width * 4 > GROUP_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(row["tag_id"])
        size += rows
    return [group for group in groups if group]


def fit_group(
    config: StoreConfig,
    sampled_url: str,
    judged_url: str,
    group: int,
    tags: list[int],
    num_shards: int,
    clusters: ClusterConfig,
) -> str:
    """Fit the tags of one group; return the key of its CLUSTERS table."""
    store = open_store(sampled_url, config)
    wanted = np.array(tags, np.int32)
    tag_ids: list[np.ndarray] = []
    vectors: list[np.ndarray] = []
    for shard in range(num_shards):
        samples = read_table(store, "samples", shard)
        samples = samples.filter(np.isin(samples["tag_id"].to_numpy(), wanted))
        if samples.num_rows:
            tag_ids.append(samples["tag_id"].to_numpy())
            flat = b"".join(samples["vector"].to_pylist())
            vectors.append(np.frombuffer(flat, np.float16).reshape(samples.num_rows, -1))
    if tag_ids:
        found = fit(np.concatenate(vectors).astype(np.float32), np.concatenate(tag_ids), clusters)
        table = found.to_table()
    else:
        table = CLUSTERS.empty_table()
    key = f"fit/group-{group:06d}.parquet"
    open_store(judged_url, config).write(key, to_parquet(table))
    return key


class JudgeRegions:
    """Judges the regions of a shard with the centroids of all tags."""

    def __init__(
        self,
        config: StoreConfig,
        parsed_url: str,
        added_url: str | None,
        located_url: str,
        step_url: str,
    ) -> None:
        self._inputs = _Inputs(config, parsed_url, added_url, located_url)
        self._store: Store = open_store(step_url, config)
        table = read_parquet(self._store, CLUSTERS_KEY)
        self._clusters = Clusters.from_table(table) if table.num_rows else None

    def commit(self, shard: int) -> Commit:
        """Judge one shard and commit it; tags of foreign captions too, for the filter to learn."""
        given = self._inputs.given(shard)
        keys: list[tuple[str, int]] = []
        vectors: list[np.ndarray] = []
        images = 0
        for image_id, regions, found, foreign in self._inputs.regions(shard):
            images += 1
            for region in regions:
                if region["tag_id"] in given.get(image_id, ()) or region["tag_id"] in foreign:
                    keys.append((image_id, region["tag_id"]))
                    vectors.append(found[region["vector"]])
        verdicts = self._judge(keys, vectors)
        counts = Counter(regions=len(keys), outliers=verdicts.pop("outliers"))
        columns = {"image_id": [key[0] for key in keys], "tag_id": [key[1] for key in keys]}
        tables = {
            "verdicts": pa.table(columns | verdicts, schema=VERDICTS),
            "counts": counts_table(counts),
        }
        return commit_tables(self._store, shard, tables, tagged=images, quarantined_by_code={})

    def _judge(self, keys: list[tuple[str, int]], vectors: list[np.ndarray]) -> dict[str, Any]:
        if self._clusters is None or not keys:
            nothing = np.full(len(keys), np.nan, np.float32)
            return {"distance": nothing, "z": nothing, "cut": nothing, "outliers": 0}
        tag_ids = np.array([key[1] for key in keys], np.int64)
        verdict = judge(self._clusters, np.stack(vectors).astype(np.float32), tag_ids)
        numbers = {"distance": verdict.distance, "z": verdict.z, "cut": verdict.cut}
        return numbers | {"outliers": int(verdict.outlier.sum())}
