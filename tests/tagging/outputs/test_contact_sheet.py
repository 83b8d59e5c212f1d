"""The page shows what the files of a run hold, escaped, and needs nothing but itself."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.runs.commits import commit_shard
from ram_ray.runs.plans import PLAN
from ram_ray.storage.stores import open_store
from ram_ray.tagging.outputs.contact_sheet import _card, write_contact_sheet
from ram_ray.tagging.outputs.run_output import read_run_output, spread
from ram_ray.tagging.tables import QUARANTINE, TAGS

EVIL = "<script>alert(1)</script>\"'&.jpg"


class Page(HTMLParser):
    """Elements of a page: (tag, attributes), and its text outside scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.elements = []
        self.text = ""
        self._open = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open):
            self.text += data

    def all(self, tag, name=None, value=None):
        found = (attributes for kind, attributes in self.elements if kind == tag)
        return [each for each in found if name is None or value in (each.get(name) or "").split()]


def commit(output, shard, tagged, quarantined):
    """Commit one shard; `tagged`: (image_id, uri, width, height, [(tag, score)])."""
    tags = [
        {
            "image_id": image_id, "uri": uri, "width": width, "height": height,
            "tags": [tag for tag, _ in scored], "tag_ids": list(range(len(scored))),
            "scores": [score for _, score in scored],
        }
        for image_id, uri, width, height, scored in tagged
    ]  # fmt: skip
    failed = [
        {"image_id": image_id, "uri": image_id, "error_code": code, "message": message,
         "attempts": 1, "size_bytes": 2048}
        for image_id, code, message in quarantined
    ]  # fmt: skip
    plan = [
        {"image_id": row["image_id"], "uri": row["uri"], "size_bytes": 1} for row in tags + failed
    ]
    store = open_store(str(output), StoreConfig(), create=True)
    tables = [
        pa.Table.from_pylist(rows, schema)
        for rows, schema in ((plan, PLAN), (tags, TAGS), (failed, QUARANTINE))
    ]
    commit_shard(store, shard, *tables)
    return store


@pytest.fixture
def output(tmp_path):
    wide = tmp_path / "wide.png"
    Image.new("RGB", (400, 100), (200, 30, 30)).save(wide)
    store = commit(
        tmp_path / "out", 0,
        [("wide.png", str(wide), 400, 100, [("cat", 0.9), ("<b>dog</b>", 0.5)]),
         (EVIL, str(tmp_path / "gone.jpg"), 10, 10, [("cat", 0.75)]),
         ("plain.png", str(wide), 400, 100, [])],
        [("half.jpg", "truncated", "The JPEG file ends <too> early.")],
    )  # fmt: skip
    store.write("run.json", json.dumps({"model_id": "mini & more", "source": "s3://b/"}).encode())
    return tmp_path / "out"


def test_page_shows_pictures_tags_scores_and_reasons(output):
    path = write_contact_sheet(str(output), StoreConfig(), notes=["Only <a> test."])
    assert path == f"{output}/report.html"
    page = Page((output / "report.html").read_text())
    cards = page.all("article", "class", "card")
    assert [card["data-name"] for card in cards] == ["wide.png", EVIL, "plain.png"]
    rows = [(row["data-tag"], float(row["data-score"])) for row in page.all("li") if row]
    assert rows == [("cat", 0.9), ("<b>dog</b>", 0.5), ("cat", 0.75)]
    chips = [chip["data-tag"] for chip in page.all("button") if "data-tag" in chip]
    assert chips == ["cat", "<b>dog</b>"]
    for text in ("mini & more", "s3://b/", "Only <a> test.", "truncated", "half.jpg", "2 kB",
                 "The JPEG file ends <too> early.", "4", "1 (25.0%)"):  # fmt: skip
        assert text in page.text
    assert page.all("input", "id", "threshold")[0]["min"] == "0.50"


def test_captions_stand_below_the_name_where_there_are_any():
    row = {"image_id": "a", "width": 1, "height": 1, "tags": [], "scores": []}
    assert '<p class="caption">a &lt;b&gt; dog</p>' in _card(row | {"caption": "a <b> dog"}, None)
    assert "caption" not in _card(row, None)


def test_pictures_keep_their_shape_and_lost_ones_are_said_to_be_lost(output):
    write_contact_sheet(str(output), StoreConfig())
    html = (output / "report.html").read_text()
    pictures = Page(html).all("img")
    assert [picture["alt"] for picture in pictures] == ["wide.png", "plain.png"]
    data = base64.b64decode(pictures[0]["src"].removeprefix("data:image/jpeg;base64,"))
    thumbnail = Image.open(io.BytesIO(data))
    assert thumbnail.size == (240, 60)
    assert np.abs(np.asarray(thumbnail).mean((0, 1)) - (200, 30, 30)).max() < 3
    assert html.count("cannot be shown any more") == 1


def test_nothing_in_the_page_runs_but_its_own_script(output):
    write_contact_sheet(str(output), StoreConfig())
    html = (output / "report.html").read_text()
    assert len(Page(html).all("script")) == 1
    assert "<b>dog" not in html
    assert "alert(1)</script>" not in html
    policy = next(
        m["content"] for m in Page(html).all("meta") if m.get("content", "")[:7] == "default"
    )
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", policy)
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", html)


def test_many_images_are_sampled_evenly_and_the_page_says_so(tmp_path):
    for shard in range(3):
        rows = [(f"{shard}-{n}", "gone", 1, 1, [(f"tag{n}", 0.5)]) for n in range(10)]
        commit(tmp_path / "out", shard, rows, [])
    write_contact_sheet(str(tmp_path / "out"), StoreConfig(), max_images=6)
    page = Page((tmp_path / "out" / "report.html").read_text())
    names = [card["data-name"] for card in page.all("article")]
    assert names == ["0-0", "0-5", "1-0", "1-5", "2-0", "2-5"]
    assert "Shows 6 of 30 pictures, evenly spread." in page.text
    assert "30 tagged pictures" in page.text


def test_a_large_run_is_counted_whole_but_read_in_part(tmp_path):
    for shard in range(12):
        tagged = [(f"{shard}", "gone", 1, 1, [("cat", 0.5)])]
        commit(tmp_path / "out", shard, tagged, [(f"bad{shard}", "empty", "Zero bytes.")])
    store = open_store(str(tmp_path / "out"), StoreConfig())
    found = read_run_output(store, max_images=100)
    assert (found.num_shards, found.num_tagged, found.num_quarantined) == (12, 12, 12)
    assert found.quarantined_by_code == {"empty": 12}
    assert (len(found.images), found.num_counted, found.tag_counts) == (8, 8, (("cat", 8),))
    assert len(found.quarantine) == 12


def test_a_folder_without_results_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="holds no results yet"):
        write_contact_sheet(str(tmp_path / "out"), StoreConfig())


def test_spread_takes_the_first_and_never_too_many():
    assert spread([1, 2, 3], at_most=5) == [1, 2, 3]
    assert spread(list(range(100)), at_most=4) == [0, 25, 50, 75]


def test_images_out_of_reach_keep_the_former_page(tmp_path):
    rows = [(f"{n}", f"s3://photos/{n}.jpg", 1, 1, [("cat", 0.5)]) for n in range(5)]
    commit(tmp_path / "out", 0, rows, [])
    (tmp_path / "out" / "report.html").write_text("former page")
    nowhere = StoreConfig(endpoint_url="http://127.0.0.1:9", anonymous=True)
    with pytest.raises(UnreachableError, match=r"Cannot read s3://photos/2\.jpg"):
        write_contact_sheet(str(tmp_path / "out"), nowhere)
    assert (tmp_path / "out" / "report.html").read_text() == "former page"
