"""One server for the tests that change nothing about it.

What needs the extra 'serve' is imported where it is used: its absence skips the tests, not this file.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from foretell.model.hf import save_hf

if TYPE_CHECKING:
    from live import Live

CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
                      "--disable-sync", "--no-first-run"]  # fmt: skip


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    from live import serving

    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def client(live: Live):
    return live.client()


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model as a directory of Hugging Face's layout."""
    from live import small_model

    folder = tmp_path_factory.mktemp("models") / "small"
    small_model.tokenizer().save(folder)
    save_hf(small_model.decoder(), folder)
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Chromium without a network of its own."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def page_server() -> Iterator[Live]:
    from live import poet, serving

    with serving(adapters={"poet": poet()}) as server:
        yield server


@pytest.fixture(scope="session")
def seeing_server() -> Iterator[Live]:
    from live import seeing_chat, serving

    with serving(seeing_chat()) as server:
        yield server


@pytest.fixture
def page(browser, page_server: Live) -> Iterator:
    """The page of a model that reads text alone, as :func:`opened`."""
    yield from opened(browser, page_server)


@pytest.fixture
def seeing_page(browser, seeing_server: Live) -> Iterator:
    """The page of a model that reads images, as :func:`opened`."""
    yield from opened(browser, seeing_server)


def opened(browser, server: Live) -> Iterator:
    """A page that has been opened; anything asked of another place, or an error in a script, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    wrong: list[str] = []

    def asked(request) -> None:
        if not request.url.startswith((server.url, "blob:", "data:")):
            wrong.append(request.url)

    def said(message) -> None:
        if "Content Security" in message.text:
            wrong.append(message.text)

    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("console", said)
    page.on("request", asked)
    page.set_default_timeout(10_000)
    page.goto(server.url)
    page.wait_for_selector(".welcome")
    yield page
    context.close()
    assert not wrong
