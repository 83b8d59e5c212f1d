"""The page in a real browser, against the real app and model, with real photos."""

import csv
import importlib.resources
import io
import itertools
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from ram_model import Tagger
from ram_model.files.checkpoint import save_folder
from ram_model.files.pretrained import open_model
from ram_model.vocabulary import Vocabulary
from ram_ray.config import DecodeConfig
from ram_ray.data_engine.revisions.corrections import read_corrections
from ram_ray.errors import ImageErrorCode
from ram_ray.images.decoder import Decoder
from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.config import AccessConfig, ServeConfig
from ram_ray.serving.http.page import EXAMPLES
from tests.serving.page_server import WithPlaces, serving

PHOTOS = {path.stem: path for path in sorted(EXAMPLES.glob("*.webp"))}
BROKEN = b"GIF89a but not really"
FLOOR = 0.1
KINDS = {"object": "Objects", "scene": "Scenes", "attribute": "Attributes", "action": "Actions",
         "other": "Other"}  # fmt: skip


@pytest.fixture(scope="module")
def browser():
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


@pytest.fixture(scope="module")
def address():
    with serving(ServeConfig()) as address:
        yield address


@pytest.fixture
def visit(browser):
    """Open the page at an address; afterwards, nothing foreign was asked for and nothing broke."""
    contexts, problems, requests = [], [], []

    def open_page(address, **options):
        options = {"locale": "en-US", "viewport": {"width": 1280, "height": 860}} | options
        context = browser.new_context(**options)
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.on("request", lambda request: requests.append((address, request.url)))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    # the browser itself reports every answer from 400 up
    assert [text for text in problems if "Failed to load resource" not in text] == []
    assert [url for own, url in requests if not url.startswith((own, "blob:"))] == []


@pytest.fixture(scope="module")
def expected():
    """Return {name: [(tag, score, threshold, kind)]} down to the floor, as the batch tags it."""
    tagger = Tagger.load("ram-mini", score_floor=FLOOR)
    rows = {}
    with Decoder(tagger.image_size_px, DecodeConfig()) as decoder:
        for name, path in PHOTOS.items():
            tags = tagger(decoder.decode(path.read_bytes()).pixels[None])[0]
            vocabulary = tagger.vocabulary
            rows[name] = [
                (tag, float(score), float(vocabulary.thresholds[i]), vocabulary.kinds[i])
                for tag, score, i in zip(tags.names, tags.scores, tags.tag_ids, strict=True)
            ]
    return rows


def choose(page, *files):
    """Choose pictures: names of PHOTOS, or (name, bytes)."""
    payload = []
    for file in files:
        if isinstance(file, tuple):
            payload.append({"name": file[0], "mimeType": "image/gif", "buffer": file[1]})
        else:
            path = PHOTOS[file]
            payload.append(
                {"name": path.name, "mimeType": "image/webp", "buffer": path.read_bytes()}
            )
    page.set_input_files("#files", payload)
    page.locator("#work").wait_for()


def open_filters(page):
    """Open the panel of filters, which is one line else."""
    if page.locator("#choices-panel[open]").count() == 0:
        page.locator("#choices-panel > summary").click()


def settle(page):
    """Wait until every picture has its answer, and the page has drawn it."""
    frame = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))"
    page.evaluate(frame)  # what was just clicked is drawn
    page.locator("#pictures[aria-busy=false]").wait_for(state="attached")
    page.evaluate(frame)


def given(page):
    """Return the tags that the open picture is given, kind by kind."""
    return names(page, ".side > .groups .name")


def names(page, selector):
    """Return names of tags, without the other language beside them."""
    return page.locator(selector).evaluate_all(
        "(names) => names.map((name) => name.firstChild.textContent)"
    )


def by_kind(rows):
    """Return the tags of rows (tag, score, threshold, kind) in the order of the page."""
    rows = list(rows)
    return [tag for kind in KINDS for tag, *_, own in rows if own == kind]


def count_questions(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "v1/tag" in request.url else 0)
    return asked


def slide(page, value):
    open_filters(page)
    page.locator("#threshold").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }",
        str(value),
    )
    settle(page)


def test_a_picture_gets_the_tags_that_the_batch_gives_it(visit, address, expected):
    page = visit(address)
    choose(page, "astronaut")
    settle(page)
    rows = expected["astronaut"]
    shown = [row for row in rows if row[1] > row[2]]
    assert given(page) == by_kind(shown)
    scores = page.locator(".side > .groups .score").all_text_contents()
    wanted = dict((tag, f"{score * 100:.0f}%") for tag, score, *_ in shown)
    assert dict(zip(given(page), scores, strict=True)) == wanted
    headings = page.locator(".side h3").all_text_contents()
    assert headings == [KINDS[kind] for kind in KINDS if any(row[3] == kind for row in shown)]
    widths = page.locator(".side > .groups .bar i").evaluate_all(
        "(bars) => bars.map((bar) => bar.offsetWidth / bar.parentElement.offsetWidth)"
    )
    assert widths == pytest.approx([float(score[:-1]) / 100 for score in scores], abs=0.02)


def test_threshold_answers_without_a_new_request(visit, address, expected):
    page = visit(address)
    asked = count_questions(page)
    choose(page, "camera")
    settle(page)
    assert len(asked) == 1
    for threshold in (0.3, 0.5, FLOOR):
        slide(page, threshold)
        wanted = by_kind(row for row in expected["camera"] if row[1] > threshold)
        assert given(page) == wanted
        assert len(wanted) > 0
    page.get_by_role("radio", name="Recommended").check(force=True)  # lies below its label
    settle(page)
    assert given(page) == by_kind(row for row in expected["camera"] if row[1] > row[2])
    assert len(asked) == 1


def test_kinds_filter_the_tags(visit, address, expected):
    page = visit(address)
    choose(page, "camera")
    settle(page)
    slide(page, 0.2)
    page.get_by_role("button", name="Scenes", exact=True).click()
    settle(page)
    wanted = [tag for tag, score, _, kind in expected["camera"] if score > 0.2 and kind == "scene"]
    assert wanted
    assert given(page) == wanted
    page.get_by_role("button", name="All", exact=True).click()
    settle(page)
    assert len(given(page)) > len(wanted)


def test_without_a_tag_the_best_guesses_are_shown_as_such(visit, address):
    plain = Image.new("RGB", (160, 120), (200, 180, 90))  # nothing to see on it
    file = io.BytesIO()
    plain.save(file, "GIF")
    page = visit(address)
    choose(page, ("plain.gif", file.getvalue()))
    settle(page)
    assert given(page) == []
    assert page.get_by_role("heading", name="No tag reaches its threshold.").is_visible()
    guesses = names(page, ".weaker .name")
    assert guesses == Tagger.load("ram-mini", score_floor=FLOOR).tag_image(plain).names[:8]


def test_words_new_to_the_model_are_looked_for(visit, address):
    page = visit(address)
    choose(page, "astronaut")
    settle(page)
    open_filters(page)
    page.fill("#words", "red, zebra crossing")
    page.get_by_role("button", name="Find").click()
    settle(page)
    assert page.locator("#words-hint.wrong").count() == 0
    found = names(page, ".side .name:visible")
    assert set(found) == {"red", "zebra crossing"}  # also where the score is low


def test_own_words_are_looked_for_and_unknown_ones_are_said_once(visit, closed_model):
    with serving(ServeConfig(models=(str(closed_model),))) as closed:
        look_for_own_words(visit(closed))


def look_for_own_words(page):
    choose(page, "astronaut", "coffee", "rocket")
    settle(page)
    open_filters(page)
    page.fill("#words", "red, people")
    page.get_by_role("button", name="Find").click()
    settle(page)
    page.locator(".card a").first.click()
    settle(page)
    found = names(page, ".side .name")
    assert set(found) == {"red", "people"}
    page.fill("#words", "zebra crossing")
    page.keyboard.press("Enter")
    page.locator("#words-hint.wrong").wait_for()
    assert "zebra crossing" in page.locator("#words-hint").text_content()
    assert page.locator("#words").get_attribute("aria-invalid") == "true"
    settle(page)
    assert names(page, ".side .name") == found  # what was there stays
    page.get_by_role("button", name="All tags again").click()
    settle(page)
    assert len(page.locator(".side .name").all_text_contents()) > 2


def test_typing_offers_words_of_the_vocabulary(visit, address):
    page = visit(address)
    choose(page, "coffee")
    settle(page)
    open_filters(page)
    page.locator("#words").press_sequentially("red, dog")
    page.locator("#words-known option").first.wait_for(state="attached")
    offered = page.locator("#words-known option").evaluate_all("(all) => all.map((o) => o.value)")
    assert offered[0] == "red, dog"


def test_broken_pictures_are_explained_and_stop_nobody(visit, address):
    page = visit(address)
    choose(page, "coffee", ("empty.jpg", b""), ("page.html.jpg", b"<html>503</html>"), "rocket")
    settle(page)
    failed = page.locator(".card .failed").all_text_contents()
    assert failed == ["The file is empty.", "This is not a picture."]
    assert page.locator(".card").count() == 4
    page.get_by_text("page.html.jpg").click()
    assert page.locator(".failure code").text_content() == "not_an_image"
    assert page.get_by_text("This browser cannot show page.html.jpg.").is_visible()


def test_many_pictures_filter_by_tag_and_by_name(visit, address, expected):
    page = visit(address)
    choose(page, *PHOTOS)
    settle(page)
    assert page.locator("#count").text_content() == "5 pictures"
    tag = "person"
    people = [n for n, rows in expected.items() if any(t == tag and s > h for t, s, h, _ in rows)]
    page.locator("#frequent button", has_text=tag).click()
    settle(page)
    shown = page.locator(".card:visible h3").all_text_contents()
    assert shown == [f"{name}.webp" for name in people]
    assert 0 < len(shown) < 5
    page.fill("#filter", "rock")
    settle(page)
    assert page.locator(".card:visible h3").all_text_contents() == ["rocket.webp"]
    page.fill("#filter", "no such thing")
    settle(page)
    assert page.get_by_text("No picture fits.").is_visible()


def test_keys_move_between_pictures_and_focus_returns(visit, address):
    page = visit(address)
    choose(page, "astronaut", "coffee", "rocket")
    settle(page)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "filter"
    page.keyboard.press("ArrowRight")  # inside a field it moves the cursor
    assert page.locator("#batch").is_visible()
    page.locator(".card a").nth(0).focus()
    page.keyboard.press("Enter")
    page.get_by_text("1 of 3").wait_for()
    page.keyboard.press("ArrowRight")
    page.get_by_text("2 of 3").wait_for()
    assert page.locator(".frame .file").text_content() == "coffee.webp"
    page.keyboard.press("Escape")
    page.locator("#batch").wait_for()
    settle(page)
    assert page.evaluate("document.activeElement.textContent") == "coffee.webp"


def test_downloads_hold_exactly_what_is_shown(visit, address, expected):
    page = visit(address)
    choose(page, "astronaut", ("=1+1.gif", BROKEN))
    settle(page)
    slide(page, 0.4)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download what is shown as JSON").click()
    found = json.loads(Path(saved.value.path()).read_text())
    wanted = [tag for tag, score, _, _ in expected["astronaut"] if score > 0.4]
    assert (found["model"], found["threshold"]) == ("ram-mini", 0.4)
    assert [tag["name"] for tag in found["pictures"][0]["tags"]] == wanted
    assert found["pictures"][1]["error_code"] in list(ImageErrorCode)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download what is shown as CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text("utf-8-sig"))))
    assert [row["tag"] for row in rows[:-1]] == wanted
    assert rows[-1]["picture"] == "'=1+1.gif"  # a spreadsheet must not run it
    assert rows[-1]["error_code"] == found["pictures"][1]["error_code"]


def test_copy_puts_the_tags_on_the_clipboard(visit, address, expected):
    page = visit(address, permissions=["clipboard-read", "clipboard-write"])
    choose(page, "camera")
    settle(page)
    slide(page, 0.5)
    page.get_by_role("button", name="Copy tags").click()
    page.get_by_text("Copied.").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()").split(", ")
    assert sorted(copied) == sorted(given(page))
    assert copied[0] == expected["camera"][0][0]  # the best one first


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_pictures_come_by_drop_and_by_paste(visit, address, way):
    page = visit(address)
    data = list(PHOTOS["coffee"].read_bytes())
    page.evaluate(
        """([way, data]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(data)], "cup.webp", { type: "image/webp" }));
          const event = way === "drop"
            ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true });
          document.body.dispatchEvent(event);
        }""",
        [way, data],
    )
    page.locator(".side h2").wait_for()
    assert page.locator(".frame .file").text_content() == "cup.webp"


def test_files_are_chosen_by_keyboard_alone(visit, address):
    page = visit(address)
    chosen = []
    page.on(
        "filechooser", lambda chooser: chosen.append(chooser)
    )  # long before: the browser is told in the background
    focused = "() => document.activeElement.textContent"
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "Choose pictures":
            break
    assert page.evaluate(focused) == "Choose pictures"
    page.keyboard.press("Enter")
    for _ in range(100):
        page.wait_for_timeout(100)
        if chosen:
            break
    chosen[0].set_files(PHOTOS["camera"])
    page.locator(".side h2").wait_for()
    assert page.locator(".frame .file").text_content() == "camera.webp"


def test_examples_are_one_click_away(visit, address):
    page = visit(address)
    page.get_by_role("button", name="Chelsea the cat").click()
    page.locator(".side h2").wait_for()
    assert "Stefan van der Walt, CC0" in page.locator("figcaption").text_content()


def test_a_busy_server_is_asked_again(visit, address):
    page = visit(address)
    answers = []

    def busy_once(route):
        if answers:
            route.continue_()
        else:
            answers.append(503)
            # as Serve's own proxy refuses, when even refusing is too much
            route.fulfill(status=503, headers={"Retry-After": "1"}, body="Too busy.")

    page.route("**/v1/tag", busy_once)
    choose(page, "astronaut")
    page.get_by_text("The server is busy; trying again in 1 s.").wait_for()
    page.locator(".side h2").wait_for()
    assert given(page)


def test_key_is_asked_for_and_used(visit, tmp_path):
    (tmp_path / "keys").write_text("me:open-sesame\n")
    access = AccessConfig(api_keys_file=str(tmp_path / "keys"))
    with serving(ServeConfig(access=access)) as address:
        page = visit(address)
        page.get_by_role("textbox", name="API key").fill("wrong")
        assert page.locator("#key-wrong").is_hidden()
        page.get_by_role("button", name="Use key").click()
        page.get_by_text("That is not a key of this server.").wait_for()
        page.get_by_role("textbox", name="API key").fill("open-sesame")
        page.get_by_role("button", name="Use key").click()
        choose(page, "astronaut")
        page.locator(".side h2").wait_for()
        assert given(page)
        assert page.evaluate("document.cookie + JSON.stringify(localStorage)").find("sesame") < 0


def test_caption_and_boxes_are_shown_where_a_model_has_them(visit, address):
    with serving(ServeConfig(), WithPlaces) as with_places:
        page = visit(with_places)
        choose(page, "astronaut")
        settle(page)
        assert (
            page.locator("blockquote").count() == 0
        )  # a caption takes longer than tags: on demand
        open_filters(page)
        captions = page.get_by_role("button", name="Describe in a sentence")
        captions.click()
        settle(page)
        assert page.locator("blockquote").text_content() == WithPlaces.caption
        drawn = page.locator("svg.boxes rect").bounding_box()
        picture = page.locator(".stage img").bounding_box()
        left, top, width, height = WithPlaces.box
        assert drawn["x"] == pytest.approx(picture["x"] + left * picture["width"], abs=4)
        assert drawn["y"] == pytest.approx(picture["y"] + top * picture["height"], abs=4)
        assert drawn["width"] == pytest.approx(width * picture["width"], abs=6)
        assert drawn["height"] == pytest.approx(height * picture["height"], abs=6)
        page.get_by_role("button", name="Boxes").click()
        settle(page)
        assert page.locator("svg.boxes rect").count() == 0
        page.locator(".tags li.placed").first.hover()  # pointing shows it all the same
        assert page.locator("svg.boxes rect").count() == 1
        captions.click()
        settle(page)
        assert page.locator("blockquote").count() == 0
        choose(page, "rocket")
        page.locator(".card").nth(1).wait_for()
        settle(page)
        assert WithPlaces.captions_asked == [False, True, False]
        captions.click()  # the one without has to be asked for
        settle(page)
        page.locator(".card a").nth(1).click()
        assert page.locator("blockquote").text_content() == WithPlaces.caption
    page = visit(address)
    choose(page, "coffee")
    settle(page)
    assert page.locator("svg.boxes rect").count() == 0
    assert page.get_by_role("button", name="Boxes").count() == 0
    open_filters(page)
    page.get_by_role("button", name="Describe in a sentence").click()
    settle(page)
    assert len(page.locator("blockquote").text_content().split()) > 3  # ram-mini's own


@pytest.fixture(scope="module")
def closed_model(tmp_path_factory):
    """Return ram-mini without its text encoder."""
    opened = open_model("ram-mini")
    folder = tmp_path_factory.mktemp("models") / "mini-closed"
    return save_folder(opened.model, opened.model.config, opened.vocabulary, folder)


@pytest.fixture(scope="module")
def english_model(tmp_path_factory):
    """Return ram-mini without Chinese names."""
    return mini_with_names(tmp_path_factory.mktemp("models") / "mini-en", {})


@pytest.fixture(scope="module")
def chinese_model(tmp_path_factory):
    """Return ram-mini with Chinese names for three of its tags."""
    names_zh = {"person": "人", "clothing": "服装", "dog": "狗"}
    return mini_with_names(tmp_path_factory.mktemp("models") / "mini-zh", names_zh)


def mini_with_names(folder, names_zh):
    opened = open_model("ram-mini")
    old = opened.vocabulary
    vocabulary = Vocabulary(
        names=old.names,
        thresholds=old.thresholds,
        names_zh=tuple(names_zh.get(name, "") for name in old.names),
        kinds=old.kinds,
        aliases=old.aliases,
        parents=old.parents,
    )
    return save_folder(opened.model, opened.model.config, vocabulary, folder)


def test_chinese_page_tags_and_the_choice_of_model(visit, english_model, chinese_model):
    with serving(ServeConfig(models=(str(english_model), str(chinese_model)))) as address:
        page = visit(address, locale="zh-CN")
        assert page.get_by_role("heading", name="看看图片里有什么").is_visible()
        choose(page, "astronaut")
        settle(page)
        assert given(page) == ["person", "clothing"]
        assert page.get_by_text("该模型没有中文标签").is_visible()
        page.locator("#model").select_option(index=1)
        settle(page)
        assert given(page) == ["人", "服装"]
        assert not page.locator("#no-chinese").is_visible()
        page.locator("#language").select_option("en")
        settle(page)
        assert given(page) == ["person", "clothing"]
        assert page.evaluate("document.documentElement.lang") == "en"


def test_both_languages_have_every_sentence(visit, address):
    page = visit(address)
    texts = page.evaluate("() => import('/static/text.js').then((module) => module.TEXTS)")
    holes = {key: set(re.findall(r"\{\w+\}", text)) for key, text in texts["en"].items()}
    assert {key: set(re.findall(r"\{\w+\}", text)) for key, text in texts["zh"].items()} == holes
    used = page.evaluate(
        "() => [...document.querySelectorAll('[data-text], [data-label]')]"
        ".flatMap((e) => [e.dataset.text, e.dataset.label]).filter(Boolean)"
    )
    assert set(used) <= set(holes)
    errors = page.evaluate("() => import('/static/errors.js').then((module) => module.ERRORS)")
    assert set(errors["en"]) == set(errors["zh"])
    assert {code.value for code in ImageErrorCode} <= set(errors["en"])
    own = {"server_unreachable", "page_error", "unexpected_answer"}
    codes = {code.value for code in (*ImageErrorCode, *RequestErrorCode)}
    assert set(errors["en"]) - codes == own


CONTRAST = """(theme) => {
  document.documentElement.dataset.theme = theme;
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const luminance = (name) => {
    const box = document.createElement("p");
    box.style.color = `var(--${name})`;
    document.body.append(box);
    probe.fillStyle = getComputedStyle(box).color;
    probe.fillRect(0, 0, 1, 1);
    box.remove();
    const [r, g, b] = [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pairs = [["text", "page"], ["text", "surface"], ["text", "tint"], ["text", "fill"],
    ["soft", "page"], ["soft", "surface"], ["soft", "tint"], ["soft", "fill"], ["soft", "mat"],
    ["accent", "page"], ["accent", "surface"], ["accent", "tint"], ["accent", "fill"],
    ["on-accent", "accent"], ["warn", "surface"], ["warn", "warn-tint"]];
  return pairs.map(([front, back]) => {
    const [a, b] = [luminance(front), luminance(back)];
    return [`${front} on ${back}`, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  });
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_in_both_themes(visit, address, theme):
    page = visit(address)
    ratios = dict(page.evaluate(CONTRAST, theme))
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}  # WCAG 2.2, AA


def test_every_control_has_a_name(visit, address):
    page = visit(address)
    choose(page, *PHOTOS)
    settle(page)
    page.locator(".card a").first.click()
    settle(page)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, a, summary")].filter((e) =>
          e.checkVisibility() && !(e.getAttribute("aria-label") || e.textContent.trim()
            || [...(e.labels ?? [])].some((label) => label.textContent.trim())))
          .map((e) => e.outerHTML)"""
    )
    assert nameless == []


@pytest.mark.parametrize("width", [320, 390])
def test_phone_never_scrolls_sideways(visit, address, width):
    phone = {"viewport": {"width": width, "height": 740}, "is_mobile": True, "has_touch": True}
    page = visit(address, **phone)
    wide = f"() => document.documentElement.scrollWidth > {width}"
    assert not page.evaluate(wide)
    choose(page, *PHOTOS)
    settle(page)
    assert not page.evaluate(wide)
    page.locator("#choices-panel > summary").tap()
    settle(page)
    assert not page.evaluate(wide)
    page.locator(".card a").first.tap()
    settle(page)
    assert not page.evaluate(wide)
    small = page.locator("button:visible").evaluate_all(
        "(all) => all.filter((b) => b.offsetHeight < 24 || b.offsetWidth < 24).length"
    )
    assert small == 0  # WCAG 2.2: targets of 24 px at least


def test_nothing_moves_for_those_who_ask_for_it(visit, address):
    page = visit(address, reduced_motion="reduce")
    page.route("**/v1/tag", lambda route: None)  # never answered
    choose(page, "coffee")
    page.locator(".skeleton i").first.wait_for()
    assert page.evaluate("() => document.getAnimations().length") == 0


def test_jobs_are_started_followed_and_cancelled(visit, address):
    page = visit(address)
    assert not page.locator("#nav").is_visible()  # this server takes no jobs
    job = {
        "id": "ram-ray-1", "status": "running", "message": "", "source": "s3://photos/2026/05",
        "output": "s3://tags/05", "model": "ram-mini", "submitted_by": "me",
        "submitted_at": "2026-11-25T12:00:00Z", "ended_at": None, "num_images": 40_000,
        "num_tagged": 10_000, "num_quarantined": 0,
    }  # fmt: skip
    listed = {"enabled": True, "sources": ["s3://photos/2026"], "outputs": ["s3://tags"]}
    jobs, sent = [], []

    def answer(route):
        request = route.request
        if request.url.endswith("/plan"):
            assert request.post_data_json == {"source": "s3://photos/2026/05"}
            counted = {"num_images": 40_000, "num_bytes": 6_400_000_000, "is_complete": True}
            route.fulfill(json=counted | {"price": 2.0, "currency": "USD"})
        elif request.method == "POST":
            sent.append((request.url.removeprefix(address), request.post_data_json))
            if request.url.endswith("/cancel"):
                jobs[0]["status"] = "stopped"
            else:
                jobs.insert(0, dict(job))
            route.fulfill(json=jobs[0])
        else:
            route.fulfill(json=listed | {"jobs": jobs})

    page.route("**/v1/jobs**", answer)
    page.reload()
    page.get_by_role("link", name="Jobs").click()
    page.get_by_text("No job yet.").wait_for()
    page.get_by_role("textbox", name="Pictures in").fill("05")
    page.get_by_role("textbox", name="Results to").fill("05/")
    page.get_by_role("textbox", name="Only these tags").fill("dog, red car")
    page.get_by_role("combobox", name="How sure").select_option("0.6")
    page.get_by_role("button", name="Count").click()
    page.get_by_text("40,000 images, 6.4 GB, about $2.00").wait_for()
    page.get_by_role("button", name="Start").click()
    page.get_by_text("10,000 of 40,000 images").wait_for()
    assert page.get_by_role("textbox", name="Results to").input_value().startswith("run-2")
    page.get_by_role("button", name="Cancel").click()
    page.locator(".badge", has_text="Cancelled").wait_for()
    body = {"source": "s3://photos/2026/05", "output": "s3://tags/05/", "model": "ram-mini",
            "tags": ["dog", "red car"], "threshold": 0.6}  # fmt: skip
    assert sent == [("v1/jobs", body), ("v1/jobs/ram-ray-1/cancel", None)]


def test_corrections_come_out_as_the_engine_takes_them(visit, address, tmp_path):
    page = visit(address)
    choose(page, "astronaut", "coffee")
    settle(page)
    assert page.locator("#download-corrections").is_hidden()
    page.locator(".card a").first.click()
    slide(page, 0.2)
    first, second = given(page)[:2]
    page.get_by_role("button", name=f"{first} is right", exact=True).click()
    settle(page)
    page.get_by_role("button", name=f"{second} is wrong", exact=True).focus()
    page.keyboard.press("Enter")
    settle(page)
    pressed = page.locator(".thumb[aria-pressed=true]")
    assert pressed.count() == 2
    assert page.evaluate("document.activeElement.ariaLabel") == f"{second} is wrong"
    with page.expect_download() as saved:
        page.get_by_role("button", name="Corrections (2)").click()
    saved.value.save_as(tmp_path / "corrections.csv")
    wanted = [["astronaut.webp", first, True], ["astronaut.webp", second, False]]
    assert read_corrections(str(tmp_path / "corrections.csv")) == wanted
    pressed.first.click()  # the same again takes it back
    settle(page)
    assert page.get_by_role("button", name="Corrections (1)").is_visible()


def test_pictures_are_ordered_selected_and_removed(visit, address, expected):
    page = visit(address)
    choose(page, *PHOTOS, ("a\u202egpj.exe.gif", BROKEN))
    settle(page)
    titles = page.locator(".card:visible h3")
    assert titles.locator("bdi").count() == 6  # a reversed name turns nothing around it
    page.locator("#sort").select_option("score")
    settle(page)

    def best(name):
        return max((score for _, score, own, _ in expected[name] if score > own), default=-1)

    order = sorted(PHOTOS, key=best, reverse=True)
    assert titles.all_text_contents()[:5] == [f"{name}.webp" for name in order]
    page.get_by_role("button", name="Failed 1").click()
    settle(page)
    assert titles.all_text_contents() == ["a\u202egpj.exe.gif"]
    page.get_by_role("button", name="Failed 1").click()
    page.locator("#sort").select_option("name")
    settle(page)
    assert titles.all_text_contents()[1:] == sorted(f"{name}.webp" for name in PHOTOS)
    page.get_by_role("checkbox", name="rocket.webp").check()
    page.get_by_role("checkbox", name="coffee.webp").check()
    settle(page)
    assert page.get_by_text("2 selected").is_visible()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download what is shown as JSON").click()
    found = json.loads(Path(saved.value.path()).read_text())
    assert [each["picture"] for each in found["pictures"]] == ["coffee.webp", "rocket.webp"]
    page.get_by_role("button", name="Remove them").click()
    settle(page)
    assert page.locator("#count").text_content() == "4 pictures"


def test_captions_stand_on_cards_and_start_over_takes_choices_back(visit):
    with serving(ServeConfig(), WithPlaces) as with_places:
        page = visit(with_places)
        choose(page, "astronaut", "coffee")
        settle(page)
        assert page.locator("#choices-panel").bounding_box()["height"] < 50  # one line
        open_filters(page)
        page.get_by_role("button", name="Describe in a sentence").click()
        settle(page)
        assert page.locator(".card .caption").all_text_contents() == [WithPlaces.caption] * 2
        assert "Describe in a sentence" in page.locator("#choices-now").text_content()
        page.get_by_role("button", name="Start over").click()
        choose(page, "coffee")
        settle(page)
        assert page.locator("blockquote").count() == 0
        assert page.locator("#choices-now").text_content() == "Recommended"


AXE = importlib.resources.files("axe_core_python") / "axe.min.js"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(visit, address, theme):
    # the test's own script is what the page's policy forbids
    page = visit(address, bypass_csp=True, color_scheme=theme)
    page.add_script_tag(content=AXE.read_text(encoding="utf-8"))

    def check(where):
        found = page.evaluate("() => axe.run().then((result) => result.violations)")
        told = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
        assert (where, told) == (where, [])

    check("start")
    choose(page, *PHOTOS, ("broken.gif", BROKEN))
    settle(page)
    open_filters(page)
    page.get_by_role("checkbox", name="rocket.webp").check()
    settle(page)
    check("many")
    page.locator(".card a").first.click()
    slide(page, 0.2)
    page.locator(".weaker summary").click()
    check("one")
    jobs = {"enabled": True, "sources": ["/photos"], "outputs": ["/tags"], "jobs": []}
    page.route("**/v1/jobs", lambda route: route.fulfill(json=jobs))
    page.evaluate("location.hash = '#jobs'")
    page.get_by_text("No job yet.").wait_for()
    check("jobs")


def test_headings_go_down_one_by_one(visit, address):
    page = visit(address)
    levels = (
        "() => [...document.querySelectorAll('h1, h2, h3, h4')].filter((e) => e.checkVisibility())"
        ".map((e) => Number(e.tagName[1]))"
    )

    def check():
        found = page.evaluate(levels)
        assert found[0] == 1
        assert all(b <= a + 1 for a, b in itertools.pairwise(found)), found

    check()
    choose(page, "astronaut", "coffee")
    settle(page)
    check()
    page.locator(".card a").first.click()
    settle(page)
    check()
