"""The review page in a real browser, from a file: what is clicked there decides the next build."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ram_ray.labels.builder.build import build_vocabulary
from ram_ray.labels.builder.config import BuildConfig, ListConfig
from tests.labels.builder.sources import write_captions, write_list


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if program is None:
        pytest.skip("NO CHROMIUM ON THIS MACHINE: THE PAGE IS NOT TESTED (set CHROMIUM)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        # as root, Chromium refuses to start inside its sandbox
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def config(tmp_path: Path) -> BuildConfig:
    return BuildConfig(
        output=str(tmp_path / "out"),
        captions=(write_captions(tmp_path),),
        lists=(
            ListConfig(path=write_list(tmp_path, "things", "fire truck", "sofa,couch", "zorb")),
        ),
        min_frequency=3,
    )


@pytest.fixture
def open_page(browser: Any, config: BuildConfig) -> Iterator[Callable[..., Any]]:
    """Open the page of a build; nothing may break on it, and nothing foreign be asked for."""
    problems: list[str] = []
    build_vocabulary(config)

    def visit(**options: Any) -> Any:
        page = browser.new_page(**options)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.on("requestfailed", lambda request: problems.append(request.url))
        page.goto((Path(config.output) / "review.html").as_uri())
        return page

    yield visit
    assert problems == []


def test_what_is_clicked_decides_the_next_build(
    open_page: Callable[..., Any], config: BuildConfig
) -> None:
    page = open_page()
    assert page.locator("#decisions").is_hidden()
    page.fill("#search", "zorb")
    assert page.locator("#rows li").count() == 1
    page.get_by_role("button", name="Reject").click()
    page.fill("#search", "")
    page.get_by_role("tab", name="Merged").click()
    merge = page.locator("#rows li").filter(has_text="sofa").filter(has_text="couch")
    merge.get_by_role("button", name="Keep apart").click()
    page.get_by_role("tab", name="Not kept").click()
    page.fill("#search", "jump")
    page.locator("#rows li").first.get_by_role("button", name="Accept").click()
    assert page.locator("#count").inner_text() == "3 decisions"
    lines = page.input_value("#lines")
    (Path(config.output) / "decisions.txt").write_text(lines, encoding="utf-8")
    build = build_vocabulary(config)
    names = {tag.name for tag in build.tags}
    assert build.unknown_names == []
    assert names >= {"sofa", "couch", "jump"}
    assert "zorb" not in names
    assert lines.splitlines() == [
        "reject zorb",
        "keep couch apart from sofa",
        "accept jump as action",
    ]


def test_decisions_outlast_a_reload_and_can_be_cleared(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.get_by_role("button", name="Reject").first.click()
    page.reload()
    assert page.locator("#count").inner_text() == "1 decision"
    page.get_by_role("button", name="Clear").click()
    assert page.locator("#decisions").is_hidden()


def test_kind_and_source_narrow_the_tags(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.select_option("#kind", "action")
    assert page.locator("#rows .kind").all_inner_texts() == ["action"]
    page.select_option("#kind", "")
    page.select_option("#source", "things")
    assert page.locator("#rows li").count() == 3
    page.fill("#search", "nothing like it")
    assert page.locator("#empty").is_visible()


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(open_page: Callable[..., Any], width: int) -> None:
    page = open_page(viewport={"width": width, "height": 700})
    page.locator("summary").first.click()
    page.get_by_role("button", name="Reject").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
