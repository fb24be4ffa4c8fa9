import sqlite3
import threading
from pathlib import Path

import pytest
from live import Live

from foretell.core.errors import UserError
from foretell.serve.store import ConversationStore, as_markdown, branch


def test_a_conversation_is_a_tree_that_outlives_the_program(tmp_path: Path) -> None:
    store = ConversationStore(tmp_path / "new" / "c.sqlite")
    identity = store.create(title="First", system="Be brief.", settings={"temperature": 0.5})["id"]
    one = store.add(identity, "user", "one")
    two = store.add(identity, "assistant", "two", one, {"tokens": 3})
    other = store.add(identity, "assistant", "another two", one)
    store.close()
    store = ConversationStore(tmp_path / "new" / "c.sqlite")
    found = store.get(identity)
    assert [message["content"] for message in branch(found)] == ["one", "another two"] and found["leaf"] == other
    assert found["settings"] == {"temperature": 0.5} and found["messages"][1]["details"] == {"tokens": 3}
    assert store.change(identity, leaf=two, title="Second")
    found = store.get(identity)
    assert as_markdown(found["title"], found["system"], branch(found)) == (
        "# Second\n\n## System\n\nBe brief.\n\n## User\n\none\n\n## Assistant\n\ntwo\n"
    )
    assert store.delete(identity) and store.get(identity) is None and not store.delete(identity)


def test_searching_takes_signs_as_they_are(tmp_path: Path) -> None:
    store = ConversationStore(Path(":memory:"))
    percent, other = store.create(title="100%_sure"), store.create(title="x")
    store.add(other["id"], "user", "a back\\slash and Ünïcode")
    assert [one["id"] for one in store.all("%_")] == [percent["id"]]
    assert [one["id"] for one in store.all("k\\s")] == [other["id"]]
    assert len(store.all("")) == 2 and store.all("'; DROP TABLE messages; --") == []
    assert [one["id"] for one in store.all()] == [other["id"], percent["id"]], "the latest first"


def test_what_belongs_to_another_conversation_is_refused() -> None:
    store = ConversationStore(Path(":memory:"))
    first, second = store.create()["id"], store.create()["id"]
    message = store.add(first, "user", "x")
    assert store.add(second, "user", "y", message) is None and not store.change(second, leaf=message)
    assert store.add("none", "user", "y") is None and not store.change("none", title="t")


def test_many_threads(tmp_path: Path) -> None:
    store = ConversationStore(tmp_path / "c.sqlite")
    identity = store.create()["id"]
    threads = [
        threading.Thread(target=lambda: [store.add(identity, "user", str(number)) for number in range(20)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.get(identity)["messages"]) == 160


def test_files_that_are_no_database(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("This is no database, and longer than its header would be." * 20)
    with pytest.raises(UserError, match=r"text cannot be used"):
        ConversationStore(tmp_path / "text")
    with pytest.raises(UserError, match="cannot be used"):
        ConversationStore(tmp_path / "text" / "below")
    connection = sqlite3.connect(tmp_path / "later")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UserError, match="version 99; up to 1"):
        ConversationStore(tmp_path / "later")


def test_the_routes(live: Live) -> None:
    path = "/api/conversations"
    status, made, _ = live.ask(path, {"title": "A / title", "system": "s"})
    assert status == 201 and made["messages"] == []
    here = f"{path}/{made['id']}"
    status, message, _ = live.ask(f"{here}/messages", {"role": "user", "content": "hi\n\n```\ncode\n```"})
    assert status == 201 and live.ask(here)[1]["leaf"] == message["id"]
    assert live.ask(here, {"title": "B"}, "PATCH")[1]["title"] == "B"
    status, text, headers = live.ask(f"{here}/export?format=markdown")
    assert text.startswith("# B\n") and headers["content-disposition"] == 'attachment; filename="B.md"'
    assert live.ask(f"{here}/export")[1]["id"] == made["id"]
    assert made["id"] in [one["id"] for one in live.ask(f"{path}?query=CODE")[1]["conversations"]]
    for body, method, where, param in (
        ({"leaf": 10**9}, "PATCH", here, "leaf"),
        ({"role": "user", "content": "x", "parent": 10**9}, "POST", f"{here}/messages", "parent"),
    ):
        status, answer, _ = live.ask(where, body, method)
        assert status == 409 and answer["error"]["param"] == param, answer
    for body, method, where, param in (
        ({"leaf": -1}, "PATCH", here, "leaf"),
        ({"title": 3}, "PATCH", here, "title"),
        ({"title": "x" * 201}, "PATCH", here, "title"),
        ({"role": "king", "content": "x"}, "POST", f"{here}/messages", "role"),
        ({"role": "user"}, "POST", f"{here}/messages", "content"),
        (None, "GET", f"{here}/export?format=pdf", "format"),
    ):
        status, answer, _ = live.ask(where, body, method)
        assert status == 400 and answer["error"]["param"] == param, answer
    assert live.ask(here, method="DELETE")[1] == {"id": made["id"], "deleted": True}
    for method in ("GET", "DELETE"):
        assert live.ask(here, method=method)[0] == 404
    assert live.ask(here, {"title": "x"}, "PATCH")[0] == 404
    assert live.ask(f"{here}/messages", {"role": "user", "content": ""})[0] == 404
