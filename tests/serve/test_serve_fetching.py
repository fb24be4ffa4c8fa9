"""Files of other servers: nobody inside is reached, by whatever name, and nobody outside keeps a request for ever."""

import contextlib
import http.server
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator

import pytest

from foretell.core.errors import UserError
from foretell.serve import fetching
from foretell.serve.fetching import checked_target, fetch, is_public

NAME = "messages[0].content[1].image_url"
PICTURE = b"\x89PNG picture " * 100
LOOKED_UP = socket.getaddrinfo

INSIDE = [
    "127.0.0.1", "127.8.9.10", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "192.0.0.8", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1",
    "fe80::1%eth0", "fc00::1", "fd12:3456::1", "ff02::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b:1::1", "2001:0:1::1",
    "2001:db8::1", "100::1", "localhost", "",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_outside_are(address: str) -> None:
    assert is_public(address)


URLS = [
    "http://127.0.0.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://0/",
    "http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "http://192.168.0.1/", "http://[fe80::1]/",
    "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/",
    "http://localhost/", "https://localhost/", "http://localhost./", "http://LOCALHOST/", "http://127。0。0。1/",
    "http://[64:ff9b::7f00:1]/",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_addresses_that_lead_inside_are_refused_before_anything_is_sent(url: str, monkeypatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("a connection was made"))
    with pytest.raises(UserError, match="is at a host without a public address"):
        fetch(url, 1000, 5, NAME)


@pytest.mark.parametrize(
    ("url", "words"),
    [("ftp://example.com/", "no address of http or https"), ("file:///etc/passwd", "no address of http"),
     ("gopher://127.0.0.1/", "no address of http"), ("http:///path", "no address of http"), ("http://", "no address"),
     ("//example.com/", "no address of http"), ("http://user:secret@example.com/", "without a user's name"),
     ("http://[::1/", "can be read"), ("http://example.com:99999/", "can be read"),
     ("http://example.com:22/", "the port 22; 80 and 443 are accepted"), 
     ("http://" + "a" * 70 + ".com/", "can be read"),
     ("http://example.com/" + "a" * 5000, "at most 4,096")],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        fetch(url, 1000, 5, NAME)
    assert str(caught.value).startswith(NAME) and "secret" not in str(caught.value)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        path = self.path.partition("?")[0]
        if path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", urllib.parse.unquote(self.path.removeprefix("/to/")))
            self.end_headers()
        elif path in ("/slow-head", "/slow-body"):
            with contextlib.suppress(OSError):
                if path == "/slow-body":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                for _ in range(200):
                    self.wfile.write(b"H")
                    time.sleep(0.05)
        elif path == "/endless":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b"x" * 1000)
        elif path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(PICTURE)
        elif path == "/picture":
            self.send_response(200)
            self.send_header("Content-Length", str(len(PICTURE)))
            self.end_headers()
            self.wfile.write(PICTURE)
        else:
            self.send_response(404)
            self.end_headers()

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[http.server.ThreadingHTTPServer]:
    """A server that counts as public under the name pictures.example, and that nothing else here does."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.looked_up = [], []
    port = server.server_address[1]
    names = {"pictures.example": ["127.0.0.1"], "inside.example": ["10.0.0.7"],
             "both.example": ["127.0.0.1", "10.0.0.7"],
             "mapped.example": ["::ffff:10.0.0.7"], "nowhere.example": []}  # fmt: skip

    def resolve(host, port, *rest, **options):
        server.looked_up.append(host)
        if host not in names:
            return LOOKED_UP(host, port, *rest, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in names[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(fetching, "PORTS", {"http": port, "https": 443})
    monkeypatch.setattr(fetching, "is_public", lambda address: address == "127.0.0.1" or is_public(address))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_file_is_fetched_from_the_address_that_was_checked(outside) -> None:
    assert fetch("http://pictures.example/picture?a=b c&d=ü#part", 2000, 5, NAME) == PICTURE
    path, headers = outside.asked[0]
    assert path == "/picture?a=b%20c&d=%C3%BC" and headers["Host"].startswith("pictures.example:")
    assert "Cookie" not in headers and "Authorization" not in headers
    assert outside.looked_up == ["pictures.example", "127.0.0.1"], "the name is asked for once"


def test_redirects_are_followed_and_checked_anew(outside) -> None:
    assert fetch("http://pictures.example/to//picture", 2000, 5, NAME) == PICTURE
    assert fetch("http://pictures.example/to/http://pictures.example/to//picture", 2000, 5, NAME) == PICTURE
    for inner in (
        "http://inside.example/",
        "http://10.0.0.7/",
        "http://[::1]/",
        "https://inside.example/",
        "//10.0.0.7/",
    ):
        with pytest.raises(UserError, match="without a public address"):
            fetch(f"http://pictures.example/to/{inner}", 2000, 5, NAME)
    for inner in ("file:///etc/passwd", "ftp://pictures.example/"):
        with pytest.raises(UserError, match="no address of http or https"):
            fetch(f"http://pictures.example/to/{inner}", 2000, 5, NAME)
    with pytest.raises(UserError, match="no address that can be read"):
        fetch("http://pictures.example/to/http://[::1", 2000, 5, NAME)
    with pytest.raises(UserError, match="redirected more than 3 times"):
        fetch("http://pictures.example" + "/to/" * 4 + "/picture", 2000, 5, NAME)


@pytest.mark.parametrize("host", ["inside", "both", "mapped", "nowhere"])
def test_names_that_lead_inside_are_refused_alike(outside, host: str) -> None:
    with pytest.raises(UserError) as caught:
        fetch(f"http://{host}.example/picture", 2000, 5, NAME)
    assert str(caught.value) == f"{NAME} is at a host without a public address." and not outside.asked


def test_sizes_and_times_are_limited(outside) -> None:
    for path in ("picture", "endless", "short"):
        with pytest.raises(UserError, match=r"more than 1,000 bytes"):
            fetch(f"http://pictures.example/{path}", 1000, 5, NAME)
    for path in ("slow-head", "slow-body"):
        started = time.monotonic()
        with pytest.raises(UserError, match=r"did not come within 0\.3 seconds"):
            fetch(f"http://pictures.example/{path}", 2000, 0.3, NAME)
        assert time.monotonic() - started < 4
    with pytest.raises(UserError, match=r"could not be fetched from pictures\.example"):
        fetch("http://pictures.example/short", 6000, 5, NAME)
    with pytest.raises(UserError, match="answered with status 404"):
        fetch("http://pictures.example/other", 2000, 5, NAME)


def test_an_encrypted_connection_is_cut_too(outside, monkeypatch) -> None:
    port = outside.server_address[1]
    monkeypatch.setattr(fetching, "PORTS", {"http": 1, "https": port})
    silent = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(fetching, "PORTS", {"http": 1, "https": silent.getsockname()[1]})
    with silent, pytest.raises(UserError, match=r"did not come within 0\.3 seconds"):
        fetch("https://pictures.example/picture", 2000, 0.3, NAME)
    monkeypatch.setattr(fetching, "PORTS", {"http": 1, "https": port})
    with pytest.raises(UserError, match=r"could not be fetched from pictures\.example"):
        fetch("https://pictures.example/picture", 2000, 5, NAME)  # no certificate


def test_an_international_name_is_asked_for_in_its_own_letters(outside) -> None:
    with pytest.raises(UserError, match="without a public"):
        checked_target("http://nowhere.example/", NAME)
    with pytest.raises(UserError, match="without a public"):
        checked_target("http://bücher.invalid/", NAME)
    assert outside.looked_up[-1] == "xn--bcher-kva.invalid"
