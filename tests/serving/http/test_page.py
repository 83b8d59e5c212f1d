"""The page's files: all there, nothing else, and under a strict policy."""

import json
import re

import pytest
from starlette.testclient import TestClient

from ram_ray.errors import ConfigError
from ram_ray.serving.app import create_app
from ram_ray.serving.config import AccessConfig, PageConfig, ServeConfig
from ram_ray.serving.http.page import STATIC
from ram_ray.serving.models.local_backend import LocalBackend


def client(config=None):
    config = config or ServeConfig()
    return TestClient(create_app(config, LocalBackend(config)), base_url="http://127.0.0.1:8000")


def test_every_file_that_the_page_names_is_served():
    browser = client()
    html = browser.get("/").text
    names = re.findall(r'(?:src|href)="(static/[^"]+)"', html)
    for module in STATIC.glob("*.js"):
        names += ["static/" + name for name in re.findall(r'from "\./([^"]+)"', module.read_text())]
    assert len(set(names)) >= 12
    for name in set(names):
        answer = browser.get(f"/{name}")
        kind = {"js": "javascript", "css": "css", "svg": "svg"}[name.rpartition(".")[2]]
        assert answer.status_code == 200, name
        assert kind in answer.headers["content-type"]


def test_examples_are_listed_with_credits_and_served():
    browser = client()
    listed = browser.get("/static/examples/examples.json").json()
    assert listed["open"] is False
    assert len(listed["pictures"]) == 5
    for picture in listed["pictures"]:
        assert picture["credit"]
        assert picture["licence"] in ("CC0", "public domain")  # anybody may ship them
        assert browser.get(f"/static/examples/{picture['name']}").content[8:12] == b"WEBP"


def test_policy_allows_this_server_only_and_nothing_inline():
    policy = client().get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    html = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", html)
    sources = "".join(path.read_text() for path in STATIC.iterdir() if path.is_file())
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", sources))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, never fetched
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|eval\(|document\.write", sources)


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd",
     "/static/examples/../../app.py", "/static/examples", "/static/"],
)  # fmt: skip
def test_nothing_but_the_pages_own_files_is_served(path):
    answer = client().get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "no_such_resource"


def test_an_unchanged_file_is_not_sent_again():
    browser = client()
    first = browser.get("/static/page.css")
    again = browser.get("/static/page.css", headers={"If-None-Match": first.headers["etag"]})
    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")


def test_page_needs_no_key_but_the_models_do(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("me:secret\n")
    browser = client(ServeConfig(access=AccessConfig(api_keys_file=str(keys))))
    assert browser.get("/").status_code == 200
    assert browser.get("/static/page.js").status_code == 200
    assert browser.get("/v1/models").status_code == 401


def test_operators_examples_take_the_place_of_ours(tmp_path):
    (tmp_path / "examples.json").write_text(json.dumps({"open": True, "pictures": []}))
    (tmp_path / "mine.jpg").write_bytes(b"jpeg")
    (tmp_path / "link.jpg").symlink_to("/etc/hostname")
    browser = client(ServeConfig(page=PageConfig(examples=str(tmp_path))))
    assert browser.get("/static/examples/examples.json").json()["open"] is True
    assert browser.get("/static/examples/mine.jpg").content == b"jpeg"
    assert browser.get("/static/examples/link.jpg").status_code == 404
    with pytest.raises(ConfigError, match=r"examples is .*, but must be a folder with"):
        PageConfig(examples="/nowhere")
