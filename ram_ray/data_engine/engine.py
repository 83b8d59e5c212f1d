"""The data engine: noisy captions in, clean labels out, each step one file.

    run(EngineConfig(source="photos", output="engine-out"))

Every step is a Ray Data job that commits shard by shard. A run that was killed goes on where its
commits end, and gives the same labels; a step whose settings have not changed is not done again.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ram_model.vocabulary import Vocabulary
from ram_ray import __version__
from ram_ray.cluster import ray_session
from ram_ray.config import require
from ram_ray.data_engine.cluster.step import cluster
from ram_ray.data_engine.config import STEPS, EngineConfig
from ram_ray.data_engine.filter.step import filter_labels
from ram_ray.data_engine.generate.step import generate
from ram_ray.data_engine.look.models import ModelIdentity, identify_models
from ram_ray.data_engine.look.step import look_at_images, open_detector
from ram_ray.data_engine.parse import parse
from ram_ray.data_engine.plan.image_plan import ImagePlan, write_image_plan
from ram_ray.data_engine.plan.vocabulary import VOCABULARY_KEY
from ram_ray.data_engine.report.data import run_facts
from ram_ray.data_engine.report.write import write_report
from ram_ray.data_engine.revisions.label_sets import Revision, finish_revision
from ram_ray.data_engine.steps import (
    EngineRun,
    OnProgress,
    Step,
    StepProgress,
    StepsDone,
    read_all_commits,
    sum_counts,
)
from ram_ray.errors import ConfigError
from ram_ray.images.extra_formats import decoder_versions
from ram_ray.runs.fields import ENGINE
from ram_ray.runs.opening import Planner, open_run, refuse_inside
from ram_ray.runs.record import Record
from ram_ray.storage.stores import Store
from ram_ray.workers.fetch_and_decode import check_decoders


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineResult:
    """What a finished run holds; counts are of the whole output, not of this call alone."""

    output: str
    revision: int | None
    """None: this call ended before the filter step (`only`)."""
    num_images: int
    num_unseen: int
    """Images that could not be decoded or judged; their tags come from captions alone."""
    num_problems: int
    """Caption lines and corrections that could not be used."""
    num_named: int
    """(image, tag) pairs that captions name."""
    num_added: int
    """Pairs that only the model gives, in the end."""
    num_removed: int
    """Pairs that captions name and the filter, or a person, removed."""
    num_labels: int
    """Pairs in the end."""
    report: str | None
    wall_s: float
    notes: tuple[str, ...]

    @property
    def error_rate(self) -> float:
        """Share of images that could not be looked at, 0..1."""
        return self.num_unseen / max(1, self.num_images)


def run(
    config: EngineConfig,
    *,
    from_step: str | None = None,
    only: str | None = None,
    on_progress: OnProgress | None = None,
) -> EngineResult:
    """Make clean labels for every image of `config.source`.

    Args:
        from_step: start at this step; those before it must be done with these settings.
        only: do this step alone.
        on_progress: told how far each step is.

    Raises:
        ConfigError: a setting is wrong, or the output holds other images; nothing was written.
        UnreachableError: source, output, model or cluster cannot be reached.
        LeaseHeldError: another driver works on this output.
        IncompleteRunError: some shards failed in every round; run again to resume.
    """
    started = time.monotonic()
    wanted = _wanted_steps(from_step, only)
    refuse_inside(config.output, {"source": config.source, "captions": config.captions})
    decoder_versions(config.decode.formats)  # refuse early what no decoder could read
    models, vocabulary = identify_models(config)
    if config.locate and config.locator != "windows":
        open_detector(config, vocabulary, "cpu")  # refuse early what no process could open
    with _open_run(config, vocabulary, wanted, on_progress) as engine:
        parsed = parse(engine)
        # One decode pass gives the scores that `generate` decides on, and `locate`'s regions.
        seen, located = look_at_images(engine, models, parsed)
        added = generate(engine, parsed, seen)
        judged = cluster(engine, parsed, added, located)
        steps = StepsDone(parsed, seen, added, located, judged)
        labels = filter_labels(engine, steps)
        revision = None
        if labels is not None:
            facts = run_facts(engine, models, steps, labels)
            revision = finish_revision(engine, labels, steps=steps.names(), facts=facts)
            write_report(engine.store, revision, config.store)
        return _result(engine, steps, labels, revision, models, started)


def _wanted_steps(from_step: str | None, only: str | None) -> frozenset[str]:
    for name, value in (("only", only), ("from_step", from_step)):
        require(value is None or value in STEPS, name, value, f"one of {', '.join(STEPS)}")
    require(only is None or from_step is None, "from_step", from_step, "left out with only")
    if only is not None:
        return frozenset({only})
    return frozenset(STEPS[STEPS.index(from_step or STEPS[0]) :])


@contextmanager
def _open_run(
    config: EngineConfig,
    vocabulary: Vocabulary,
    wanted: frozenset[str],
    on_progress: OnProgress | None,
) -> Iterator[EngineRun]:
    """Take the output: record, lease, plan, Ray."""
    tell = on_progress or (lambda progress: None)
    record, planner = _record(config, vocabulary), _planner(config, tell)
    with (
        open_run(config.output, config.store, record=record, planner=planner) as opened,
        ray_session(config.address),
    ):
        check_decoders(config.decode.formats)
        yield EngineRun(
            config=replace(config, output=opened.url),
            store=opened.store,
            plan=opened.plan,
            vocabulary_sha256=vocabulary.sha256,
            lease=opened.lease,
            on_progress=tell,
            wanted=wanted,
        )


def _record(config: EngineConfig, vocabulary: Vocabulary) -> Record:
    """Return which images and tags this call is about, for engine.json."""
    identity = {
        "source": config.source,
        "captions": config.captions,
        "shard_rows": config.shard_rows,
        "folds": len(config.models),
        "vocabulary_sha256": vocabulary.sha256,
        "columns": config.columns and list(config.columns),
        "formats": list(config.decode.formats),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / VOCABULARY_KEY
        vocabulary.to_parquet(path)
        files = {VOCABULARY_KEY: path.read_bytes()}
    return Record(fields=ENGINE, identity=identity, facts={"ram_ray": __version__}, files=files)


def _planner(config: EngineConfig, tell: OnProgress) -> Planner[ImagePlan]:
    def write(store: Store, on_planned: Callable[[int], None]) -> ImagePlan:
        return _write_plan(config, store, on_planned)

    def on_planned(rows: int) -> None:
        tell(StepProgress("plan", rows, 0))

    return Planner(kind=ImagePlan, write=write, on_planned=on_planned)


def _write_plan(config: EngineConfig, store: Store, on_planned: Callable[[int], None]) -> ImagePlan:
    plan = write_image_plan(
        store,
        config.source,
        config.captions,
        config.store,
        shard_rows=config.shard_rows,
        folds=len(config.models),
        on_planned=on_planned,
        columns=config.columns,
        formats=config.decode.formats,
    )
    if plan.shards == 0:
        raise ConfigError(f"There are no images in {config.source}.")
    if plan.captions == 0:
        where = config.captions or config.source
        raise ConfigError(f"There are no captions in {where}: give a file of them as captions.")
    return plan


def _result(
    engine: EngineRun,
    steps: StepsDone,
    labels: Step | None,
    revision: Revision | None,
    models: tuple[ModelIdentity, ...],
    started: float,
) -> EngineResult:
    config = engine.config
    parsed = sum_counts(steps.parsed, config.store)
    final = sum_counts(labels, config.store) if labels else Counter()
    unseen = 0
    if steps.seen is not None:
        unseen = sum(commit.quarantined for commit in read_all_commits(steps.seen, config.store))
    problems = engine.plan.problems + engine.plan.orphans
    problems += sum(value for name, value in final.items() if str(name).startswith("correction_"))

    def total(name: str) -> int:
        return sum(value for key, value in final.items() if key[0] == name)

    return EngineResult(
        output=engine.store.url,
        revision=revision.number if revision else None,
        num_images=engine.plan.images,
        num_unseen=unseen,
        num_problems=problems,
        num_named=parsed["tags"],
        num_added=total("gained"),
        num_removed=total("lost"),
        num_labels=final["present"],
        report=f"{engine.store.url.rstrip('/')}/report.html" if revision else None,
        wall_s=round(time.monotonic() - started, 3),
        notes=model_notes(models),
    )


def model_notes(models: tuple[ModelIdentity, ...]) -> tuple[str, ...]:
    """Return what a person must know about who judged whom."""
    notes = [
        f"{model.model_id} has random weights: its scores mean nothing."
        for model in models
        if model.is_random
    ]
    if len(models) == 1:
        notes.append(
            f"{models[0].model_id} judges every image. Scores are out of fold only if it has not "
            "trained on these images: otherwise it confirms what it has learnt, errors too."
        )
    return tuple(notes)
