"""Names under which a server without keys answers.

A page elsewhere in the browser may make its own name point at this machine and then talk to it as to itself (DNS
rebinding). It has to send that name as ``Host``, so that names nobody else could have made to point here are enough.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

LOCAL = "localhost"
HOST = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<name>[^:\[\]]+))(?::\d*)?")


def own_names(given: Iterable[str]) -> frozenset[str]:
    """This machine's name, also as multicast DNS has it, and those that are ``given``."""
    own = socket.gethostname()
    return frozenset(_plain(name) for name in (own, f"{own}.local", *given))


def is_known(header: str, names: frozenset[str]) -> bool:
    """Whether a ``Host`` header is an address, localhost or one of ``names``; with or without a port."""
    found = HOST.fullmatch(header)
    if found is None:
        return False
    if found["six"] is not None:
        return is_address(found["six"], 6)
    name = _plain(found["name"])
    return is_address(name, 4) or name == LOCAL or name.endswith(f".{LOCAL}") or name in names


def is_address(text: str, version: int) -> bool:
    """Whether this is an IP address of version 4 or 6."""
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens at ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return _plain(host) == LOCAL


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")
