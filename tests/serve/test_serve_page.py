"""The chat page in a real browser."""

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


def test_an_answer_comes_is_kept_and_found_again(page, page_server: Live) -> None:
    setting(page, max_tokens=20, seed=1)
    ask(page, "hello world")
    expected = page_server.client().chat.completions.create(
        model="small", messages=[{"role": "user", "content": "hello world"}], max_tokens=20, seed=1, temperature=0.7,
        top_p=0.95,
    )  # fmt: skip
    kept = page.evaluate("fetch('/api/conversations/' + location.hash.slice(1)).then(a => a.json())")
    assert [message["role"] for message in kept["messages"]] == ["user", "assistant"]
    assert kept["messages"][1]["content"] == expected.choices[0].message.content
    assert kept["messages"][1]["details"]["tokens"] == expected.usage.completion_tokens
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


def test_errors_are_shown_and_tried_again(page) -> None:
    setting(page, max_tokens=4)
    ask(page, "hello")
    setting(page, max_tokens=5000)
    page.fill("#composer-text", "more")
    page.keyboard.press("Enter")
    assert "context is 400 tokens" in page.inner_text(".failure p")
    setting(page, max_tokens=4)
    page.click(".failure button")
    until(lambda: page.evaluate("document.querySelectorAll('.assistant .actions').length === 2"))


def test_a_key_is_asked_for(browser) -> None:
    with serving(keys=("secret",)) as live:
        page = browser.new_page()
        page.goto(live.url)
        page.fill(".dialog input", "secret")
        page.keyboard.press("Enter")
        page.wait_for_selector(".welcome")
        assert page.input_value("#model") == "small"
        page.close()
