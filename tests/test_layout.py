"""The layout shows itself: a small hall, rooms of a readable size, names that tell files apart."""

import ast
import re
from itertools import combinations
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(
    file.parent
    for source in (ROOT / "ram_ray", ROOT / "model" / "ram_model")
    for file in source.rglob("__init__.py")
)
SHOWN = [str(package.relative_to(ROOT)) for package in PACKAGES]
MOST_FILES_IN_THE_HALL = 8
MOST_FILES_IN_A_ROOM = 21  # __init__.py aside
EMPTY_NAMES = {"base", "common", "helpers", "manager", "misc", "utilities", "utils"}
ENDINGS = ("er", "or", "ers", "ors", "ing", "ings", "ion", "ions", "ation", "e", "es", "s", "ed")
# Two names that share a stem and still say different things, each with the reason.
TOLD_APART = {
    ("ram_ray/labels", frozenset({"parser", "parsing"})),  # the language, and the run over it
    ("ram_ray/runs", frozenset({"commits", "committer"})),  # what is stored; who gathers for it
    ("ram_ray/serving/http", frozenset({"tag", "tagging"})),  # the route; what all routes call
}


def entries(package: Path) -> set[str]:
    """Return the names of a package's modules and packages."""
    modules = {file.stem for file in package.glob("*.py")} - {"__init__", "__main__"}
    return modules | {folder.parent.name for folder in package.glob("*/__init__.py")}


def test_the_hall_is_small() -> None:
    assert len(list((ROOT / "ram_ray").glob("*.py"))) <= MOST_FILES_IN_THE_HALL


@pytest.mark.parametrize("package", PACKAGES, ids=SHOWN)
def test_a_room_has_a_readable_number_of_files(package: Path) -> None:
    assert len(list(package.glob("[!_]*.py"))) <= MOST_FILES_IN_A_ROOM


@pytest.mark.parametrize("package", PACKAGES, ids=SHOWN)
def test_no_two_siblings_differ_in_their_ending_only(package: Path) -> None:
    here = str(package.relative_to(ROOT))
    names = sorted(entries(package))
    assert package.name not in names
    alike = [pair for pair in combinations(names, 2) if _stems(pair[0]) & _stems(pair[1])]
    assert [pair for pair in alike if (here, frozenset(pair)) not in TOLD_APART] == []


@pytest.mark.parametrize("package", PACKAGES, ids=SHOWN)
def test_names_say_something(package: Path) -> None:
    assert entries(package) & EMPTY_NAMES == set()


@pytest.mark.parametrize("package", PACKAGES, ids=SHOWN)
def test_a_package_names_its_modules_in_one_line_each(package: Path) -> None:
    """In the order of the flow: a new file gets its line where a reader comes past it."""
    text = (package / "__init__.py").read_text(encoding="utf-8")
    doc = ast.get_docstring(ast.parse(text), clean=False) or ""
    named = re.findall(r"^ *(\w+) {2,}\S", doc, re.MULTILINE)
    assert sorted(named) == sorted(entries(package))


def _stems(name: str) -> set[str]:
    """Return what a name may be an ending of, itself included; short stems say nothing."""
    cut = {name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending)}
    doubled = {stem[:-1] for stem in cut if len(stem) > 3 and stem[-1] == stem[-2]}
    return {stem for stem in {name} | cut | doubled if len(stem) >= 3}
