"""Objects on web servers, and ranges of them: limits per host, polite retries, checked addresses.

One request is tried once; an `UnsettledError` says that asking again may help. A server that
answers 429 or 503 with Retry-After is left alone for as long as it asks, by all requests.
"""

import asyncio
import errno
import re
import socket
import time
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from obstore.exceptions import PreconditionError

from ram_ray.config import StoreConfig
from ram_ray.errors import ImageError, ImageErrorCode
from ram_ray.storage.again import UnsettledError
from ram_ray.storage.reasons import first_line
from ram_ray.storage.web import hub
from ram_ray.storage.web.addresses import CheckedResolver, PrivateAddressError, is_private_literal

MAX_REDIRECTS = 5
MAX_RETRY_AFTER_S = 600.0
"""A server that asks for longer gets this."""
_PIECE_BYTES = 2**18
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429)
_NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
_TOTAL = re.compile(r"bytes (?P<first>\d+)-\d+/(?P<total>\d+)")

Span = tuple[int, int]


class WebReader:
    """Reads http://, https:// and hf:// objects; all of one event loop."""

    def __init__(self, config: StoreConfig, *, max_bytes: int, stall_s: float) -> None:
        self._config = config
        self._max_bytes = max_bytes
        self._stall_s = stall_s
        self._session: aiohttp.ClientSession | None = None
        self._not_before: dict[str, float] = {}
        """By host: when it may be asked again, on the monotonic clock."""

    async def get(
        self, url: str, span: Span | None = None, etag: str | None = None
    ) -> tuple[bytes, str | None]:
        """Return the bytes of an object, or those from span[0] before span[1], and its tag.

        Args:
            etag: the tag that it must have; of hf:// the commit in the URL says more.

        Raises:
            ImageError: not_found, access_denied, too_large, fetch_failed: final.
            PreconditionError: it is not the content of `etag`.
            UnsettledError: asking again may help.
        """
        data, tag, _ = await self._get(url, span, etag)
        return data, tag

    async def head(self, url: str) -> tuple[str | None, int]:
        """Return tag and size in bytes of an object that can be read in ranges; raises as `get`."""
        _, tag, total = await self._get(url, (0, 1), None)
        return tag, total

    async def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _get(
        self, url: str, span: Span | None, etag: str | None
    ) -> tuple[bytes, str | None, int]:
        of_hub = url.startswith("hf://")
        headers = {"Range": f"bytes={span[0]}-{span[1] - 1}"} if span else {}
        at = hub.file_url(url) if of_hub else url
        own = hub.authorization() if of_hub else {}
        for _ in range(MAX_REDIRECTS + 1):
            host = self._checked_host(at)
            await self._wait_for(host)
            try:
                async with self._open().get(
                    at, headers=headers | own, allow_redirects=False
                ) as answer:
                    if answer.status in _REDIRECTS and "Location" in answer.headers:
                        there = urljoin(at, answer.headers["Location"])
                        if urlsplit(there).netloc != urlsplit(at).netloc:
                            own = {}  # a token is for the hub alone
                        at = there
                        continue
                    self._check_status(answer, host, span)
                    tag = None if of_hub else _tag_of(answer)
                    if etag is not None and not of_hub and tag != etag:
                        raise PreconditionError("it has another tag than when it was listed")
                    return await self._body(answer, span), tag, _total(answer, span)
            except aiohttp.InvalidURL as error:
                raise _failed("It cannot be read as a URL.") from error
            except aiohttp.ClientError as error:
                raise _why(error) from error
        raise _failed(f"More than {MAX_REDIRECTS} redirects.")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit_per_host=self._config.requests_per_host,
                    resolver=CheckedResolver(self._is_trusted),
                ),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._stall_s, sock_read=self._stall_s
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # a small body must not unpack to a large one
                headers={"Accept-Encoding": "identity", "User-Agent": "ram-ray"},
            )
        return self._session

    def _is_trusted(self, host: str) -> bool:
        return self._config.private_addresses or host == urlsplit(hub.endpoint()).hostname

    def _checked_host(self, url: str) -> str:
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            raise _failed("It cannot be read as a URL.") from None
        if parts.scheme not in ("http", "https") or not host:
            raise _failed("It leads to an address that is not http:// or https://.")
        if is_private_literal(host) and not self._is_trusted(host):
            raise _private()
        return host

    async def _wait_for(self, host: str) -> None:
        while (wait_s := self._not_before.get(host, 0.0) - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)

    def _check_status(self, answer: aiohttp.ClientResponse, host: str, span: Span | None) -> None:
        status = answer.status
        if status in (429, 503):
            wait_s = retry_after_s(answer.headers.get("Retry-After", ""))
            self._not_before[host] = time.monotonic() + wait_s
        if status >= 500 or status in _PASSING:
            raise UnsettledError(f"the server answered with status {status}")
        if status in (404, 410):
            raise ImageError(ImageErrorCode.NOT_FOUND, f"The server answered with status {status}.")
        if status in (401, 403, 451):
            message = f"The server answered with status {status}."
            raise ImageError(ImageErrorCode.ACCESS_DENIED, message)
        if span is not None and status == 416:
            raise PreconditionError("it ends before that range")
        if span is not None and status == 200:
            raise _failed("The server does not give ranges, which parts of a file need.")
        if status not in (200, 206):
            raise _failed(f"The server answered with status {status}.")

    async def _body(self, answer: aiohttp.ClientResponse, span: Span | None) -> bytes:
        limit = self._max_bytes if span is None else span[1] - span[0]
        if span is None and (answer.content_length or 0) > limit:
            raise _too_large(limit)
        data = bytearray()
        async for piece in answer.content.iter_chunked(_PIECE_BYTES):
            data += piece
            if len(data) > limit:
                raise _too_large(limit)
        if span is not None and len(data) != span[1] - span[0]:
            raise UnsettledError(f"{len(data)} of {span[1] - span[0]} bytes came")
        return bytes(data)


def retry_after_s(text: str) -> float:
    """Return how long a server asks to be left alone, in seconds; 0: it does not say."""
    try:
        wait_s = float(text) if text.strip().isdigit() else _until(text)
    except (TypeError, ValueError):
        return 0.0
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)


def _until(text: str) -> float:
    return parsedate_to_datetime(text).timestamp() - time.time()


def _tag_of(answer: aiohttp.ClientResponse) -> str | None:
    """Return what tells this content from another: its etag, else when it was written."""
    modified = answer.headers.get("Last-Modified")
    return answer.headers.get("ETag") or (f"modified:{modified}" if modified else None)


def _total(answer: aiohttp.ClientResponse, span: Span | None) -> int:
    if span is None:
        return answer.content_length or 0
    match = _TOTAL.fullmatch(answer.headers.get("Content-Range", ""))
    if match is None or int(match["first"]) != span[0]:
        raise _failed("The server gives another range than it was asked for.")
    return int(match["total"])


def _why(error: aiohttp.ClientError) -> Exception:
    """Return what a failed request means: final, or an UnsettledError."""
    cause: Any = error.__cause__
    if isinstance(cause, PrivateAddressError):
        return _private()
    if isinstance(cause, socket.gaierror) and cause.errno in _NO_SUCH_NAME:
        return ImageError(ImageErrorCode.NOT_FOUND, "There is no host of this name.")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _failed(f"The server's certificate is not valid: {first_line(error)}.")
    return UnsettledError(errno.EIO, f"{type(error).__name__}: {first_line(error)}")


def _failed(message: str) -> ImageError:
    return ImageError(ImageErrorCode.FETCH_FAILED, message)


def _private() -> ImageError:
    message = "The host has an address inside a private network (--private-addresses allows it)."
    return ImageError(ImageErrorCode.ACCESS_DENIED, message)


def _too_large(limit: int) -> ImageError:
    return ImageError(ImageErrorCode.TOO_LARGE, f"More than {limit} bytes.")
