"""Files of other servers, for those who were told to fetch them: public addresses only, so much and so long at most.

Whoever asks chooses the address, and this machine may reach what they cannot. So the name is resolved here, every
address it has must be public, and the connection goes to one of these addresses: between the check and the connection
nobody is asked again, so that a name whose addresses change (DNS rebinding) gains nothing. Every redirect passes the
same way. Proxies of the environment are not used, for they would resolve the name themselves.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

import foretell
from foretell.core.errors import UserError

PORTS = {"http": 80, "https": 443}
MOST_REDIRECTS = 3
LONGEST_URL = 4096
REDIRECTS = (301, 302, 303, 307, 308)
# Beside what Python's tables say, which differ with its version: protocols' own, translated and tunnelled addresses.
INSIDE = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/23", "2002::/16",
                                          "3fff::/20", "fec0::/10")))  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Where a request goes.

    Attributes:
        host: as the other server knows itself.
        addresses: that are all public, in the order in which they are tried.
        path: with its query.
    """

    secure: bool
    host: str
    port: int
    addresses: tuple[str, ...]
    path: str

    @property
    def url(self) -> str:
        """The address itself."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}{self.path}"


def fetch(url: str, most: int, seconds: float, name: str) -> bytes:
    """The file at an address.

    Args:
        url: of http or https.
        most: bytes that are read.
        seconds: after which all of it must be there, redirects included.
        name: what errors call it.

    Raises:
        UserError: for another address, a host that is not public, a server that does not answer with a file in time,
            and one that sends more than ``most``.
    """
    deadline = time.monotonic() + seconds
    before = ""
    for _ in range(MOST_REDIRECTS + 1):
        target = checked_target(url, name, before)
        try:
            found = _get(target, most, deadline, name)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if time.monotonic() >= deadline:
                raise UserError(f"{name} did not come within {seconds:g} seconds.") from error
            raise UserError(f"{name} could not be fetched from {target.host}.") from error
        if isinstance(found, bytes):
            return found
        before, url = target.url, found
    raise UserError(f"{name} is redirected more than {MOST_REDIRECTS} times.")


def checked_target(url: str, name: str, base: str = "") -> Target:
    """Where an address leads, seen from ``base``.

    Raises:
        UserError: where it is none of http or https, or its host has an address that is not public.
    """
    if len(url) > LONGEST_URL:
        raise UserError(f"{name} has {len(url):,} characters; at most {LONGEST_URL:,} are accepted.")
    try:
        parts = urlsplit(urljoin(base, url))
        port, host = parts.port, (parts.hostname or "").encode("idna").decode()
    except ValueError as error:
        raise UserError(f"{name} is no address that can be read.") from error
    if parts.scheme not in PORTS or not host or parts.username is not None:
        raise UserError(f"{name} is no address of http or https without a user's name.")
    usual = PORTS[parts.scheme]
    if port not in (None, *PORTS.values()):
        raise UserError(f"{name} has the port {port}; {' and '.join(map(str, PORTS.values()))} are accepted.")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (
        f"?{quote(parts.query, safe='/?%:@!$&()*+,;=~-._[]')}" if parts.query else ""
    )
    port = port or usual
    return Target(parts.scheme == "https", host, port, _public_addresses(host, port, name), path)


def _public_addresses(host: str, port: int, name: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        found = []
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not addresses or not all(map(is_public, addresses)):  # told alike, for what is inside is nobody's business
        raise UserError(f"{name} is at a host without a public address.")
    return addresses


def is_public(text: str) -> bool:
    """Whether an address is one of the whole internet's, and does not stand for one that is not."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    refused = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not refused and not any(address in network for network in INSIDE)


def _get(target: Target, most: int, deadline: float, name: str) -> bytes | str:
    """What is there, or where it is instead."""
    kind = http.client.HTTPSConnection if target.secure else http.client.HTTPConnection
    connection = kind(target.host, target.port)
    with _connected(target, deadline) as connection.sock:
        connection.request("GET", target.path, headers={
            "Accept": "image/*", "Connection": "close", "User-Agent": f"foretell/{foretell.__version__}",
        })  # fmt: skip
        response = connection.getresponse()
        if response.status in REDIRECTS and response.headers["Location"]:
            return str(response.headers["Location"])
        if response.status != 200:
            raise UserError(f"{name} could not be fetched: {target.host} answered with status {response.status}.")
        stated = response.headers["Content-Length"] or ""
        expected = int(stated) if stated.isdecimal() and len(stated) < 20 else None
        data = b"" if (expected or 0) > most else response.read(most + 1)
        if time.monotonic() >= deadline:
            raise TimeoutError
        if max(len(data), expected or 0) > most:
            raise UserError(f"{name} has more than {most:,} bytes, which is the limit here.")
        if len(data) < (expected or 0):
            raise http.client.IncompleteRead(data)
        return data


@contextmanager
def _connected(target: Target, deadline: float) -> Iterator[socket.socket]:
    """A connection that is cut at the deadline, whatever the other side does."""
    sock = _socket_to(target, deadline)
    if target.secure:
        sock = ssl.create_default_context().wrap_socket(
            sock, server_hostname=target.host, do_handshake_on_connect=False
        )
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), _cut, (sock,))
    timer.daemon = True
    timer.start()
    try:
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        yield sock
    finally:
        timer.cancel()
        sock.close()


def _socket_to(target: Target, deadline: float) -> socket.socket:
    failure: OSError = TimeoutError()
    for address in target.addresses:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            return socket.create_connection((address, target.port), timeout=left)
        except OSError as error:
            failure = error
    raise failure


def _cut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # not the method of an encrypted socket, which would go on without its encryption
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
