from pathlib import Path

import pytest

from ram_ray.errors import ConfigError
from ram_ray.labels.builder.decisions import Decision, Named, read_decisions


def write(folder: Path, *lines: str) -> Path:
    path = folder / "decisions.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_every_verb_is_read_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "# people decide",
        "accept fire engine",
        "",
        "accept orange as attribute",
        "reject thing",
        "merge sofa into couch",
        "keep boat apart from ship as object",
    )
    assert read_decisions(path) == (
        Decision("accept", Named("fire engine", ""), None, 2),
        Decision("accept", Named("orange", "attribute"), None, 4),
        Decision("reject", Named("thing", ""), None, 5),
        Decision("merge", Named("sofa", ""), Named("couch", ""), 6),
        Decision("keep", Named("boat", ""), Named("ship", "object"), 7),
    )


def test_as_in_a_name_is_no_kind(tmp_path: Path) -> None:
    assert read_decisions(write(tmp_path, "accept dressed as santa"))[0].name.kind == ""


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["drop dog"], "line 1 .* begins with none of accept, reject, merge, keep"),
        (["# x", "merge dog in animal"], "line 2 .* needs 'into' between two names"),
        (["accept \U0001f415"], "line 1 .*no Latin letter"),
        (["accept dog", "reject Dog"], "line 2 contradicts line 1"),
        (["merge a into b", "merge a into c"], "line 2 contradicts line 1"),
        (["merge a into b", "keep b apart from a"], "line 2 contradicts line 1"),
        (["merge a into b", "reject b"], "line 2 rejects what line 1 merges into"),
        (["merge a into b", "merge b into c", "merge c into a"], "lines 1, 2, 3 merge in a circle"),
        (["merge a into A"], "line 1 names 'a' twice"),
        (["nonsense", "more nonsense"], "line 1 .*; line 2 "),
    ],
)
def test_what_cannot_hold_is_named_with_its_line(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_decisions(write(tmp_path, *lines))


def test_the_same_decision_twice_is_no_conflict(tmp_path: Path) -> None:
    lines = ["accept dog", "accept dog", "merge a into b", "merge a into b"]
    assert len(read_decisions(write(tmp_path, *lines))) == 4


def test_two_tags_of_one_name_may_have_two_fates(tmp_path: Path) -> None:
    lines = ["accept orange as attribute", "reject orange as object"]
    assert len(read_decisions(write(tmp_path, *lines))) == 2
