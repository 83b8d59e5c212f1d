"""API keys, rates per key, and which web pages may call."""

import hmac
import ipaddress
import os
import time
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from ram_model.errors import TextFileError
from ram_model.text_files import read_lines
from ram_ray.errors import ConfigError
from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.config import AccessConfig, LimitConfig, ServeConfig, is_loopback
from ram_ray.serving.guard.aws_signature import read_signature
from ram_ray.serving.problems import Problem

KEYS_VARIABLE = "RAM_RAY_API_KEYS"
PUBLIC_PATHS = ("/", "/healthz", "/readyz", "/openapi.json")
"""Open without a key, for GET: the page asks for one itself, and probes have none."""
PUBLIC_PREFIX = "/static/"

_MAX_REMEMBERED_CLIENTS = 10_000


def load_keys(config: AccessConfig) -> dict[str, str]:
    """Return the secrets by key name; empty where neither file nor variable gives any.

    Raises:
        ConfigError: the file cannot be read, or a line is not `name:secret`.
    """
    if config.api_keys_file is None:
        source, lines = KEYS_VARIABLE, os.environ.get(KEYS_VARIABLE, "").split(",")
    else:
        source = config.api_keys_file
        try:
            lines = read_lines(source)
        except (OSError, TextFileError) as error:
            raise ConfigError(f"api_keys_file {source} cannot be read: {error}.") from error
    keys: dict[str, str] = {}
    for line in lines:
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, secret = (part.strip() for part in line.partition(":"))
        if not (name and colon and secret) or name in keys:
            raise ConfigError(f"{source} must hold `name:secret` entries, each name once.")
        keys[name] = secret
    if config.api_keys_file is not None and not keys:
        raise ConfigError(f"api_keys_file {source} holds no key.")
    return keys


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request comes from."""

    name: str
    """Of the key; without one the network address."""
    is_proven: bool
    """False while keys are asked for and none has been checked."""


class Access:
    """Decides who a request comes from, before its body is read."""

    def __init__(self, config: ServeConfig, keys: dict[str, str]) -> None:
        self.keys = keys
        self._origins = frozenset(config.access.allowed_origins)
        self._only_loopback_hosts = is_loopback(config.host) and not keys
        self._rates = RateLimit(config.limits)

    def caller_of(self, scope: Scope) -> "Caller":
        """Return the key name, or without keys the address, that a request is counted under.

        Raises:
            Problem: unauthorized, forbidden_origin.
        """
        headers = Headers(scope=scope)
        self._check_origin(headers)
        address = network_of((scope.get("client") or ("unknown", 0))[0])
        path, method = scope["path"], scope["method"]
        is_public = path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIX)
        if not self.keys or (method in ("GET", "HEAD") and is_public):
            return Caller(address, is_proven=not self.keys)
        signature = read_signature(headers)
        if signature and signature.name in self.keys and (method, path) == ("POST", "/"):
            # the route checks it, because it covers the body; until then it is anybody's
            return Caller(address, is_proven=False)
        given = _bearer(headers) or headers.get("x-api-key") or headers.get(_AZURE_KEY) or ""
        for name, secret in self.keys.items():
            if hmac.compare_digest(given.encode(), secret.encode()):
                return Caller(name, is_proven=True)
        raise Problem(
            RequestErrorCode.UNAUTHORIZED,
            "This server wants an API key: `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
        )

    def spend(self, client: str, num_images: int) -> None:
        """Count images against the client's rate.

        Raises:
            Problem: rate_limited, with the time after which the same request would pass.
        """
        self._rates.spend(client, num_images)

    def _check_origin(self, headers: Headers) -> None:
        """Keep the pages of other web sites from using a reader's browser against this server."""
        host = headers.get("host", "")
        origin = headers.get("origin")
        # A name that is made to point at 127.0.0.1 would pass as the same origin (DNS rebinding).
        if self._only_loopback_hosts and not is_loopback(_host_name(host)):
            raise Problem(
                RequestErrorCode.FORBIDDEN_ORIGIN,
                "This server answers to 127.0.0.1 and localhost only; --allow-anyone or API keys "
                "change that.",
            )
        if origin and origin not in self._origins and urlsplit(origin).netloc != host:
            raise Problem(
                RequestErrorCode.FORBIDDEN_ORIGIN,
                "Pages of other web sites may not call this server; allowed_origins names "
                "exceptions.",
            )


class RateLimit:
    """A token bucket of images per client, in this process."""

    def __init__(self, limits: LimitConfig) -> None:
        self._rate = limits.images_per_s
        self._burst = float(limits.burst_images)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def spend(self, client: str, num_images: int) -> None:
        """Take tokens, or raise Problem (rate_limited) and take none."""
        if self._rate is None:
            return
        now = time.monotonic()
        tokens, last = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - last) * self._rate)
        enough = tokens >= num_images
        self._buckets[client] = (tokens - num_images if enough else tokens, now)
        if len(self._buckets) > _MAX_REMEMBERED_CLIENTS:
            self._buckets.popitem(last=False)
        if not enough:
            raise Problem(
                RequestErrorCode.RATE_LIMITED,
                f"More than {self._rate:g} images per second (bursts of {self._burst:g}).",
                retry_after_s=(num_images - tokens) / self._rate,
            )


_AZURE_KEY = "ocp-apim-subscription-key"


def network_of(address: str) -> str:
    """Return what a client is counted under: an IPv4 address, or the /64 of an IPv6 one.

    Whoever has one IPv6 address has the 2^64 of its network.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))


def _bearer(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _host_name(host: str) -> str:
    """Return the name of a Host header, without port and brackets."""
    return urlsplit(f"//{host}").hostname or ""
