"""hf://datasets/ORG/NAME[@REVISION][/PATH]: the files of a dataset's repository.

A slash in a revision is written %2F, as in @refs%2Fconvert%2Fparquet.

Listing resolves the revision to a commit, which every URI then names: what is read later is what
was listed. The server is HF_ENDPOINT, else huggingface.co; HF_TOKEN opens what is not public.
"""

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import requests

from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.storage.again import UnsettledError, until_answered
from ram_ray.storage.reasons import describe

_URL = re.compile(
    r"hf://datasets/(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?(?:/(?P<path>.*))?", re.DOTALL
)
_TIMEOUT_S = (10, 30)
_PASSING = (408, 425, 429)
Entry = tuple[str, str, str | None, int]
"""Path in the repository, URI with the commit, etag, size in bytes."""


def endpoint() -> str:
    """Return the hub's address, without a slash at its end."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def authorization() -> dict[str, str]:
    """Return the header of requests to the hub itself; {}: without a token."""
    token = os.environ.get("HF_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def file_url(uri: str) -> str:
    """Return where the hub serves a file.

    Raises:
        ConfigError: it is no hf:// URL of a dataset.
    """
    repo, revision, path = _split(uri)
    return f"{endpoint()}/datasets/{repo}/resolve/{quote(revision, safe='')}/{quote(path)}"


def list_hub(url: str) -> Iterator[Entry]:
    """Yield the files below a URL, or the one file that it names.

    Raises:
        ConfigError: it is no hf:// URL of a dataset.
        UnreachableError: the hub cannot be asked, or knows no such dataset.
    """
    repo, revision, path = _split(url)
    try:
        told = _ask(f"{endpoint()}/api/datasets/{repo}/revision/{quote(revision, safe='')}").json()
        sha = told["sha"]
        api = f"{endpoint()}/api/datasets/{repo}"
        if path:
            (found,) = _ask(f"{api}/paths-info/{sha}", {"paths": path}).json() or [None]
            if found is None:
                raise FileNotFoundError(path)
            if found["type"] == "file":
                yield _entry(repo, sha, found)
                return
        below = f"/{quote(path)}" if path else ""
        page = f"{api}/tree/{sha}{below}?recursive=true"
        while page:
            answer = _ask(page)
            yield from (_entry(repo, sha, one) for one in answer.json() if one["type"] == "file")
            page = answer.links.get("next", {}).get("url", "")
            if page and not page.startswith(f"{endpoint()}/"):
                raise UnreachableError(f"The hub's next page of {url} is on another server.")
    except FileNotFoundError as error:
        raise UnreachableError(f"Cannot list {url}: there is no such dataset or path.") from error
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UnreachableError(f"Cannot list {url}: {describe(error)}") from error


def _entry(repo: str, sha: str, one: dict[str, Any]) -> Entry:
    path = one["path"]
    etag = (one.get("lfs") or {}).get("oid") or one.get("oid")
    return path, f"hf://datasets/{repo}@{sha}/{path}", etag, int(one["size"])


def _split(url: str) -> tuple[str, str, str]:
    match = _URL.fullmatch(url)
    if match is None:
        raise ConfigError(f"{url!r} cannot be opened: write hf://datasets/ORG/NAME/path.")
    return match["repo"], unquote(match["revision"] or "main"), (match["path"] or "").rstrip("/")


def _ask(url: str, form: dict[str, str] | None = None) -> requests.Response:
    """Return the answer to a GET, or to a POST of a form."""

    def once() -> requests.Response:
        answer = requests.request(
            "GET" if form is None else "POST",
            url,
            data=form,
            headers=authorization(),
            timeout=_TIMEOUT_S,
            allow_redirects=False,
        )
        if answer.status_code >= 500 or answer.status_code in _PASSING:
            raise UnsettledError(f"the hub answered with status {answer.status_code}")
        if answer.status_code == 404:
            raise FileNotFoundError(url)
        if answer.status_code in (401, 403):
            raise PermissionError("access is denied; set HF_TOKEN, and check that it may read this")
        if answer.status_code != 200:
            raise ValueError(f"the hub answered with status {answer.status_code}")
        return answer

    return until_answered(once)
