import sqlite3
import threading
from pathlib import Path

import pytest
from live import Live, serving
from pictures import GOOD, HOSTILE, url_of

from foretell.core.errors import UserError
from foretell.serve import store as stores
from foretell.serve.store import ConversationStore, StoredImage, as_markdown, branch


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
    with pytest.raises(UserError, match="version 99; up to 2"):
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


def test_images_of_messages_are_kept_and_leave_with_them(tmp_path: Path) -> None:
    store = ConversationStore(tmp_path / "c.sqlite")
    identity = store.create(title="T")["id"]
    pictures = [StoredImage("image/png", GOOD), StoredImage("image/gif", b"second")]
    store.add(identity, "user", "look", images=pictures)
    store.add(identity, "assistant", "I see")
    store.close()
    store = ConversationStore(tmp_path / "c.sqlite")
    first, second = store.get(identity)["messages"]
    assert first["images"] == [url_of(GOOD), url_of(b"second", "image/gif")] and second["images"] == []
    written = as_markdown("T", "", [first])
    assert f"## User\n\n![Image 1]({url_of(GOOD)})\n\n![Image 2](data:image/gif" in written
    assert written.endswith("\n\nlook\n") and "messages" not in store.get(identity, messages=False)
    store.delete(identity)
    store.close()
    assert sqlite3.connect(tmp_path / "c.sqlite").execute("SELECT count(*) FROM images").fetchone() == (0,)


def test_a_database_of_before_images_is_taken_over(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "old")
    connection.executescript(stores.SCHEMA + "PRAGMA user_version = 1;")
    connection.execute("INSERT INTO conversations VALUES ('a', 'old', '', '', '{}', NULL, 1, 1)")
    connection.execute("INSERT INTO messages VALUES (7, 'a', NULL, 'user', 'hello', '{}', 1)")
    connection.commit()
    connection.close()
    for _ in range(2):
        store = ConversationStore(tmp_path / "old")
        assert store.get("a")["messages"][0]["content"] == "hello"
        assert store.add("a", "user", "look", images=[StoredImage("image/png", GOOD)])
        store.close()


def test_images_by_the_routes() -> None:
    with serving(most_images=2, image_bytes=1000) as live:
        here = f"/api/conversations/{live.ask('/api/conversations', {})[1]['id']}"
        good = url_of(GOOD)
        assert live.ask(f"{here}/messages", {"role": "user", "content": "", "images": [good, good]})[0] == 201
        assert live.ask(here)[1]["messages"][0]["images"] == [good, good]
        assert good in live.ask(f"{here}/export?format=markdown")[1]
        assert "messages" not in live.ask(here, {"title": "new"}, "PATCH")[1]
        svg = HOSTILE["a drawing that says so"]
        for images, param in (([good] * 3, "images"), (["x"], "images[0]"), ([good, svg], "images[1]"),
                              ([url_of(bytes(2000))], "images[0]"), ([3], "images[0]"), ("x", "images"),
                              (["http://example.com/a.png"], "images[0]")):  # fmt: skip
            status, answer, _ = live.ask(f"{here}/messages", {"role": "user", "content": "", "images": images})
            assert status == 400 and answer["error"]["param"] == param, answer
