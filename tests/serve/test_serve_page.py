"""The chat page in a real browser."""

import re
import time

import pytest
from live import Live, serving, until


def setting(page, **values) -> None:
    page.click("#panel-open")
    for name, value in values.items():
        page.fill(f"#set-{name}", str(value))
    page.click("[aria-label='Close settings']")


def ask(page, text: str) -> None:
    page.fill("#composer-text", text)
    page.keyboard.press("Enter")
    page.wait_for_selector(".message.assistant:not(.live) .actions")
    page.wait_for_selector("body:not(.busy)")


def kept(page) -> dict:
    """The open conversation as the server has it."""
    return page.evaluate("fetch('/api/conversations/' + location.hash.slice(1)).then(a => a.json())")


def tree(page) -> list[tuple[str, int | None]]:
    """Its messages, each with the place of the one it follows."""
    messages = kept(page)["messages"]
    places = {message["id"]: place for place, message in enumerate(messages)}
    return [(message["role"], places.get(message["parent"])) for message in messages]


def test_an_answer_comes_is_kept_and_found_again(page, page_server: Live) -> None:
    setting(page, max_tokens=20, seed=1)
    ask(page, "hello world")
    expected = page_server.client().chat.completions.create(
        model="small", messages=[{"role": "user", "content": "hello world"}], max_tokens=20, seed=1, temperature=0.7,
        top_p=0.95,
    )  # fmt: skip
    messages = kept(page)["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[1]["content"] == expected.choices[0].message.content
    assert messages[1]["details"]["tokens"] == expected.usage.completion_tokens
    assert page.title() == "hello world · Foretell" and page.inner_text(".entry.current .open") == "hello world"
    shown = page.inner_text(".message.assistant .prose")
    page.reload()
    page.wait_for_selector(".message.assistant .actions")
    assert page.inner_text(".message.assistant .prose") == shown
    page.fill("#search", "no such thing")
    page.wait_for_selector(".none")
    page.fill("#search", "HELLO")
    page.wait_for_selector(".entry")


def test_branches_by_regenerating_and_editing(page) -> None:
    setting(page, max_tokens=8)
    ask(page, "one")
    page.click("[aria-label='Regenerate']")
    until(lambda: page.evaluate("document.querySelector('.assistant .switcher span')?.textContent === '2/2'"))
    page.wait_for_selector("body:not(.busy)")
    second = page.inner_text(".message.assistant .prose")
    page.click(".assistant [aria-label='Previous version']")
    until(lambda: page.evaluate("document.querySelector('.assistant .switcher span').textContent === '1/2'"))
    page.click(".assistant [aria-label='Next version']")
    until(lambda: page.evaluate("document.querySelector('.assistant .switcher span').textContent === '2/2'"))
    assert page.inner_text(".message.assistant .prose") == second
    page.focus("#composer-text")
    page.keyboard.press("ArrowUp")
    page.fill(".edit-text", "two")
    page.keyboard.press("Enter")
    until(lambda: page.evaluate("document.querySelector('.user .switcher span')?.textContent === '2/2'"))
    assert page.inner_text(".bubble") == "two"
    page.wait_for_selector("body:not(.busy)")
    page.click(".user [aria-label='Previous version']")
    until(lambda: page.evaluate("document.querySelector('.bubble').textContent === 'one'"))
    page.hover(".message.user")
    page.click(".user [aria-label='Edit']")
    page.fill(".edit-text", "three")
    page.keyboard.press("Escape")
    assert page.inner_text(".bubble") == "one"


def tokens_of(live: Live, question: str, seed: int) -> int:
    body = {"messages": [{"role": "user", "content": question}], "max_tokens": 350, "seed": seed, "temperature": 0.7,
            "top_p": 0.95}  # fmt: skip
    return live.ask("/v1/chat/completions", body)[1]["usage"]["completion_tokens"]


def test_escape_stops_an_answer(page, page_server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    long_seed = next(seed for seed in range(50) if tokens_of(page_server, "go on", seed) > 100)
    step = page_server.service.worker.engine.step
    monkeypatch.setattr(page_server.service.worker.engine, "step", lambda: time.sleep(0.02) or step())
    setting(page, max_tokens=350, seed=long_seed)
    page.fill("#composer-text", "go on")
    page.keyboard.press("Enter")
    until(lambda: page.evaluate("document.querySelector('.live .prose')?.textContent.length > 3"))
    assert page.get_attribute("#send", "aria-label") == "Stop"
    page.keyboard.press("Escape")
    page.wait_for_selector(".message.assistant:not(.live) .actions")
    assert "stopped" in page.inner_text(".facts") and page.get_attribute("#send", "aria-label") == "Send"
    page_server.wait_until_idle(3)


def test_token_probabilities(page) -> None:
    page.click("#panel-open")
    page.check("#set-probabilities")
    page.keyboard.press("Escape")
    setting(page, max_tokens=12, seed=3)
    ask(page, "hello")
    page.click("[aria-label='Token probabilities']")
    page.hover(".token >> nth=2")
    assert page.is_visible("#tooltip") and 5 <= page.locator("#tooltip .row").count() <= 6
    assert page.locator("#tooltip .chosen").count() == 1 and "%" in page.inner_text("#tooltip .chosen .share")
    page.focus(".tokens")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.locator(".token.selected").count() == 1
    page.click("[aria-label='Token probabilities']")
    assert page.locator(".token").count() == 0 and not page.is_visible("#tooltip")


def test_renaming_deleting_and_exporting(page, page_server: Live) -> None:
    setting(page, max_tokens=4)
    ask(page, "to be renamed")
    page.hover(".entry.current")
    page.click(".entry.current [aria-label^='Rename']")
    page.fill(".rename", "A new name")
    page.keyboard.press("Enter")
    until(lambda: page.evaluate("document.querySelector('#title').textContent === 'A new name'"))
    for kind, beginning in (("markdown", "# A new name\n\n## User\n\nto be renamed"), ("json", "{")):
        page.click("#export summary")
        with page.expect_download() as download:
            page.click(f"[data-format={kind}]")
        assert download.value.suggested_filename.startswith("A-new-name.")
        assert download.value.path().read_text().startswith(beginning)
    identity = page.url.partition("#")[2]
    page.hover(".entry.current")
    page.click(".entry.current [aria-label^='Delete']")
    page.click(".dialog .danger")
    page.wait_for_selector(".welcome")
    assert page_server.ask(f"/api/conversations/{identity}")[0] == 404


def test_keys_themes_and_a_narrow_page(page) -> None:
    page.keyboard.press("Control+k")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.press("Control+,")
    assert page.is_visible("#panel")
    page.keyboard.press("Escape")
    assert not page.is_visible("#panel") and page.evaluate("document.activeElement.id") == "composer-text"
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("x")
    assert page.input_value("#composer-text") == "\nx"
    page.click("#help")
    assert "New conversation" in page.inner_text(".keys") and "[object" not in page.inner_text(".keys")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Shift+O")
    colours = set()
    for _ in range(3):
        page.click("#theme")
        colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2
    page.set_viewport_size({"width": 360, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.click("#sidebar-open")
    until(lambda: page.evaluate("document.querySelector('#sidebar').getBoundingClientRect().left === 0"))
    page.keyboard.press("Escape")
    assert "with-sidebar" not in page.evaluate("document.body.className")
    unnamed = page.evaluate("""[...document.querySelectorAll('button, input, textarea, select, summary')].filter(one =>
        !(one.textContent.trim() || one.ariaLabel || one.labels?.length)).map(one => one.outerHTML)""")
    assert unnamed == []


def fail_once(page, body: str, status: int = 200) -> None:
    page.route("**/v1/chat/completions", lambda route: route.fulfill(
        status=status, content_type="text/event-stream", body=body), times=1)  # fmt: skip


PART = 'data: {"choices": [{"index": 0, "delta": {"content": "a part"}, "finish_reason": null}]}\n\n'
BROKEN = {
    "by an error": (PART + 'data: {"error": {"message": "The model failed."}}\n\n', "The model failed."),
    "by the network": (PART, "The connection to the server was lost."),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_answer_is_kept_beside_the_next_try(page, how: str) -> None:
    body, message = BROKEN[how]
    fail_once(page, body)
    setting(page, max_tokens=4)
    ask(page, "hello")
    assert page.inner_text(".assistant .prose") == "a part" and page.inner_text(".failure p") == message
    page.click(".failure button")
    until(lambda: page.evaluate("document.querySelector('.assistant .switcher span')?.textContent === '2/2'"))
    page.wait_for_selector("body:not(.busy)")
    assert tree(page) == [("user", None), ("assistant", 0), ("assistant", 0)]
    assert page.locator(".failure").count() == 0


def test_a_refused_question_is_answered_later(page) -> None:
    fail_once(page, '{"error": {"message": "The queue is full.", "code": "queue_full"}}', 429)
    setting(page, max_tokens=4)
    page.fill("#composer-text", "hello")
    page.keyboard.press("Enter")
    page.wait_for_selector(".failure")
    page.wait_for_selector(".entry.current")
    page.reload()  # as good as trying again
    page.click(".user [aria-label='Answer']")
    page.wait_for_selector(".message.assistant:not(.live) .actions")
    assert tree(page) == [("user", None), ("assistant", 0)]
    assert page.locator(".user [aria-label='Answer']").count() == 0


def test_two_clicks_ask_once(page) -> None:
    setting(page, max_tokens=4)
    page.evaluate("[1, 2].forEach(() => document.querySelector('.examples button').click())")
    page.wait_for_selector(".message.assistant:not(.live) .actions")
    page.wait_for_selector("body:not(.busy)")
    assert tree(page) == [("user", None), ("assistant", 0)]
    page.evaluate("[1, 2].forEach(() => document.querySelector('[aria-label=Regenerate]').click())")
    until(lambda: page.evaluate("document.querySelector('.assistant .switcher span')?.textContent === '2/2'"))
    page.wait_for_selector("body:not(.busy)")
    assert tree(page) == [("user", None), ("assistant", 0), ("assistant", 0)]
    page.evaluate("""() => {
        const text = document.querySelector('#composer-text');
        for (const word of ['one', 'two']) {
            text.value = word;
            text.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }));
        }
    }""")
    until(lambda: page.evaluate("document.querySelectorAll('.assistant .actions').length === 2"))
    page.wait_for_selector("body:not(.busy)")
    assert tree(page)[3:] == [("user", 2), ("assistant", 3)]
    assert page.input_value("#composer-text") == "two", "what cannot be sent yet is not lost"


def test_a_conversation_left_while_it_is_answered_blocks_no_other(page) -> None:
    setting(page, max_tokens=4)
    page.route("**/v1/chat/completions", lambda route: None, times=1)  # an answer that never comes
    page.fill("#composer-text", "left")
    page.keyboard.press("Enter")
    page.wait_for_selector(".live")
    left = page.evaluate("location.hash")
    assert left, "it can be loaded again while it is answered"
    page.click("#new-chat")
    page.wait_for_selector(".welcome")
    assert page.get_attribute("#send", "aria-label") == "Send" and page.evaluate("location.hash") == ""
    ask(page, "another")
    page.click(".entry .open[title=left]")
    until(lambda: page.evaluate("location.hash") == left)
    assert tree(page) == [("user", None)]
    page.click(".user [aria-label='Answer']")
    page.wait_for_selector(".message.assistant:not(.live) .actions")
    assert tree(page) == [("user", None), ("assistant", 0)]


def question_leaving(live: Live, room: int) -> str:
    """A question after which the context has room for so many tokens."""
    size = 0
    while True:
        content = "a " * size + "b"
        count = live.ask("/tokenize", {"messages": [{"role": "user", "content": content}]})[1]["count"]
        if count >= live.service.context - room:
            assert count == live.service.context - room
            return content
        size += max(1, (live.service.context - room - count) // 2)


@pytest.mark.parametrize("most", [None, 5000])
def test_an_answer_has_what_room_there_is(page, page_server: Live, most: int | None) -> None:
    if most:
        setting(page, max_tokens=most)
    ask(page, question_leaving(page_server, 3))
    assert kept(page)["messages"][1]["details"]["tokens"] <= 3 and page.locator(".failure").count() == 0
    page.fill("#composer-text", "more")
    page.keyboard.press("Enter")
    page.wait_for_selector(".failure")
    sentence = page.inner_text(".failure p")
    assert re.fullmatch(r"The prompt has \d+ tokens; the model's context is 400 tokens: shorten a message, "
                        r"or begin a new conversation\.", sentence), sentence  # fmt: skip


def test_a_conversation_remembers_its_model(page) -> None:
    setting(page, max_tokens=4)
    page.click("#new-chat")
    page.select_option("#model", "poet")
    assert "poet" in page.inner_text(".welcome p")
    ask(page, "of the poet")
    page.wait_for_selector(".entry.current")
    assert kept(page)["model"] == "poet"
    page.click("#new-chat")
    ask(page, "of the poet too")
    assert kept(page)["model"] == "poet"
    page.select_option("#model", "small")
    page.click("[aria-label='Regenerate']")
    until(lambda: kept(page)["model"] == "small")
    page.wait_for_selector("body:not(.busy)")
    page.click(".entry .open[title='of the poet']")
    until(lambda: page.inner_text("#title") == "of the poet")
    assert page.input_value("#model") == "poet"
    page.reload()
    page.wait_for_selector(".message")
    assert page.input_value("#model") == "poet"


def test_the_skip_link_keeps_the_address(page) -> None:
    setting(page, max_tokens=4)
    ask(page, "hello")
    page.wait_for_selector(".entry.current")
    address = page.evaluate("location.hash")
    page.focus("#skip")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "composer-text"
    assert page.evaluate("location.hash") == address != ""


def test_a_key_is_asked_for(browser) -> None:
    with serving(keys=("secret",)) as live:
        page = browser.new_page()
        page.goto(live.url)
        page.fill(".dialog input", "secret")
        page.keyboard.press("Enter")
        page.wait_for_selector(".welcome")
        assert page.input_value("#model") == "small"
        page.close()


def test_a_page_that_is_loaded_twice_at_once_keeps_its_conversation(page) -> None:
    setting(page, max_tokens=4)
    ask(page, "hello")
    page.wait_for_selector(".entry.current")
    address = page.evaluate("location.hash")
    page.route("**/api/conversations/*", lambda route: None, times=1)  # that never comes
    page.reload()
    page.wait_for_selector(".entry")
    assert page.evaluate("location.hash") == address != ""
    page.reload()
    page.wait_for_selector(".entry.current")
    page.evaluate("location.hash = 'none'")
    page.reload()
    page.wait_for_selector(".failure")
    until(lambda: page.evaluate("location.hash") == "")
