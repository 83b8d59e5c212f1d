import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ram_ray.labels.builder.build import build_vocabulary
from ram_ray.labels.builder.config import BuildConfig, ListConfig
from tests.labels.builder.sources import write_captions, write_list


@pytest.fixture
def page(tmp_path: Path) -> str:
    config = BuildConfig(
        output=str(tmp_path / "out"),
        captions=(write_captions(tmp_path),),
        lists=(
            ListConfig(path=write_list(tmp_path, "<b>things", "fire truck", "sofa,couch", "a&b")),
            ListConfig(path=write_list(tmp_path, "words", "sofa", "zorb"), cover=False),
        ),
        min_frequency=3,
    )
    build_vocabulary(config)
    return (tmp_path / "out" / "review.html").read_text(encoding="utf-8")


def data_of(page: str) -> dict[str, list[dict[str, Any]]]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert match is not None
    return json.loads(match[1])


def test_the_page_shows_why_each_tag_is_what_it_is(page: str) -> None:
    data = data_of(page)
    tags = {tag["name"]: tag for tag in data["tags"]}
    assert ["firetruck", "spelling", "the same letters"] in tags["fire truck"]["aliases"]
    assert tags["dog"]["sources"] == ["captions"]
    dropped = {tag["name"]: tag["why"] for tag in data["dropped"]}
    assert dropped["zorb"] == "on one list that is not covered, and rare (0 captions)"


def test_coverage_names_what_is_missing(page: str) -> None:
    rows = re.findall(r"<summary><span>(.*?)</span>.*?<p>(.*?)</p>", page, re.DOTALL)
    assert rows == [
        ("&lt;b&gt;things", "Nothing is missing."),
        ("words", "Missing: zorb"),
    ]


def test_names_of_files_and_tags_cannot_become_markup(page: str) -> None:
    class Tags(HTMLParser):
        found: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.found.append(tag)

    parser = Tags()
    parser.feed(page)
    assert "b" in parser.found  # the percentages
    assert "<b>things" not in page
    assert parser.found.count("script") == 2
    assert "http://" not in page
    assert "https://" not in page
