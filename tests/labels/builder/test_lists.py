import json
from pathlib import Path

import pytest

from ram_ray.errors import ConfigError
from ram_ray.labels.builder.lists import SourceList, read_list
from ram_ray.labels.lexicon import load_lexicon
from ram_ray.labels.problems import Problem


def read(path: Path, content: str, *, kind: str = "") -> tuple[SourceList, list[Problem]]:
    path.write_text(content, encoding="utf-8")
    problems: list[Problem] = []
    return read_list(path, load_lexicon(), problems.append, kind=kind), problems


def names(source: SourceList) -> list[list[str]]:
    return [[name.full for name in entry.names] for entry in source.entries]


def test_plain_lines_with_further_names(tmp_path: Path) -> None:
    source, problems = read(tmp_path / "tags.txt", "sofa, couch\ntv_monitor\r\n")
    assert names(source) == [["sofa", "couch"], ["tv monitor"]]
    assert (source.name, problems) == ("tags", [])


def test_lvis_with_synonyms_and_qualifiers(tmp_path: Path) -> None:
    rows = [{"name": "bat_(animal)", "synonyms": ["bat_(animal)"], "synset": "bat.n.01"},
            {"name": "bicycle", "synonyms": ["bicycle", "bike_(bicycle)"]}]  # fmt: skip
    source, _ = read(tmp_path / "lvis.json", json.dumps(rows), kind="object")
    assert names(source) == [["bat (animal)"], ["bicycle", "bike (bicycle)"]]
    assert {entry.kind for entry in source.entries} == {"object"}


def test_coco_with_supercategories(tmp_path: Path) -> None:
    content = json.dumps({"categories": [{"id": 1, "name": "cat", "supercategory": "animal"}]})
    source, _ = read(tmp_path / "coco.json", content)
    assert source.entries[0].parents == ("animal",)


def test_imagenet_with_and_without_names(tmp_path: Path) -> None:
    source, _ = read(tmp_path / "in.txt", "n02084071\tdog, domestic dog\nn02121620\n")
    assert names(source)[0] == ["dog", "domestic dog"]
    assert "cat" in names(source)[1]
    assert "dog" in load_lexicon().lemmas(source.entries[0].synset or 0)


def test_openimages_descriptions(tmp_path: Path) -> None:
    content = "LabelName,DisplayName\n/m/0bt9lr,Dog\n/m/01yrx,Cat\n"
    source, problems = read(tmp_path / "class-descriptions.csv", content)
    assert names(source) == [["Dog"], ["Cat"]]
    assert problems == []


def test_hico_gives_actions_and_objects_once(tmp_path: Path) -> None:
    lines = "person sit_on bicycle\nperson no_interaction bicycle\nperson sit_on bench\n"
    source, problems = read(tmp_path / "hico.txt", lines)
    found = [(entry.names[0].text, entry.kind) for entry in source.entries]
    assert found == [("sit on", "action"), ("bicycle", "object"), ("bench", "object")]
    assert problems == []


def test_csv_with_kinds_aliases_and_parents(tmp_path: Path) -> None:
    content = "name,aliases,kind,parents\nsofa,couch|settee,object,furniture\nred,,colour,\n,,,\n\n"
    source, problems = read(tmp_path / "api.csv", content)
    assert names(source) == [["sofa", "couch", "settee"], ["red"]]
    assert source.entries[0].parents == ("furniture",)
    assert [(problem.line, problem.message[:23]) for problem in problems] == [
        (3, "has the kind 'colour', "),
        (4, "is empty"),
        (5, "is empty"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "is empty"),
        ("\u72ac", "has no Latin letter"),
        ("\U0001f415", "has no Latin letter"),
        ("000012 6", "has no Latin letter"),
        ("read/write head", "with '/'"),
        ("x" * 100_000, "more than 60 characters"),
        ("a b c d e f g", "more than 60 characters or 6 words"),
        ("dog", "repeats line 1"),
    ],
)
def test_a_line_that_names_no_tag_is_reported(tmp_path: Path, line: str, message: str) -> None:
    source, problems = read(tmp_path / "tags.txt", f"dog\n{line}\ncat\n")
    assert names(source) == [["dog"], ["cat"]]
    assert [problem.line for problem in problems] == [2]
    assert message in problems[0].message


def test_a_file_without_any_tag_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"voc\.txt.*no tag .*voc\.txt:1: holds '000012 6'"):
        read(tmp_path / "voc.txt", "000012 6\n000017 14 12\n")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.txt.*cannot be read"):
        read_list(tmp_path / "nowhere.txt", load_lexicon(), lambda problem: None)
