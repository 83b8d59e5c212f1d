"""Whatever images are called, and in whatever forms their captions come: each keeps its own."""

import csv
import io
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ram_ray.config import StoreConfig
from ram_ray.data_engine.plan.image_plan import read_images, write_image_plan
from ram_ray.labels.captions.corpus import read_captions
from ram_ray.labels.captions.pieces import read_piece
from ram_ray.labels.parsing.plan import read_pieces, write_caption_plan
from ram_ray.labels.problems import Problem
from ram_ray.storage.stores import open_store
from ram_ray.training.data.labels import label_samples
from ram_ray.training.data.samples import index_samples
from tests.labels.captions.cases import JPEG, as_parquet, as_tar

pytestmark = pytest.mark.filterwarnings("ignore:.*function-scoped")

_LETTERS = st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
_STEMS = st.text(_LETTERS, min_size=1, max_size=12).filter(
    lambda stem: not stem.startswith("._") and stem.strip(".") and len(stem.encode()) < 200
)
NAMES = st.tuples(_STEMS, st.sampled_from([".jpg", ".JPEG", ".png", ".heic"])).map("".join)
"""Of files: any Unicode, dots, blanks, quotes and line ends included."""


def _jsonl(rows: list[tuple[str, str]]) -> dict[str, bytes]:
    lines = (json.dumps({"file_name": n, "caption": c}, ensure_ascii=False) for n, c in rows)
    return {"c.jsonl": "".join(f"{line}\n" for line in lines).encode()}


def _json(rows: list[tuple[str, str]]) -> dict[str, bytes]:
    images = [{"id": at, "file_name": name} for at, (name, _) in enumerate(rows)]
    notes = [{"image_id": at, "caption": text} for at, (_, text) in enumerate(rows)]
    return {"coco.json": json.dumps({"images": images, "annotations": notes}).encode()}


def _csv(rows: list[tuple[str, str]]) -> dict[str, bytes]:
    sink = io.StringIO()
    csv.writer(sink, quoting=csv.QUOTE_ALL).writerows([("image", "caption"), *rows])
    return {"c.csv": sink.getvalue().encode()}


def _parquet(rows: list[tuple[str, str]]) -> dict[str, bytes]:
    return {"c.parquet": as_parquet([{"image_id": n, "caption": c} for n, c in rows])}


FORMS: list[Callable[[list[tuple[str, str]]], dict[str, bytes]]] = [_jsonl, _json, _csv, _parquet]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_captions_stay_with_their_images_through_all_doors(data: st.DataObject) -> None:
    names = data.draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.casefold))
    rows = [(name, f"a dog {at}") for at, name in enumerate(names)]
    forms = [data.draw(st.sampled_from(range(len(FORMS)))) for _ in rows]
    captions: dict[str, bytes] = {}
    for at, form in enumerate(FORMS):
        if some := [row for row, chosen in zip(rows, forms, strict=True) if chosen == at]:
            captions |= form(some)
    _check(dict.fromkeys(names, JPEG), captions, {name: [text] for name, text in rows})


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(NAMES, min_size=1, max_size=4, unique_by=lambda name: name.rpartition(".")[0]))
def test_files_beside_and_members_of_tars_stay_with_their_images(names: list[str]) -> None:
    beside = {name: [f"a dog {at}"] for at, name in enumerate(names)}
    texts = {f"{n.rpartition('.')[0]}.txt": c[0].encode() for n, c in beside.items()}
    if {name.casefold() for name in texts} & {name.casefold() for name in names}:
        return
    _check(dict.fromkeys(names, JPEG) | texts, None, beside)
    members: list[tuple[str, bytes]] = []
    for at, name in enumerate(names):
        stem = name.replace(".", "_") if "." in name.rpartition(".")[0] else name
        members += [
            (stem, JPEG),
            (f"{stem.rpartition('.')[0] or stem}.txt", f"a cat {at}".encode()),
        ]
    if all(name.count(".") == 1 for name in names):
        expected = {f"s.tar/{name}": [f"a cat {at}"] for at, name in enumerate(names)}
        _check({"s.tar": as_tar(members)}, None, expected)


def _check(
    images: dict[str, bytes], captions: dict[str, bytes] | None, expected: dict[str, list[str]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, texts = Path(folder) / "in", Path(folder) / "captions"
        for place, files in ((source, images), (texts, captions or {})):
            place.mkdir()
            for name, content in files.items():
                (place / name).write_bytes(content)
        where = str(texts if captions is not None else source)
        assert _built(where) == expected
        assert _parsed(where, f"{folder}/parsed") == expected
        assert _planned(str(source), None if captions is None else where, folder) == expected
        places = index_samples(str(source), StoreConfig(), formats=("heic",))
        labelled = label_samples(places, None, labels=None, captions=where, store=StoreConfig())
        found = {row["image_id"]: row["captions"] for row in labelled.samples.to_pylist()}
        assert found == expected


def _built(captions: str) -> dict[str, list[str]]:
    problems: list[Problem] = []
    found: dict[str, list[str]] = defaultdict(list)
    for caption in read_captions(captions, problems.append):
        found[caption.image].append(caption.text)
    assert problems == []
    return found


def _parsed(captions: str, output: str) -> dict[str, list[str]]:
    """Return what the shards of `labels parse` read, before the words are parsed."""
    store = open_store(output, StoreConfig(), create=True)
    plan = write_caption_plan(
        store, captions, StoreConfig(), shard_bytes=1 << 20, on_planned=lambda shards: None
    )
    problems: list[Problem] = []
    found: dict[str, list[str]] = defaultdict(list)
    for shard in range(plan.shards):
        for piece in read_pieces(store, shard, StoreConfig()):
            for caption in read_piece(piece, StoreConfig(), problems.append):
                found[caption.image].append(caption.text)
    assert problems == []
    return found


def _planned(source: str, captions: str | None, folder: str) -> dict[str, list[str]]:
    store = open_store(f"{folder}/engine", StoreConfig(), create=True)
    plan = write_image_plan(
        store, source, captions, StoreConfig(),
        shard_rows=100, folds=1, on_planned=lambda rows: None, formats=("heic",),
    )  # fmt: skip
    assert (plan.problems, plan.orphans) == (0, 0)
    rows = [row for shard in range(plan.shards) for row in read_images(store, shard).to_pylist()]
    return {row["image_id"]: row["captions"] for row in rows}
