"""What a run consists of, made once and kept in its folder: samples, vocabulary, first weights."""

import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa

from ram_model.files.caption_files import WORD_PIECES
from ram_model.files.checkpoint import VOCABULARY
from ram_model.vocabulary import Vocabulary
from ram_model.wordpiece import WordPieceTokenizer
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.runs.plans import to_parquet
from ram_ray.storage.parquet import read_parquet
from ram_ray.storage.sources import PassedOver
from ram_ray.storage.stores import Store
from ram_ray.training.checkpoints import Position, save_checkpoint, steps_saved
from ram_ray.training.config import TrainConfig
from ram_ray.training.contrastive import ClipStudent
from ram_ray.training.data.labels import LabelledSamples, label_samples
from ram_ray.training.data.order import EpochOrder, Plan
from ram_ray.training.data.samples import index_hash, index_samples
from ram_ray.training.remarks import left_behind, passed_over, without_positives
from ram_ray.training.students import Student, make_student

RECORD, SAMPLES = "run.json", "samples.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run folder's facts, as every worker sees them."""

    samples: pa.Table
    plan: Plan
    position: Position
    """At step 0; checkpoints must be of the same run."""
    num_unlabelled: int
    vocabulary: Vocabulary | None
    """None for a CLIP."""
    tokenizer: WordPieceTokenizer | None
    """Of the caption side; None where captions are not trained."""
    remarks: tuple[str, ...] = ()
    """What the user should hear first; known to the driver alone."""


def prepare_run(config: TrainConfig, store: Store) -> tuple[Run, Student | ClipStudent]:
    """Make the run folder, or check that it holds this run.

    Raises:
        ConfigError: the folder holds another run, or a setting does not fit the data.
        UnreachableError: data, labels or the folder cannot be read.
    """
    student = make_student(config)
    passed = PassedOver()
    places = index_samples(
        config.data,
        config.store,
        config.include,
        config.exclude,
        formats=config.decode.formats,
        on_passed=passed,
    )
    labelled = label_samples(
        places,
        student.vocabulary,
        labels=config.labels,
        captions=config.captions,
        store=config.store,
        caption_columns=config.columns,
    )
    samples = labelled.samples
    remarks = left_behind(config) + passed_over(passed) + labelled.remarks
    if config.tag_weight > 0:
        remarks += without_positives(labelled.samples, student.vocabulary)
    run = _run_of(config, labelled, student, remarks)
    record = {"position": asdict(run.position), "num_unlabelled": labelled.num_unlabelled}
    record |= {"num_samples": len(samples), "config": asdict(config)}
    if not _is_recorded(store, run):
        store.write(SAMPLES, to_parquet(samples))
        if student.vocabulary is not None:
            store.write(VOCABULARY, _vocabulary_bytes(student.vocabulary))
        if student.word_pieces is not None:
            store.write(WORD_PIECES, student.word_pieces)
        store.write(RECORD, json.dumps(record, indent=1).encode())
    if not steps_saved(store):
        tensors = {"model": student.state(), "optimizer": None, "average": None, "values": {}}
        save_checkpoint(store, tensors, run.position, config, keep=1)
    return run, student


def read_run(config: TrainConfig, store: Store) -> Run:
    """Return the run that `prepare_run` made, on a worker."""
    record = json.loads(store.read(RECORD))
    samples = read_parquet(store, SAMPLES)
    plan = _plan(config, samples)
    position = replace(Position(**record["position"]), steps_per_epoch=plan.steps_per_epoch)
    return Run(
        samples=samples,
        plan=plan,
        position=position,
        num_unlabelled=record["num_unlabelled"],
        vocabulary=None if config.kind == "clip" else _read_vocabulary(store),
        tokenizer=_tokenizer(store.read(WORD_PIECES)) if config.caption_weight > 0 else None,
    )


def _run_of(
    config: TrainConfig,
    labelled: LabelledSamples,
    student: Student | ClipStudent,
    remarks: tuple[str, ...],
) -> Run:
    samples = labelled.samples
    plan = _plan(config, samples)
    position = Position(
        step=0,
        epoch=0,
        steps_per_epoch=plan.steps_per_epoch,
        seed=config.seed,
        batch_size=config.batch_size,
        index_sha256=index_hash(samples),
        vocabulary_sha256="" if student.vocabulary is None else student.vocabulary.sha256,
        model_config=student.config_json,
    )
    return Run(
        samples=samples,
        plan=plan,
        position=position,
        num_unlabelled=labelled.num_unlabelled,
        remarks=remarks,
        vocabulary=student.vocabulary,
        tokenizer=None if student.word_pieces is None else _tokenizer(student.word_pieces),
    )


def _tokenizer(word_pieces: bytes) -> WordPieceTokenizer:
    return WordPieceTokenizer(word_pieces.decode("utf-8").removesuffix("\n").split("\n"))


def _vocabulary_bytes(vocabulary: Vocabulary) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / VOCABULARY
        vocabulary.to_parquet(path)
        return path.read_bytes()


def _read_vocabulary(store: Store) -> Vocabulary:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / VOCABULARY
        path.write_bytes(store.read(VOCABULARY))
        return Vocabulary.from_parquet(path)


def _plan(config: TrainConfig, samples: pa.Table) -> Plan:
    order = EpochOrder(len(samples), config.seed)
    return Plan(order, batch_size=config.batch_size, epochs=config.epochs)


def _is_recorded(store: Store, run: Run) -> bool:
    """Tell whether the folder holds this run; raise where it holds another one."""
    try:
        record = json.loads(store.read(RECORD))
        Position(**record["position"]).check_fits(run.position, f"The run in {store.url}")
    except FileNotFoundError:
        return False
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise UnreachableError(f"{RECORD} in {store.url} is damaged: {error}.") from error
    return True
