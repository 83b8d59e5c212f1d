"""`ram-ray labels show`: vocabularies, captions and why, tags."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ram_ray.cli.app import app

RUN = CliRunner()


@pytest.fixture
def names(tmp_path: Path) -> str:
    path = tmp_path / "names.txt"
    path.write_text("dog\ncouch\nbrown\ncat\n", encoding="utf-8")
    return str(path)


def test_caption_is_shown_with_its_reasons(names: str) -> None:
    result = RUN.invoke(app, ["labels", "show", names, "--caption", "a brown dog, no cat, a sofa"])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert ["brown", "attribute", "surface", "brown", "[2:7]"] in lines
    assert ["couch", "object", "synonym", "sofa", "[23:27]"] in lines
    assert ["cat", "absent"] in lines


def test_vocabulary_is_counted(names: str) -> None:
    result = RUN.invoke(app, ["labels", "show", names])
    assert "4 tags (4 other), 0 aliases" in result.output


def test_unknown_tag_and_missing_output_are_one_sentence(names: str, tmp_path: Path) -> None:
    result = RUN.invoke(app, ["labels", "show", names, "--tag", "zebra"])
    assert result.exit_code == 2
    result = RUN.invoke(app, ["labels", "show", str(tmp_path)])
    assert result.exit_code == 5


def test_control_characters_of_a_caption_are_not_printed(names: str) -> None:
    result = RUN.invoke(app, ["labels", "show", names, "--caption", "a dog\x1b[2J"])
    assert "\x1b[2J" not in result.output


def test_parse_needs_a_vocabulary_that_can_be_read(tmp_path: Path) -> None:
    arguments = ["labels", "parse", str(tmp_path), str(tmp_path / "out")]
    assert RUN.invoke(app, [*arguments, "--vocabulary", "missing.txt"]).exit_code == 2
    assert not (tmp_path / "out").exists()
