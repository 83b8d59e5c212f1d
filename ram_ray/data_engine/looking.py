"""The pass that decodes: every image is fetched and decoded once, whatever the steps want of it.

    shards -> stretches of chunks -> pixels -> scores and regions -> committers

The stages before the model are those of tagging. The model process scores the whole image, and
where regions are wanted, the crops too; what it found goes to the shard's committer, which
publishes the tables of both steps.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from ram_model import ModelOutputError
from ram_model.vocabulary import Vocabulary
from ram_ray.cluster import Placement, place
from ram_ray.committer import QUARANTINE_ROWS, Begin, Committer, DrainReport, ShardAssembly
from ram_ray.config import StoreConfig, TagConfig
from ram_ray.data_engine.evidence import kind_codes, strongest_rivals
from ram_ray.data_engine.image_plan import fold_of_shard, name_hash
from ram_ray.data_engine.locators import Locator, Region
from ram_ray.data_engine.model_eyes import Eyes, EyesOptions, FoldedEyes, locate, shrink
from ram_ray.data_engine.parse import read_run_vocabulary
from ram_ray.data_engine.steps import (
    EngineRun,
    Step,
    cause,
    configure_ray_data,
    counts_table,
    read_table,
    run_rounds,
)
from ram_ray.data_engine.tables import QUARANTINE, REGIONS, SCORES
from ram_ray.data_engine.windows import window_boxes
from ram_ray.errors import ImageErrorCode
from ram_ray.storage.commits import check_conservation, commit_tables, committed_shards
from ram_ray.storage.fetching import FetchLimits
from ram_ray.storage.plans import read_plan_shard
from ram_ray.storage.stores import open_store
from ram_ray.workers import FetchAndDecode, ReadPlan

_log = logging.getLogger(__name__)

MAX_COMMITTERS = 4
WAVE_CHUNKS = 1_536
"""Most chunks per model process and Ray Data execution; what the driver keeps of each adds up, as
in tagging (benchmarks/driver_memory.py)."""
ASK_S = 2.0
"""Time between two looks at what is committed."""
_ROW = pa.field("row", pa.int32(), nullable=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class LookOptions:
    """What a process of this pass needs to know; small, for it travels to actors."""

    output: str
    store: StoreConfig
    eyes: EyesOptions
    num_shards: int
    parsed: str
    """Folder of the parse step."""
    floor: float
    scores_url: str
    """Folder of the scores."""
    regions_url: str | None
    """Folder of the locate step; None: no regions are wanted."""
    make_locator: Callable[[Eyes, Vocabulary], Locator]
    foreign_shards: frozenset[int]
    """Shards of the sample that the filter learns on: their images also get regions for the tags
    of another image's caption."""


def look(run: EngineRun, options: dict[str, Any], pixels_px: int, *steps: Step) -> None:
    """Look at all images that one of the steps still lacks; each pass fills all of them.

    Args:
        options: fields of LookOptions that the steps decide.
        pixels_px: side of the decoded images.
        steps: those of `scores_url` and `regions_url`.
    """
    config = run.config
    placement = place(_as_tagging(run))
    chunks = -(-config.shard_rows // placement.batch_size)
    wave_shards = max(1, WAVE_CHUNKS * placement.num_taggers // chunks)
    for step in steps:

        def run_wave(
            shards: tuple[int, ...],
            reasons: list[str],
            one_more: Callable[[], None],
            step: Step = step,
        ) -> None:
            _run_wave(run, placement, options, pixels_px, step, shards, reasons, one_more)

        run_rounds(run, step, run_wave, wave_shards=wave_shards)


def _run_wave(
    run: EngineRun,
    placement: Placement,
    options: dict[str, Any],
    pixels_px: int,
    step: Step,
    shards: tuple[int, ...],
    reasons: list[str],
    one_more: Callable[[], None],
) -> None:
    import ray
    from ray.data import ActorPoolStrategy
    from ray.exceptions import RayError

    config = run.config
    look_options = _options(run, placement, options)
    _configure(configure_ray_data)
    make = ray.remote(LookCommitter).options(num_cpus=0, max_restarts=0, max_concurrency=1_000)
    count = min(MAX_COMMITTERS, len(shards), placement.num_taggers)
    committers: list[Any] = [make.remote(look_options) for _ in range(count)]
    limits = FetchLimits(
        config.fetch_timeout_s, config.decode.max_image_bytes, config.fetch_concurrency
    )
    pipeline = (
        ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
        .map_batches(
            ReadPlan(
                output=config.output,
                store=config.store,
                chunk_rows=placement.batch_size,
                stretch_chunks=4,
            ),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=0.1,
        )
        .map_batches(
            FetchAndDecode,
            fn_constructor_args=(config.store, limits, config.decode, pixels_px),
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(min_size=1, max_size=placement.num_decoders),
            num_cpus=placement.cpus_per_decoder,
        )
        .map_batches(
            LookAtImages,
            fn_constructor_args=(look_options, pixels_px, committers),
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(min_size=1, max_size=placement.num_taggers),
            num_cpus=placement.cpus_per_tagger,
            num_gpus=placement.gpus_per_tagger or None,
        )
    )
    told, asked = 0, time.monotonic()
    store = step.open(config.store)
    try:
        for _ in pipeline.iter_internal_ref_bundles():
            run.keep_lease()
            if time.monotonic() - asked < ASK_S:
                continue
            done = len(committed_shards(store).intersection(shards))
            for _ in range(done - told):
                one_more()
            told, asked = max(told, done), time.monotonic()
    except RayError as error:
        reasons.append(cause(error))
        _log.warning("A pass over %d shards ended early: %s", len(shards), reasons[-1])
    finally:
        for committer in committers:
            try:
                drained: DrainReport = ray.get(committer.drain.remote())
                reasons.extend(drained.failures)
                ray.kill(committer)
            except RayError as error:
                reasons.append(f"a committer died ({cause(error)})")


def _configure(usual: Callable[[], None]) -> None:
    from ray.data import DataContext

    usual()
    context = DataContext.get_current()
    # Smaller than any row, so that every chunk is a block: the unit of retry and of scheduling.
    context.target_max_block_size = 1
    context.target_min_block_size = 1


def _as_tagging(run: EngineRun) -> TagConfig:
    """Return the resources of this run in the terms of tagging, which knows how to place them."""
    names = ("device", "precision", "batch_size", "num_taggers", "gpus_per_tagger", "num_decoders",
             "address", "source", "output")  # fmt: skip
    settings = {name: getattr(run.config, name) for name in names}
    if run.config.locate and run.config.locator == "windows":
        # The crops of one image fill a batch: what is padded costs as much as what is looked at.
        settings["batch_size"] = settings["batch_size"] or len(window_boxes(run.config.windows))
    return TagConfig(**settings)


def _options(run: EngineRun, placement: Placement, options: dict[str, Any]) -> LookOptions:
    config = run.config
    eyes = EyesOptions(
        models=config.models,
        device=placement.device,
        threads=placement.threads_per_tagger,
        precision=config.precision,
        batch_size=placement.batch_size,
        caption=config.caption,
    )
    return LookOptions(
        output=config.output,
        store=config.store,
        eyes=eyes,
        num_shards=run.plan.shards,
        floor=config.floor,
        **options,
    )


class LookAtImages:
    """Looks at CHUNK_PIXELS, hands the rows to the shard's committer, returns one summary row."""

    def __init__(self, options: LookOptions, pixels_px: int, committers: list[Any]) -> None:
        import ray

        self._ray = ray
        self._committers = committers
        self._pixels_px = pixels_px
        self._looker = Looker(options)

    def __call__(self, chunk: pa.Table) -> pa.Table:
        """Look at the one chunk unless its committer has it already."""
        from ray.exceptions import RayActorError

        row = {name: chunk[name][0].as_py() for name in chunk.column_names if name != "pixels"}
        committer = self._committers[row["shard"] % len(self._committers)]
        where = (row["shard"], row["chunk"])
        flat = np.frombuffer(chunk["pixels"][0].as_buffer(), np.uint8)
        images = flat.reshape(len(row["uri"]), self._pixels_px, self._pixels_px, 3)

        def at(position: int) -> None:
            self._ray.get(committer.at.remote(*where, position))

        try:
            begin: Begin = self._ray.get(committer.begin.remote(*where, row["num_chunks"]))
            if not begin.done:
                seen, quarantine = self._looker.look(row, images, begin, at)
                self._ray.get(committer.add.remote(*where, row["num_chunks"], seen, quarantine))
        except RayActorError:
            pass  # the committer died: its open shards are redone in the next round
        return pa.table({"shard": [row["shard"]], "chunk": [row["chunk"]]})


class Looker:
    """Scores images and finds the regions of their tags; knows nothing of Ray."""

    def __init__(self, options: LookOptions) -> None:
        plan = open_store(options.output, options.store)
        self._options = options
        self._vocabulary = read_run_vocabulary(plan)
        self._kinds = kind_codes(self._vocabulary.kinds)
        self._eyes = FoldedEyes(options.eyes, self._vocabulary)
        self._locators: dict[int, Locator] = {}
        self._named_of_shard = lru_cache(maxsize=4)(self._read_named)

    def look(
        self,
        row: dict[str, Any],
        images: np.ndarray,
        begin: Begin,
        at: Callable[[int], None],
    ) -> tuple[pa.Table, pa.Table]:
        """Return rows of what was seen, and QUARANTINE_ROWS of the images that could not be.

        Args:
            row: a CHUNK_PIXELS row without its pixels.
            images: uint8 [n, P, P, 3].
            begin: how its committer wants the chunk treated.
            at: told the position of an image before it is looked at alone.
        """
        options = self._options
        fold = fold_of_shard(row["shard"], options.num_shards, len(options.eyes.models))
        eyes = self._eyes.of_fold(fold)
        good = [i for i in range(len(images)) if not row["error_code"][i]]
        whole = np.stack([shrink(image, eyes.image_size_px) for image in images])
        scores: dict[int, np.ndarray] = {}
        captions: dict[int, str | None] = {}
        groups = [[i] for i in good] if begin.one_by_one else [good] if good else []
        while groups:
            group = groups.pop(0)
            if begin.one_by_one and group[0] in begin.condemned:
                _fail(row, group[0], "A model process died on it, repeatedly.")
                continue
            if begin.one_by_one:
                at(group[0])
            try:
                self._score(eyes, whole, group, scores, captions)
            except ModelOutputError as error:
                if len(group) > 1:
                    groups += [[position] for position in group]
                else:
                    _fail(row, group[0], str(error))
        seen: list[dict[str, Any]] = []
        for position in sorted(scores):
            if begin.one_by_one:
                at(position)
            found = self._of_image(row, position, eyes, images[position], scores[position])
            seen.append(found | {"model": fold, "caption": captions.get(position)})
        return pa.Table.from_pylist(seen, _seen_schema(options)), _quarantine(row)

    def _score(
        self,
        eyes: Eyes,
        whole: np.ndarray,
        positions: list[int],
        scores: dict[int, np.ndarray],
        captions: dict[int, str | None],
    ) -> None:
        found, _ = eyes.describe(whole[positions])
        if self._options.eyes.caption:
            captions |= dict(zip(positions, eyes.caption(whole[positions]), strict=True))
        scores |= dict(zip(positions, found, strict=True))

    def _of_image(
        self, row: dict[str, Any], position: int, eyes: Eyes, image: np.ndarray, scores: np.ndarray
    ) -> dict[str, Any]:
        options = self._options
        image_id = row["image_id"][position]
        named, foreign = self._named_of_shard(row["shard"]).get(image_id, ((), ()))
        # Rounded as they are stored: 0.05 as a float32 is above the float64.
        likely = np.flatnonzero(scores >= np.float32(options.floor)).tolist()
        known = [tag for tag in (*named, *foreign) if np.isfinite(scores[tag])]
        stored = sorted({*likely, *known})
        facts = {
            "image_id": image_id,
            "uri": row["uri"][position],
            "row": row["first_row"] + position,
            "width": row["width"][position],
            "height": row["height"][position],
            "tag_ids": stored,
            "scores": scores[stored],
        }
        if options.regions_url is not None:
            wanted = sorted({*likely, *named, *foreign})
            facts |= self._regions(eyes, image, wanted) | {"foreign": list(foreign)}
        return facts

    def _regions(self, eyes: Eyes, image: np.ndarray, wanted: list[int]) -> dict[str, Any]:
        before = eyes.num_passes
        if id(eyes) not in self._locators:
            made = self._options.make_locator(eyes, self._vocabulary)
            self._locators[id(eyes)] = made
        locator = self._locators[id(eyes)]
        try:
            regions, scores, vectors, problems = locate(eyes, locator, image, wanted)
        except ModelOutputError:
            problems = ["model_error"]
            empty = {"regions": [], "vectors": b"", "problems": problems}
            return empty | {"passes": eyes.num_passes - before}
        tag_ids = np.array([region.tag_id for region in regions], np.int64)
        rivals, rival_ids = strongest_rivals(np.nan_to_num(scores, nan=-1.0), tag_ids, self._kinds)
        places: dict[tuple[float, ...], int] = {}
        chosen: list[int] = []
        rows: list[dict[str, Any]] = []
        for at, region in enumerate(regions):
            if region.box not in places:
                places[region.box] = len(places)
                chosen.append(at)
            rows.append(
                _region_row(region)
                | {"score": scores[at, region.tag_id], "vector": places[region.box]}
                | {"rival": rivals[at], "rival_id": rival_ids[at]}
            )
        return {
            "regions": rows,
            "vectors": vectors[chosen].astype(np.float16).tobytes(),
            "problems": problems,
            "passes": eyes.num_passes - before,
        }

    def _read_named(self, shard: int) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        """Return per image the tags its captions name, and the tags of another image's caption."""
        store = open_store(self._options.parsed, self._options.store)
        named: dict[str, list[int]] = {}
        for row in read_table(store, "mentions", shard).select(["image_id", "tag_id"]).to_pylist():
            named.setdefault(row["image_id"], []).append(row["tag_id"])
        learn = shard in self._options.foreign_shards
        foreign = draw_foreign(named) if learn else {}
        return {
            image_id: (tuple(named.get(image_id, ())), foreign.get(image_id, ()))
            for image_id in named
        }


def draw_foreign(named: dict[str, list[int]]) -> dict[str, tuple[int, ...]]:
    """Return per image the tags of another image of the shard, but those it has itself.

    The other image follows from the names alone, so that a resumed run draws the same.
    """
    order = sorted(named, key=lambda image_id: (name_hash(f"foreign/{image_id}"), image_id))
    drawn: dict[str, tuple[int, ...]] = {}
    for image_id, other in zip(order, [*order[1:], *order[:1]], strict=True):
        own = set(named[image_id])
        drawn[image_id] = tuple(tag_id for tag_id in named[other] if tag_id not in own)
    return drawn


def _region_row(region: Region) -> dict[str, Any]:
    return {
        "tag_id": region.tag_id,
        "box": list(region.box),
        "locator_score": region.score,
    }


def _fail(row: dict[str, Any], position: int, message: str) -> None:
    row["error_code"][position] = ImageErrorCode.MODEL_ERROR.value
    row["message"][position] = message


def _seen_schema(options: LookOptions) -> pa.Schema:
    extra = [pa.field("uri", pa.string(), nullable=False), _ROW]
    if options.regions_url is not None:
        extra += list(REGIONS)[1:]
        extra += [pa.field("problems", pa.list_(pa.string())), pa.field("passes", pa.int32())]
    return pa.schema([*SCORES, *extra])


def _quarantine(row: dict[str, Any]) -> pa.Table:
    facts = ("image_id", "uri", "error_code", "message", "attempts", "size_bytes")
    rows = [
        {name: row[name][position] for name in facts} | {"row": row["first_row"] + position}
        for position in range(len(row["uri"]))
        if row["error_code"][position]
    ]
    return pa.Table.from_pylist(rows, QUARANTINE_ROWS)


class _SeenAssembly(ShardAssembly):
    """The chunks of one shard; their rows keep all columns."""

    def tables(self) -> tuple[pa.Table, pa.Table]:
        """Return (seen, quarantine) of the whole shard in plan order."""
        results = [state.result for state in self.chunks.values() if state.result is not None]
        seen, quarantine = (
            pa.concat_tables([part[side] for part in results]).sort_by("row").drop_columns("row")
            for side in (0, 1)
        )
        return seen, quarantine.cast(QUARANTINE)


class LookCommitter(Committer):
    """The committer of this pass: one shard's rows become the tables of up to two steps."""

    def __init__(self, options: LookOptions) -> None:
        super().__init__(options.output, options.store)
        self._options = options

    def _assembly(self, shard: int, num_chunks: int) -> ShardAssembly:
        return self._open.setdefault(shard, _SeenAssembly(num_chunks))

    def _write(self, shard: int, tags: pa.Table, quarantine: pa.Table) -> None:
        check_conservation(shard, read_plan_shard(self._store, shard), tags, quarantine)
        codes = Counter(quarantine["error_code"].to_pylist())
        options = self._options
        passes = 2 if options.eyes.caption else 1
        tables = {"scores": tags.select(SCORES.names).cast(SCORES), "quarantine": quarantine}
        counts: Counter[Any] = Counter(images=tags.num_rows, model_passes=passes * tags.num_rows)
        self._commit_step(options.scores_url, shard, tables, counts, codes)
        if options.regions_url is not None:
            tables = {"regions": tags.select(REGIONS.names).cast(REGIONS)}
            passed = sum(tags["passes"].to_pylist())
            counts = Counter(images=tags.num_rows, model_passes=passed)
            counts.update(f"region_{why}" for some in tags["problems"].to_pylist() for why in some)
            self._commit_step(options.regions_url, shard, tables, counts, codes)

    def _commit_step(
        self,
        url: str,
        shard: int,
        tables: dict[str, pa.Table],
        counts: Counter[Any],
        codes: Counter[str],
    ) -> None:
        store = open_store(url, self._options.store)
        tables = tables | {"counts": counts_table(counts)}
        commit_tables(store, shard, tables, tagged=counts["images"], quarantined_by_code=codes)
