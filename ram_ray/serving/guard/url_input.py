"""Images by URL, from allowed hosts with public addresses only.

Every hop is checked: scheme and host by name, then the addresses the name resolves to. The
connection goes to the addresses that were checked, so a name that changes in between (DNS
rebinding) gains nothing.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ram_ray.errors import ImageError, ImageErrorCode
from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.config import UrlConfig
from ram_ray.serving.guard.admission import Admission
from ram_ray.serving.guard.bucket_input import SCHEME, BucketReader
from ram_ray.serving.problems import Problem
from ram_ray.storage.web.addresses import PrivateAddressError, is_public, look_up

_PIECE_BYTES = 64 * 2**10
_REDIRECTS = (301, 302, 303, 307, 308)
_USUAL_PORTS = (80, 443)


class UrlFetcher:
    """Fetches images for requests; what it holds counts as pending bytes."""

    def __init__(
        self,
        config: UrlConfig,
        admission: Admission,
        max_image_bytes: int,
        *,
        is_allowed_address: Callable[[str], bool] = is_public,
    ) -> None:
        self._config = config
        self._rooms = admission.body_rooms(is_proven=True)
        self._max_bytes = max_image_bytes
        self._buckets = BucketReader(config.buckets, config.store, max_image_bytes)
        self._is_allowed_address = is_allowed_address

    @asynccontextmanager
    async def image(self, url: str, client: str) -> AsyncIterator[bytes]:
        """Give the bytes of an image; its room is given back at the end of the block.

        Raises:
            Problem: url_not_allowed, overloaded, rate_limited.
            ImageError: not_found, access_denied, fetch_timeout, fetch_failed, too_large.
        """
        data = bytearray()
        held = 0

        def hold(count: int) -> None:
            nonlocal held
            self._rooms.take_bytes(client, count, own=held)
            held += count

        try:
            try:
                async with asyncio.timeout(self._config.timeout_s):
                    if url.startswith(SCHEME):
                        data += await self._buckets.read(url, hold)
                    else:
                        await self._fetch(url, data, hold)
            except TimeoutError:
                message = f"Not fetched within {self._config.timeout_s:g} s."
                raise ImageError(ImageErrorCode.FETCH_TIMEOUT, message) from None
            except aiohttp.ClientError as error:
                message = f"The image cannot be fetched ({type(error).__name__})."
                raise ImageError(ImageErrorCode.FETCH_FAILED, message) from None
            yield bytes(data)
        finally:
            self._rooms.bytes.give(client, held)

    async def _fetch(self, url: str, data: bytearray, hold: Callable[[int], None]) -> None:
        for _ in range(self._config.max_redirects + 1):
            addresses = await self._checked_addresses(url)
            connector = aiohttp.TCPConnector(resolver=_Pinned(addresses), use_dns_cache=False)
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,  # a small body must not unpack to a large one
                    headers={"Accept-Encoding": "identity", "User-Agent": "ram-ray"},
                ) as session,
                session.get(url, allow_redirects=False) as response,
            ):
                if response.status in _REDIRECTS and "Location" in response.headers:
                    url = urljoin(url, response.headers["Location"])
                    continue
                _check_status(response.status)
                async for piece in response.content.iter_chunked(_PIECE_BYTES):
                    if len(data) + len(piece) > self._max_bytes:
                        message = f"The file has more than {self._max_bytes} bytes."
                        raise ImageError(ImageErrorCode.TOO_LARGE, message)
                    hold(len(piece))
                    data += piece
                return
        raise ImageError(ImageErrorCode.FETCH_FAILED, "More redirects than this server follows.")

    async def _checked_addresses(self, url: str) -> list[ResolveResult]:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise _not_allowed("It cannot be read as a URL.") from None
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            raise _not_allowed("Only http:// and https:// without user names are fetched.")
        if not self._config.hosts:
            raise _not_allowed("This server takes no URLs: send the image's bytes.")
        if not self._is_allowed_host(host, port):
            raise _not_allowed("This server does not fetch from that host and port.")
        try:
            return await look_up(host, port, self._is_allowed_address)
        except PrivateAddressError:
            raise _not_allowed("That host has an address inside a private network.") from None
        except OSError:
            message = "The host's name cannot be resolved."
            raise ImageError(ImageErrorCode.FETCH_FAILED, message) from None

    def _is_allowed_host(self, host: str, port: int) -> bool:
        host = host.lower().rstrip(".")
        for named in self._config.hosts:
            allowed, _, named_port = named.partition(":")
            if not (port == int(named_port) if named_port else port in _USUAL_PORTS):
                continue
            suffix = allowed.lower().removeprefix("*")
            if host == suffix or (suffix != allowed.lower() and host.endswith(suffix)):
                return True
        return False


class _Pinned(AbstractResolver):
    """Resolves to addresses that were checked, whatever the name says by now."""

    def __init__(self, addresses: list[ResolveResult]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del host, port, family
        return self._addresses

    async def close(self) -> None:
        pass


def _check_status(status: int) -> None:
    if status < 300:
        return
    code = ImageErrorCode.FETCH_FAILED
    if status in (404, 410):
        code = ImageErrorCode.NOT_FOUND
    elif status in (401, 403):
        code = ImageErrorCode.ACCESS_DENIED
    raise ImageError(code, f"The image's server answered with status {status}.")


def _not_allowed(message: str) -> Problem:
    return Problem(RequestErrorCode.URL_NOT_ALLOWED, message)
