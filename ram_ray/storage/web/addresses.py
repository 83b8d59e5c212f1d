"""Which addresses are of the public internet; names are looked up once, and used as checked."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from aiohttp.abc import AbstractResolver, ResolveResult

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")  # all that IANA has given out
_OBSOLETE = (
    ipaddress.ip_network("3ffe::/16"),  # 6bone, RFC 3701
    ipaddress.ip_network("3fff::/20"),  # documentation, RFC 9637
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last 32 bits


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the public internet, whatever wraps it."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if ip in _NAT64:
            inner = ipaddress.ip_address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        # site-local, IPv4-compatible and reserved ranges: `is_global` says yes to them
        if ip not in _GLOBAL_UNICAST or any(ip in network for network in _OBSOLETE):
            return False
    return ip.is_global and not ip.is_multicast


def is_private_literal(host: str) -> bool:
    """Tell whether a host is written as an address, and that is no public one."""
    try:
        return not is_public(host)
    except ValueError:  # a name
        return False


class PrivateAddressError(OSError):
    """A name has an address that is not of the public internet."""


async def look_up(
    host: str,
    port: int,
    is_allowed: Callable[[str], bool],
    family: socket.AddressFamily = socket.AF_UNSPEC,
) -> list[ResolveResult]:
    """Return a host's addresses, all of them allowed.

    One that is not, among several, is enough to refuse: which one would be used?

    Raises:
        PrivateAddressError: one of them is not allowed.
        OSError: there is no such name.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
    if not all(is_allowed(str(address[0])) for *_, address in found):
        raise PrivateAddressError(f"{host} has an address inside a private network")
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=port,
            family=kind,
            proto=proto,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, proto, _, address in found
    ]


def _anywhere(_: str) -> bool:
    return True


class CheckedResolver(AbstractResolver):
    """Looks names up; a connection goes to the addresses that were checked."""

    def __init__(self, is_trusted: Callable[[str], bool]) -> None:
        """Take what tells whether a host may be anywhere."""
        self._is_trusted = is_trusted

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return a host's addresses.

        Raises:
            PrivateAddressError: one of them is private.
            OSError: there is no such name.
        """
        trusted = self._is_trusted(host)
        return await look_up(host, port, _anywhere if trusted else is_public, family)

    async def close(self) -> None:
        """Hold nothing."""
