"""The stages without Ray: plan facts in, pixels and rows out, every image accounted for."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ram_model import ModelOutputError, Tags
from ram_ray.config import DecodeConfig, StoreConfig
from ram_ray.images.decoder import decode
from ram_ray.runs.committer import Begin
from ram_ray.storage.fetching import FetchLimits
from ram_ray.storage.sources import SourceObject
from ram_ray.storage.stores import open_store
from ram_ray.tagging.tag_images import TagImages
from ram_ray.tagging.tagged_rows import to_rows
from ram_ray.workers.chunks import CHUNK_PIXELS, STRETCH, ReadPlan, split_stretch, with_pixels
from ram_ray.workers.fetch_and_decode import FetchAndDecode
from ram_ray.workers.turns import Turns
from tests.conftest import photo_bytes
from tests.runs.plan_shards import write_plan_shard

SIZE = 32


def test_read_plan_yields_stretches_of_chunks(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), StoreConfig())
    objects = [SourceObject(f"{n}.jpg", f"/in/{n}.jpg", None, 7) for n in range(7)]
    write_plan_shard(store, 3, objects)
    read = ReadPlan(output=str(tmp_path), store=StoreConfig(), chunk_rows=2, stretch_chunks=2)
    first, second = read(pa.table({"shard": [3]}))
    assert (first["starts"].to_pylist(), first["first_chunk"].to_pylist()) == ([[0, 2, 4]], [0])
    chunks = [chunk for stretch in (first, second) for chunk in split_stretch(stretch)]
    assert [chunk["chunk"] for chunk in chunks] == [0, 1, 2, 3]
    assert chunks[2] == {
        "shard": 3,
        "chunk": 2,
        "num_chunks": 4,
        "first_row": 4,
        "image_id": ["4.jpg", "5.jpg"],
        "uri": ["/in/4.jpg", "/in/5.jpg"],
        "size_bytes": [7, 7],
        "etag": [None, None],
    }
    assert chunks[3]["image_id"] == ["6.jpg"]


def stretch_of(files: dict[str, bytes | None], starts: list[int], folder: Path) -> pa.Table:
    """Return a STRETCH of files written to `folder`; None is a file that has gone."""
    for name, data in files.items():
        if data is not None:
            (folder / name).write_bytes(data)
    row = {"shard": 0, "first_chunk": 0, "num_chunks": 2, "starts": starts, "image_id": list(files)}
    row["uri"] = [str(folder / name) for name in files]
    row["size_bytes"] = [len(data or b"") for data in files.values()]
    row["etag"] = [None] * len(files)
    return pa.Table.from_pylist([row], STRETCH)


def test_fetch_and_decode_keeps_every_image_in_its_place(tmp_path: Path) -> None:
    files = {"a.jpg": photo_bytes(1), "gone.jpg": None, "bad.jpg": b"text", "b.png": photo_bytes(2)}
    files["big.jpg"] = photo_bytes(3) + bytes(50_000)
    config = DecodeConfig(max_image_bytes=50_000)
    stage = FetchAndDecode(StoreConfig(), FetchLimits(20, 50_000, 4), config, SIZE)
    first, second = sorted(
        stage(stretch_of(files, [40, 43, 45], tmp_path)),
        key=lambda table: table["chunk"][0].as_py(),
    )
    stage.close()
    rows = [table.drop_columns("pixels").to_pylist()[0] for table in (first, second)]
    assert rows[0]["error_code"] == [None, "not_found", "not_an_image"]
    assert rows[1]["error_code"] == [None, "too_large"]
    assert (rows[0]["width"], rows[1]["width"]) == ([96, 0, 0], [96, 0])
    assert (rows[0]["attempts"], rows[1]["attempts"]) == ([1, 1, 1], [1, 0])
    assert (rows[1]["chunk"], rows[1]["first_row"], rows[1]["image_id"][0]) == (1, 43, "b.png")
    for table, seed in ((first, 1), (second, 2)):
        pixels = np.frombuffer(table["pixels"][0].as_buffer(), np.uint8)
        images = pixels.reshape(-1, SIZE, SIZE, 3)
        assert (images[0] == decode(photo_bytes(seed), SIZE, config).pixels).all()
        assert not images[1:].any()


def facts_of(row: dict[str, Any]) -> pa.Table:
    """Return a chunk's facts, without its pixels; nulls where nothing is said of an image."""
    schema = pa.schema(list(CHUNK_PIXELS)[:-1])
    lists = [one.name for one in schema if pa.types.is_list(one.type)]
    nulls = dict.fromkeys(lists, [None] * len(row["image_id"]))
    return pa.Table.from_pylist([nulls | row], schema)


def test_to_rows_splits_by_error_and_keeps_plan_rows() -> None:
    found = Tags(tag_ids=np.array([4], np.int32), scores=np.array([0.5], np.float32), names=["x"])
    row = {
        "first_row": 40,
        "image_id": ["a", "b"],
        "uri": ["/a", "/b"],
        "size_bytes": [5, 6],
        "width": [1, 0],
        "height": [2, 0],
        "error_code": [None, "empty"],
        "message": [None, "The file has zero bytes."],
        "attempts": [1, 2],
        "remarks": [["bad_checksum"], []],
        "changed_etag": ['"new"', None],
    }
    tags, quarantine = to_rows(facts_of(row), [found, None])
    assert tags.to_pylist() == [
        {"image_id": "a", "uri": "/a", "width": 1, "height": 2, "tags": ["x"], "tag_ids": [4]}
        | {"scores": [0.5], "changed_etag": '"new"', "remarks": ["bad_checksum"], "row": 40}
    ]
    assert quarantine.to_pylist() == [
        {"image_id": "b", "uri": "/b", "error_code": "empty", "attempts": 2, "size_bytes": 6}
        | {"message": "The file has zero bytes.", "row": 41}
    ]


def test_captions_are_a_column_of_their_own() -> None:
    found = Tags(np.array([4], np.int32), np.array([0.5], np.float32), ["x"], caption="a cat")
    row = {"first_row": 0, "image_id": ["a"], "uri": ["/a"], "width": [1], "height": [2]}
    row |= {"size_bytes": [5], "message": [None], "attempts": [1], "remarks": [[]]}
    tags, _ = to_rows(facts_of(row | {"error_code": [None]}), [found], captions=True)
    assert tags.column_names[-4:] == ["caption", "changed_etag", "remarks", "row"]
    assert tags["caption"].to_pylist() == ["a cat"]
    nothing, _ = to_rows(
        facts_of(row | {"error_code": ["empty"], "message": ["It is."]}), [None], captions=True
    )
    assert nothing.schema == tags.schema  # chunks of a shard must fit together


class _Remote:
    """An actor method that is called here and now."""

    def __init__(self, method: Any) -> None:
        self.remote = method


class _Committer:
    def __init__(self, begin: Begin) -> None:
        self.visited: list[int] = []
        self.added: list[tuple[pa.Table, pa.Table]] = []
        self.look = self.begin = _Remote(lambda *_: begin)
        self.at = _Remote(lambda shard, chunk, position: self.visited.append(position))
        self.add = _Remote(lambda shard, chunk, chunks, *tables: self.added.append(tables))


class _Ray:
    @staticmethod
    def get(value: object) -> object:
        return value


class _Model:
    """Gives tag 0 to every image; NaN, so an error, wherever a batch holds pixels of value 13."""

    image_size_px = SIZE
    writes_captions = False

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, images: np.ndarray) -> list[Tags]:
        self.calls += 1
        if (images == 13).any():
            raise ModelOutputError("The model's scores are not finite.")
        one = Tags(tag_ids=np.array([0], np.int32), scores=np.ones(1, np.float32), names=["x"])
        return [one] * len(images)


def stage_with(committer: _Committer, model: _Model) -> TagImages:
    stage: Any = TagImages.__new__(TagImages)
    stage._ray, stage._committers = _Ray, [committer]
    stage._tagger, stage._turns = model, Turns()
    return stage


def run(begin: Begin, *, sick: int | None = None) -> tuple[dict[str, Any], _Committer, _Model]:
    """Tag a chunk of four images through TagImages with a model and a committer of this test."""
    images = np.full((4, SIZE, SIZE, 3), 7, np.uint8)
    if sick is not None:
        images[sick] = 13
    names = ["a", "b", "c", "d"]
    row = {"shard": 0, "chunk": 0, "num_chunks": 1, "first_row": 0, "image_id": names}
    row |= {"uri": names, "size_bytes": [1] * 4, "width": [1] * 4, "height": [1] * 4}
    row |= {"error_code": [None] * 4, "message": [None] * 4, "attempts": [1] * 4}
    row |= {"remarks": [[]] * 4}
    nothing = {name: [None] * 4 for name in ("etag", "changed_etag")}
    table = with_pixels(row | nothing, images)
    committer, model = _Committer(begin), _Model()
    return stage_with(committer, model)(table).to_pylist()[0], committer, model


def test_a_chunk_is_tagged_in_one_call_and_added() -> None:
    summary, committer, model = run(Begin())
    assert (summary["tagged"], summary["quarantined"], model.calls) == (4, 0, 1)
    assert committer.added[0][0]["row"].to_pylist() == [0, 1, 2, 3]


def test_a_chunk_that_is_done_costs_nothing() -> None:
    summary, committer, model = run(Begin(done=True, num_tagged=3, num_quarantined=1))
    assert (summary["tagged"], summary["quarantined"]) == (3, 1)
    assert (model.calls, committer.added) == (0, [])


def test_a_deadly_chunk_runs_one_by_one_without_the_condemned() -> None:
    summary, committer, model = run(Begin(one_by_one=True, condemned=frozenset({2})))
    assert (summary["tagged"], summary["quarantined"], model.calls) == (3, 1, 3)
    assert committer.visited == [0, 1, 3]
    assert committer.added[0][1]["error_code"].to_pylist() == ["model_error"]


def test_scores_that_are_not_finite_cost_one_image_only() -> None:
    summary, committer, _ = run(Begin(), sick=1)
    assert (summary["tagged"], summary["quarantined"]) == (3, 1)
    (quarantined,) = committer.added[0][1].to_pylist()
    assert (quarantined["image_id"], quarantined["error_code"]) == ("b", "model_error")


def test_a_dead_committer_leaves_the_chunk_to_the_next_round() -> None:
    from ray.exceptions import ActorDiedError

    def die(*_: object) -> None:
        raise ActorDiedError

    committer = _Committer(Begin())
    committer.look = _Remote(die)
    row = {"shard": 0, "chunk": 0, "num_chunks": 1, "uri": ["a"], "pixels": b""}
    stage = stage_with(committer, _Model())
    summary = stage(pa.Table.from_pylist([row])).to_pylist()[0]
    assert (summary["tagged"], summary["quarantined"]) == (0, 0)
