import json
from pathlib import Path

import pytest

from ram_model.errors import LabelError
from ram_model.words import prompts
from ram_model.words.prompts import (
    describe_templates,
    extract_templates,
    open_clip_templates,
    read_descriptions,
    read_templates,
    templates_sha256,
    write_prompts,
)


@pytest.mark.parametrize(
    ("word", "template", "prompt"),
    [
        ("red fox", "There is {article} {} here.", "There is a red fox here."),
        ("ibex", "There is {article} {} here.", "There is an ibex here."),
        ("Ibex", "There is {article} {} here.", "There is a ibex here."),  # as written: a capital
        ("fire_truck", "my {}.", "my fire truck."),
        ("cup/mug", "my {}.", "my cup or mug."),
        ("Dr. Who..", "my {}.", "my dr. who."),
        ("red fox", "a photo of {article} {}.", "This is a photo of a red fox."),
        ("red fox", "the {}.", "This is the red fox."),
        ("red fox", "an old {}.", "This is an old red fox."),
        ("apple", "{}.", "This is apple."),  # letters, not words, decide
        ("fox", "{}.", "fox."),
        ("{article} {}", "my {}.", "my {article} {}."),  # a word is never a template
    ],
)
def test_prompt_rules(word: str, template: str, prompt: str) -> None:
    assert write_prompts(word, [template]) == [prompt]


def test_one_prompt_per_template() -> None:
    assert len(write_prompts("fox", open_clip_templates())) == 80


def test_templates_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "templates.txt"
    path.write_text("a {}.\n\nmy {article} {}\n", encoding="utf-8")
    assert read_templates(path) == ("a {}.", "my {article} {}")
    # sha256 of "a {}.\nmy {article} {}"
    assert templates_sha256(read_templates(path)).startswith("99f2")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a photo\n", "'a photo' has no {}"), (b"\n", "holds no template"), (b"\xff", "cannot be")],
)
def test_bad_templates_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "templates.txt"
    path.write_bytes(content)
    with pytest.raises(LabelError, match=message):
        read_templates(path)


def test_published_descriptions_may_be_ragged(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text(json.dumps([{"fox": ["A red fox.", "It hunts."]}, {"Ale": ["Beer."]}]))
    assert read_descriptions(path) == {"fox": ("A red fox.", "It hunts."), "Ale": ("Beer.",)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ('{"fox": ["x"]}', "must hold a list"),
        ('[{"fox": ["x"], "cat": ["y"]}]', "entry 0 is not an object with one tag"),
        ('[{"fox": "x"}]', "'fox' has no list of sentences"),
        ('[{"fox": []}]', "'fox' has no list of sentences"),
        ('[{"fox": ["x", " "]}]', "'fox' has an entry that is not a sentence"),
        ('[{"fox": ["x"]}, {"fox": ["y"]}]', "describes 'fox' twice"),
    ],
)
def test_bad_descriptions_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "d.json"
    path.write_text(content)
    with pytest.raises(LabelError, match=message):
        read_descriptions(path)
    with pytest.raises(LabelError, match=r"absent\.json"):
        read_descriptions(tmp_path / "absent.json")


def test_templates_are_taken_from_code_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a {}.", "my {article} {}"]
    code = (
        f"open({str(tmp_path / 'ran')!r}, 'w')\nothers = ['x', 1]\nx = 2\ntexts = {texts!r}  # c\n"
    )
    with pytest.raises(LabelError, match="does not hold the 63 templates"):
        extract_templates(code)
    monkeypatch.setattr(prompts, "REFERENCE_TEMPLATES_SHA256", templates_sha256(texts))
    assert extract_templates(code) == tuple(texts)
    assert describe_templates(texts, "x.txt") == "the reference's 2 templates"
    assert describe_templates(texts[:1], "x.txt") == "1 templates of x.txt"
    with pytest.raises(LabelError, match="not in Python"):
        extract_templates("<html>")
    assert not (tmp_path / "ran").exists()
