"""What decides whether a call is the run that an output holds, and what 0.1.0 wrote down."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from ram_ray.config import DecodeConfig, StoreConfig
from ram_ray.data_engine.cluster.clusters import ClusterConfig
from ram_ray.data_engine.config import EngineConfig
from ram_ray.data_engine.look.windows import WindowConfig
from ram_ray.errors import ConfigError
from ram_ray.runs import fields
from ram_ray.runs.fields import ENGINE, PARSE, TAG, RecordFields, written_out
from ram_ray.runs.record import (
    Record,
    agree_on_record,
    check_record,
    difference,
    fingerprint,
    stored_fields,
)
from ram_ray.storage.stores import Store, open_store
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.record import read_record

RECORDS = Path(__file__).parent / "records"
"""As ram-ray 0.1.0 wrote them, `/HOME` standing for the folder of the inputs."""
NOTES = RecordFields(
    key="notes.json",
    identity=("source", "pens", "decode"),
    facts=("created_at",),
    places=("source",),
    absent={"pens": 1, "decode.mode": "exact"},
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path), StoreConfig())


def notes(**identity: Any) -> Record:
    given = {"source": "/in", "pens": 1, "decode": {"limit": 3, "mode": "exact"}}
    return Record(fields=NOTES, identity=given | identity, facts={})


def written_by_0_1_0(kind: RecordFields, name: str, store: Store) -> Record:
    """Put a record of 0.1.0 into the store; return what the same call is today."""
    text = (RECORDS / name).read_text(encoding="utf-8").replace("/HOME", "/home/of/inputs")
    store.write(kind.key, text.encode())
    stored = stored_fields(store, kind)
    assert stored is not None
    return Record(fields=kind, identity={n: stored[n] for n in kind.identity}, facts={})


def test_a_field_that_is_missing_means_what_its_absence_meant(store: Store) -> None:
    store.write("notes.json", b'{"source": "/in", "decode": {"limit": 3}}')
    assert check_record(store, notes()) is not None
    for change, told in (
        ({"pens": 2}, "its pens is 1, this call's is 2"),
        ({"decode": {"limit": 3, "mode": "fast"}}, "its decode.mode is 'exact', this call's is"),
        ({"decode": {"limit": 4, "mode": "exact"}}, "its decode.limit is 3, this call's is 4"),
    ):
        with pytest.raises(ConfigError, match=told):
            check_record(store, notes(**change))


def test_a_field_of_a_later_version_is_refused(store: Store) -> None:
    store.write("notes.json", notes().to_json())
    later = json.loads(store.read("notes.json")) | {"glue": True}
    store.write("notes.json", json.dumps(later).encode())
    with pytest.raises(ConfigError, match="cannot be read by this version: it says glue"):
        check_record(store, notes())
    with pytest.raises(ConfigError, match=r"its decode.glue is not given, this call's is 1"):
        check_record(store, notes(decode={"limit": 3, "mode": "exact", "glue": 1}))


def test_a_record_is_sorted_json_and_its_files_lie_beside_it(store: Store) -> None:
    record = dataclasses.replace(notes(), files={"words.txt": b"dog"})
    agree_on_record(store, record)
    text = store.read("notes.json").decode()
    assert list(json.loads(text)) == sorted(json.loads(text))
    store.delete("words.txt")  # a driver that died between the two
    agree_on_record(store, record)
    assert store.read("words.txt") == b"dog"


def test_lists_and_tuples_are_the_same_in_json() -> None:
    assert (
        difference({"tags": ["a"]}, notes(pens=("a",)).wanted() | {"tags": ["a"]}, ["tags"]) is None
    )
    assert notes(pens=("a",)).wanted()["pens"] == ["a"]


@pytest.mark.parametrize(
    ("kind", "name"),
    [(TAG, "tag-run.json"), (PARSE, "parse-run.json"), (ENGINE, "engine-engine.json")],
)
def test_a_run_of_0_1_0_is_the_same_run_unless_its_source_was_relative(
    store: Store, kind: RecordFields, name: str
) -> None:
    same = written_by_0_1_0(kind, name, store)
    assert check_record(store, same) is not None
    other = dataclasses.replace(same, identity=dict(same.identity) | {"source": "/elsewhere"})
    with pytest.raises(ConfigError, match="its source is '/home/of/inputs/in'"):
        check_record(store, other)
    relative = json.loads(store.read(kind.key)) | {"source": "in"}
    store.write(kind.key, json.dumps(relative).encode())
    with pytest.raises(ConfigError, match=r"0\.1\.0 whose source is the relative path 'in'"):
        check_record(store, same)


def test_the_record_of_a_0_1_0_run_is_read(store: Store) -> None:
    written_by_0_1_0(TAG, "tag-run.json", store)
    record = read_record(store)
    assert record is not None
    assert (record.command, record.batch_size, record.versions["ram-ray"]) == ("tag", 4, "0.1.0")


def test_the_commands_do_not_take_each_other_s_outputs(store: Store) -> None:
    parsed = written_by_0_1_0(PARSE, "parse-run.json", store)
    with pytest.raises(ConfigError, match="its command is 'labels parse', this call's is 'tag'"):
        check_record(store, dataclasses.replace(notes(), fields=TAG, identity=TAG_CALL))
    tagged = written_by_0_1_0(TAG, "tag-run.json", store)
    assert tagged.identity["command"] == "tag"
    with pytest.raises(ConfigError, match="its command is 'tag', this call's is 'labels parse'"):
        check_record(store, parsed)


TAG_CALL = dict.fromkeys(TAG.identity) | {"command": "tag", "source": "/in"}


def test_steps_of_0_1_0_are_not_done_again() -> None:
    steps = json.loads((RECORDS / "engine-steps.json").read_text(encoding="utf-8"))
    assert len(steps) == 7
    for name, identity in steps.items():
        told = identity.pop("fingerprint", None)
        found = fingerprint(identity)
        assert found == told or name == f"{identity['step']}-{found[:12]}"
        assert "ram_ray." not in json.dumps(identity), "no stored identity holds a module path"


def test_configs_are_written_out_as_0_1_0_did() -> None:
    """Frozen: where one of these texts changes, steps of 0.1.0 would be done again."""
    engine = EngineConfig(source="in", output="out")
    assert written_out("FilterConfig", engine.filter_config) == (
        "FilterConfig(rules=('improbable', 'region_contradiction', 'cluster_outlier', "
        "'caption_mismatch'), min_precision=0.5, max_over_removal=0.07, policy={'object': 'judge', "
        "'scene': 'judge', 'attribute': 'judge', 'action': 'judge', 'other': 'judge'}, penalty=1.0)"
    )
    assert written_out("WindowConfig", WindowConfig(scales=(0.9,), overlap=0.0)) == (
        "WindowConfig(scales=(0.9,), overlap=0.0, min_score=0.05, regions_per_tag=1)"
    )
    assert written_out("ClusterConfig", ClusterConfig()) == (
        "ClusterConfig(num_clusters=3, min_regions=30, sample_per_tag=2000, cut='adaptive', "
        "outlier_z=3.0, outlier_share=0.1, iterations=25, seed=0)"
    )
    assert written_out("DecodeConfig", DecodeConfig()) == (
        "DecodeConfig(orientation='ignore', max_image_bytes=268435456, "
        "max_image_pixels=100000000, decode_timeout_s=30.0, decode_memory_bytes=1610612736)"
    )


def test_a_later_field_of_a_config_is_written_out_only_where_it_is_used() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Later(DecodeConfig):
        mode: str = "exact"

    assert written_out("DecodeConfig", Later()) == written_out("DecodeConfig", DecodeConfig())
    assert written_out("DecodeConfig", Later(mode="fast")).endswith("1610612736, mode='fast')")


def test_a_later_setting_of_a_step_counts_only_where_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = {"step": "look", "settings": {"floor": 0.05}, "inputs": [], "ram_ray": "0.1.0"}
    text = json.dumps(step, sort_keys=True)
    assert fingerprint(step) == hashlib.sha256(text.encode()).hexdigest()
    monkeypatch.setattr("ram_ray.runs.record.LATER_SETTINGS", {"mode": "exact"})
    exact = step | {"settings": {"floor": 0.05, "mode": "exact"}}
    fast = step | {"settings": {"floor": 0.05, "mode": "fast"}}
    assert fingerprint(exact) == fingerprint(step) != fingerprint(fast)


def test_every_setting_of_tagging_is_registered() -> None:
    """A new field of TagConfig decides rows, or it does not; say which, in runs/fields.py."""
    known = {*TAG.identity, *TAG.facts, "threshold", "threshold_file", "caption_tags",
             "caption_beams"}  # fmt: skip
    resources = {"output", "store", "fetch_timeout_s", "fetch_concurrency", "device", "num_taggers",
                 "gpus_per_tagger", "num_decoders", "address", "max_error_rate",
                 "max_rounds"}  # fmt: skip
    assert {one.name for one in dataclasses.fields(TagConfig)} <= known | resources
    assert not re.findall(r"ram_ray\.", repr(vars(fields)["TAG"]))
