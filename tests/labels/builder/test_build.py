from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ram_model.vocabulary import OFF, Vocabulary
from ram_ray.errors import ConfigError
from ram_ray.labels.builder.build import build_vocabulary
from ram_ray.labels.builder.config import BuildConfig, ListConfig
from tests.labels.builder.sources import CAPTIONS, write_captions, write_list


@pytest.fixture
def config(tmp_path: Path) -> BuildConfig:
    return BuildConfig(
        output=str(tmp_path / "out"),
        captions=(write_captions(tmp_path),),
        lists=(
            ListConfig(path=write_list(tmp_path, "things", "fire truck", "sofa,couch", "animal")),
            ListConfig(path=write_list(tmp_path, "looks", "gray", "red"), kind="attribute"),
        ),
        min_frequency=3,
    )


def read(config: BuildConfig) -> Vocabulary:
    return Vocabulary.from_parquet(Path(config.output) / "vocabulary.parquet")


def write_decisions(config: BuildConfig, *lines: str) -> None:
    Path(config.output).mkdir(exist_ok=True)
    (Path(config.output) / "decisions.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def kind_of(vocabulary: Vocabulary, name: str) -> str:
    return vocabulary.kinds[vocabulary.tag_ids_of([name])[0]]


def test_a_build_finds_merges_and_relates(config: BuildConfig) -> None:
    build_vocabulary(config)
    vocabulary = read(config)
    assert vocabulary.find("couch") == vocabulary.find("sofa") != []
    assert vocabulary.find("firetruck") == vocabulary.find("fire truck") != []
    assert vocabulary.find("grey") == vocabulary.find("gray") != []
    dog = vocabulary.tag_ids_of(["dog"])[0]
    assert [vocabulary.names[parent] for parent in vocabulary.parents[dog]] == ["animal"]
    kinds = {name: kind_of(vocabulary, name) for name in ("dog", "beach", "red", "run")}
    assert kinds == {"dog": "object", "beach": "scene", "red": "attribute", "run": "action"}


def test_every_tag_has_its_sources_and_frequency(config: BuildConfig) -> None:
    build_vocabulary(config)
    table = pq.read_table(Path(config.output) / "vocabulary.parquet")
    rows = {row["name"]: row for row in table.to_pylist()}
    assert rows["dog"]["sources"] == ["captions"]
    assert rows["dog"]["frequency"] == 15
    assert rows["fire truck"]["sources"] == ["captions", "things"]
    assert rows["fire truck"]["frequency"] == 6
    assert rows["animal"]["sources"] == ["things"]


def test_two_builds_are_the_same_bytes_whatever_the_order(
    config: BuildConfig, tmp_path: Path
) -> None:
    build_vocabulary(config)
    first = (Path(config.output) / "vocabulary.parquet").read_bytes()
    build_vocabulary(config)  # onto its own output
    other = replace(config, output=str(tmp_path / "other"), lists=config.lists[::-1])
    build_vocabulary(other)  # from nothing, lists in another order
    assert (Path(config.output) / "vocabulary.parquet").read_bytes() == first
    assert (tmp_path / "other" / "vocabulary.parquet").read_bytes() == first


def test_decisions_survive_a_rebuild_with_another_corpus(
    config: BuildConfig, tmp_path: Path
) -> None:
    write_decisions(
        config,
        "accept lighthouse as scene",
        "reject fence",
        "reject beach",
        "merge dog into animal",
        "keep couch apart from sofa",
    )
    build = build_vocabulary(config)
    before = read(config)
    assert build.unknown_names == [
        "line 1: no source has 'lighthouse as scene'",
        "line 2: no source has 'fence'",
    ]
    changed = [*CAPTIONS[2:], "A wooden fence on a hill", "A fence by the beach"]
    build_vocabulary(replace(config, captions=(write_captions(tmp_path, changed),)))
    after = read(config)
    for vocabulary in (before, after):
        assert kind_of(vocabulary, "lighthouse") == "scene"
        assert vocabulary.find("fence") == vocabulary.find("beach") == []
        assert vocabulary.find("dog") == vocabulary.find("animal") != []
        assert [] != vocabulary.find("couch") != vocabulary.find("sofa") != []
    assert after.names[: len(before)] == tuple(
        name if after.find(name) else f"{name} (retired)" for name in before.names
    )


def test_a_tag_that_goes_keeps_its_id_and_comes_back_to_it(config: BuildConfig) -> None:
    build_vocabulary(config)
    dog = read(config).tag_ids_of(["dog"])
    size = len(read(config))
    write_decisions(config, "reject dog", "accept lighthouse")
    build_vocabulary(config)
    without = read(config)
    assert without.names[dog[0]] == "dog (retired)"
    assert without.thresholds[dog[0]] == OFF
    assert without.find("lighthouse") == [size]
    write_decisions(config)
    build_vocabulary(config)
    assert read(config).find("dog") == dog
    assert read(config).thresholds[dog[0]] == pytest.approx(0.65)
    assert read(config).names[size] == "lighthouse (retired)"


def test_a_rebuild_keeps_thresholds_that_were_set(config: BuildConfig) -> None:
    build_vocabulary(config)
    old = read(config)
    thresholds = old.thresholds.copy()
    thresholds[2] = 0.31
    path = Path(config.output) / "vocabulary.parquet"
    Vocabulary(names=old.names, thresholds=thresholds, kinds=old.kinds).to_parquet(path)
    build_vocabulary(config)
    assert read(config).thresholds[2] == pytest.approx(0.31)


def test_a_renamed_tag_keeps_its_id(config: BuildConfig) -> None:
    write_decisions(config, "merge couch into sofa")
    build_vocabulary(config)
    sofa = read(config).find("sofa")
    assert read(config).names[sofa[0]] == "sofa"
    write_decisions(config, "merge sofa into couch")
    build_vocabulary(config)
    assert read(config).names[sofa[0]] == "couch"
    assert read(config).find("sofa") == sofa


def test_max_tags_keeps_the_best_and_what_was_accepted(config: BuildConfig) -> None:
    write_decisions(config, "accept lighthouse")
    build = build_vocabulary(replace(config, max_tags=4))
    assert [tag.name for tag in build.tags] == ["lighthouse", "red", "gray", "sofa"]


def test_bad_lines_are_reported_with_their_place_and_the_rest_is_used(tmp_path: Path) -> None:
    captions = tmp_path / "captions.txt"
    captions.write_bytes(b"A dog\nA caf\xe9\n\nA dog\n")
    path = tmp_path / "things.txt"
    path.write_bytes("dog\n\n\u72ac\ncat/dog\ndog\n".encode() + b"caf\xe9\n")
    build = build_vocabulary(
        BuildConfig(
            output=str(tmp_path / "out"),
            captions=(str(captions),),
            lists=(ListConfig(path=str(path)),),
        )
    )
    places = sorted(f"{Path(p.source).name}:{p.line}" for p in build.problems)
    expected = [f"things.txt:{line}" for line in (2, 3, 4, 5, 6)]
    assert places == ["captions.txt:2", "captions.txt:3", *expected]
    assert [tag.name for tag in build.tags] == ["dog"]
    assert build.tags[0].frequency == 2


def test_a_broken_decisions_file_stops_the_build_before_it_writes(config: BuildConfig) -> None:
    write_decisions(config, "accept dog", "reject dog")
    with pytest.raises(ConfigError, match="line 2 contradicts line 1"):
        build_vocabulary(config)
    assert not (Path(config.output) / "vocabulary.parquet").exists()


def test_a_slur_is_no_tag_unless_it_is_accepted(tmp_path: Path) -> None:
    lists = (ListConfig(path=write_list(tmp_path, "things", "dog", "redskin")),)
    config = BuildConfig(output=str(tmp_path / "out"), lists=lists)
    build = build_vocabulary(config)
    assert [tag.name for tag in build.tags] == ["dog"]
    assert [dropped.why for dropped in build.dropped] == [
        "offensive, WordNet says: accept it to keep it"
    ]
    write_decisions(config, "accept redskin")
    assert len(build_vocabulary(config).tags) == 2
