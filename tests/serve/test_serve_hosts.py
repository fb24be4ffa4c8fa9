"""A foreign name that was made to point at a server without keys is of no use, wherever the server listens."""

import socket

import pytest
from live import serving

from foretell.cli.main import main
from foretell.serve.hosts import is_known, own_names
from foretell.serve.options import ServeOptions

GOOD = ["localhost", "LOCALHOST:8000", "localhost.", "app.localhost:1", "127.0.0.1", "127.0.0.2:8000", "127.255.1.1",
        "[::1]", "[::1]:8000", "192.168.1.20:8000", "[fe80::1]:80", "box", "Box.:99", "localhost:"]  # fmt: skip
BAD = ["", ":8000", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "evil.example:localhost",
       "::1", "[::1", "[localhost]:80", "[127.0.0.1]", "127.0.0.1:80:80", "a@localhost", "localhost:80 ", "localhost/",
       "256.0.0.1", "127.1", "notlocalhost", "xbox"]  # fmt: skip


@pytest.mark.parametrize("header", GOOD)
def test_names_that_are_answered(header: str) -> None:
    assert is_known(header, own_names(["box"]))


@pytest.mark.parametrize("header", BAD)
def test_names_that_are_not(header: str) -> None:
    assert not is_known(header, own_names(["box"]))


def test_this_machines_own_name_is_known() -> None:
    for name in (socket.gethostname(), socket.gethostname().upper(), f"{socket.gethostname()}.local"):
        assert is_known(f"{name}:8000", own_names([]))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_server_without_keys_refuses_foreign_names(host: str) -> None:
    with serving(host=host, allowed_hosts=("chat.example.org",)) as live:
        live.server.address = live.server.address.replace("0.0.0.0", "127.0.0.1")
        for path in ("/", "/health", "/v1/models", "/api/conversations"):
            status, answer, _ = live.ask(path, Host="evil.example")
            assert status == 400 and answer["error"]["code"] == "wrong_host" and "'evil.example'" in str(answer)
            for good in ("127.0.0.2:80", "[::1]:80", "chat.example.org"):
                assert live.ask(path, Host=good)[0] == 200


def test_with_a_key_any_name_is_answered() -> None:
    with serving(keys=("secret",)) as live:
        assert live.ask("/v1/models", Host="any.example", Authorization="Bearer secret")[0] == 200


def test_who_is_alone_on_this_machine() -> None:
    for host in ("127.0.0.1", "127.8.0.1", "::1", "localhost"):
        assert ServeOptions(host=host).loopback
    for host in ("0.0.0.0", "::", "192.168.0.1", "box"):
        assert not ServeOptions(host=host).loopback


@pytest.mark.parametrize("name", ["http://a.example", "a.example:80", "", "a b"])
def test_a_name_with_more_than_a_name_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--allowed-host", name]) == 2
    assert "--allowed-host is" in " ".join(capsys.readouterr().err.split())
