"""Images on the chat page: dropped, pasted and picked, sent, kept, and shown again."""

from __future__ import annotations

import base64
import io

import pytest
from live import Live, seeing_model, until
from pictures import GOOD, encoded
from PIL import Image

RED, BLUE = GOOD, encoded(Image.new("RGB", (40, 40), (20, 40, 220)))
NOISE = encoded(seeing_model.picture(20, 30, 4), "JPEG")
MAKE = """(files) => {
    const transfer = new DataTransfer();
    for (const [name, type, content] of files) {
        const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type }));
    }
    return transfer;
}"""


def transfer(page, *files: tuple[str, str, bytes]):
    """What is dropped or pasted."""
    return page.evaluate_handle(MAKE, [[name, kind, base64.b64encode(data).decode()] for name, kind, data in files])


def drop(page, *files: tuple[str, str, bytes]) -> None:
    given = transfer(page, *files)
    for event in ("dragover", "drop"):
        page.dispatch_event("#thread", event, {"dataTransfer": given})


def paste(page, *files: tuple[str, str, bytes], text: str = "") -> bool:
    """Whether the page let the browser paste as it would."""
    return page.evaluate(
        """([transfer, text]) => {
            if (text) transfer.setData("text/plain", text);
            return document.querySelector("#composer-text").dispatchEvent(
                new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
        }""",
        [transfer(page, *files), text],
    )


def wait_for_thumbnails(page, count: int) -> None:
    until(lambda: page.locator(".attachment img").count() == count)


def kept(page) -> dict:
    return page.evaluate("fetch('/api/conversations/' + location.hash.slice(1)).then(a => a.json())")


def pictures_of(message: dict) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in message["images"]]


def send(page, text: str = "") -> None:
    page.fill("#composer-text", text)
    page.click("#send")
    page.wait_for_selector(".message.assistant:last-child:not(.live) .actions")
    page.wait_for_selector("body:not(.busy)")


@pytest.fixture
def short(seeing_page):
    """Answers of a few tokens."""
    seeing_page.click("#panel-open")
    seeing_page.fill("#set-max_tokens", "4")
    seeing_page.click("[aria-label='Close settings']")
    return seeing_page


def test_dropped_and_pasted_images_are_sent_and_there_after_a_reload(short, seeing_server: Live) -> None:
    page = short
    drop(page, ("red.png", "image/png", RED))
    wait_for_thumbnails(page, 1)
    assert paste(page, ("blue.png", "image/png", BLUE)) is False
    wait_for_thumbnails(page, 2)
    assert [page.locator(".attachment img").nth(index).get_attribute("alt") for index in (0, 1)] == [
        "red.png",
        "blue.png",
    ]
    assert page.inner_text("#status") == "blue.png is added to the message."
    before = seeing_server.service.worker.engine.encoder.encoded
    send(page, "what are these?")
    assert page.locator(".attachment").count() == 0 and not page.is_visible("#attachments")
    assert page.locator(".message.user .picture img").count() == 2
    assert seeing_server.service.worker.engine.encoder.encoded > before
    message = kept(page)["messages"][0]
    assert [picture.getpixel((0, 0)) for picture in pictures_of(message)] == [(200, 30, 40), (20, 40, 220)]
    page.reload()
    page.wait_for_selector(".message.user .picture img")
    assert page.evaluate("[...document.querySelectorAll('.picture img')].map(one => one.naturalWidth)") == [24, 40]
    assert page.locator(".picture img").nth(1).get_attribute("alt") == "Image 2 of 2"


def test_later_turns_and_answers_see_the_images(short, seeing_server: Live) -> None:
    page = short
    bodies: list[dict] = []
    page.on("request", lambda request: bodies.append(request.post_data_json) if "completions" in request.url else None)
    drop(page, ("noise.jpg", "image/jpeg", NOISE))
    wait_for_thumbnails(page, 1)
    send(page, "first")
    send(page, "second")
    page.click(".message.assistant:last-child [aria-label='Regenerate']")
    until(lambda: page.evaluate("document.querySelector('.switcher span')?.textContent === '2/2'"))
    page.wait_for_selector("body:not(.busy)")
    url = f"data:image/jpeg;base64,{base64.b64encode(NOISE).decode()}"
    first = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "first"}]
    assert [body["messages"][0]["content"] for body in bodies] == [first] * 3
    assert [body["messages"][-1]["content"] for body in bodies[1:]] == ["second"] * 2


def test_an_edited_message_keeps_its_images(short) -> None:
    page = short
    drop(page, ("red.png", "image/png", RED))
    wait_for_thumbnails(page, 1)
    send(page, "one")
    page.focus("#composer-text")
    page.keyboard.press("ArrowUp")
    assert page.locator(".editor .picture").count() == 1
    page.fill(".edit-text", "two")
    page.keyboard.press("Enter")
    until(lambda: page.evaluate("document.querySelector('.user .switcher span')?.textContent === '2/2'"))
    page.wait_for_selector("body:not(.busy)")
    users = [message for message in kept(page)["messages"] if message["role"] == "user"]
    assert [message["content"] for message in users] == ["one", "two"] and users[0]["images"] == users[1][
        "images"
    ] != []


def test_picking_removing_and_sending_without_words(short) -> None:
    page = short
    assert page.is_disabled("#send")
    with page.expect_file_chooser() as chooser:
        page.click("[aria-label='Add images']")
    assert chooser.value.is_multiple()
    chooser.value.set_files([{"name": name, "mimeType": "image/png", "buffer": data}
                             for name, data in (("a.png", RED), ("b.png", BLUE), ("c.png", RED))])  # fmt: skip
    wait_for_thumbnails(page, 3)
    page.focus(".attachment:first-child button")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Remove b.png"
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.locator(".attachment").count() == 0
    assert page.evaluate("document.activeElement.id") == "composer-text" and page.is_disabled("#send")
    drop(page, ("a.png", "image/png", RED))
    wait_for_thumbnails(page, 1)
    send(page)
    assert page.inner_text("#title") == "Image" and page.locator(".bubble").count() == 0
    assert kept(page)["messages"][0]["content"] == ""


def test_large_images_are_made_smaller_and_others_become_png(short) -> None:
    page = short
    wide = encoded(Image.new("RGB", (5000, 100), (9, 99, 199)), "JPEG")
    clear = encoded(Image.new("RGBA", (3000, 30), (0, 0, 0, 0)))
    bitmap = encoded(Image.new("RGB", (8, 8), (1, 2, 3)), "BMP")
    drop(page, ("wide.jpg", "image/jpeg", wide), ("clear.png", "image/png", clear), ("old.bmp", "image/bmp", bitmap))
    wait_for_thumbnails(page, 3)
    send(page, "large")
    found = pictures_of(kept(page)["messages"][0])
    assert [(picture.format, picture.size) for picture in found] == [
        ("JPEG", (2048, 41)), ("PNG", (2048, 20)), ("PNG", (8, 8))]  # fmt: skip
    assert found[1].convert("RGBA").getpixel((5, 5))[3] == 0 and found[2].convert("RGB").getpixel((0, 0)) == (1, 2, 3)


def test_files_that_are_no_images_get_a_sentence(seeing_page) -> None:
    page = seeing_page
    drop(page, ("broken.png", "image/png", RED[:30]), ("good.png", "image/png", RED))
    wait_for_thumbnails(page, 1)
    assert page.inner_text("#attach-note") == "broken.png is no image that this browser can read."
    drop(page, ("notes.txt", "text/plain", b"words"))
    assert page.inner_text("#attach-note") == "Images alone can be dropped here."
    drop(page, ("good.png", "image/png", RED))
    wait_for_thumbnails(page, 2)
    assert not page.is_visible("#attach-note")
    assert paste(page, ("cells.png", "image/png", RED), text="a table's cells") is True
    assert page.locator(".attachment").count() == 2


def test_an_image_is_shown_larger(short) -> None:
    page = short
    drop(page, ("blue.png", "image/png", BLUE))
    wait_for_thumbnails(page, 1)
    send(page, "look")
    page.click(".picture")
    assert page.is_visible(".dialog .shown") and page.inner_text("#dialog-title") == "Image"
    page.keyboard.press("Escape")
    assert not page.is_visible(".dialog")


def test_a_refused_image_is_told_in_the_thread(short, monkeypatch) -> None:
    page = short
    answer = {"status": 400, "content_type": "application/json", "body": '{"error": {"message": "It is damaged."}}'}
    page.route("**/v1/chat/completions", lambda route: route.fulfill(**answer), times=1)
    drop(page, ("blue.png", "image/png", BLUE))
    wait_for_thumbnails(page, 1)
    page.click("#send")
    page.wait_for_selector(".failure")
    assert page.inner_text(".failure p") == "It is damaged." and page.locator(".picture").count() == 1


def test_it_leaves_with_the_conversation(short) -> None:
    page = short
    drop(page, ("red.png", "image/png", RED))
    wait_for_thumbnails(page, 1)
    send(page, "red")
    for kind in ("markdown", "json"):
        page.click("#export summary")
        with page.expect_download() as download:
            page.click(f"[data-format={kind}]")
        assert base64.b64encode(RED).decode() in download.value.path().read_text()


def test_nothing_is_offered_for_a_model_that_reads_text_alone(page) -> None:
    assert not page.is_visible("#attach")
    drop(page, ("red.png", "image/png", RED))
    assert paste(page, ("red.png", "image/png", RED)) is True
    page.wait_for_timeout(200)
    assert page.locator(".attachment").count() == 0 and not page.is_visible("#attach-note")


def test_a_narrow_page_and_names_for_readers_of_the_screen(short) -> None:
    page = short
    page.set_viewport_size({"width": 360, "height": 640})
    drop(page, *[(f"{number}.png", "image/png", RED) for number in range(7)])
    wait_for_thumbnails(page, 7)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("document.querySelector('#send').getBoundingClientRect().bottom") <= 640
    unnamed = page.evaluate("""[...document.querySelectorAll('button, input, textarea')].filter(one =>
        !(one.textContent.trim() || one.ariaLabel || one.labels?.length || one.querySelector('img[alt]')))
        .map(one => one.outerHTML)""")
    assert unnamed == [] and page.locator(".field img:not([alt])").count() == 0
    send(page, "many")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_long_thread_scrolls_in_its_own_area(short) -> None:
    page = short
    page.set_viewport_size({"width": 390, "height": 500})
    drop(page, *[(f"{number}.png", "image/png", RED) for number in range(5)])
    wait_for_thumbnails(page, 5)
    send(page, "one")
    send(page, "two")
    page.evaluate("document.querySelector('#scroller').scrollTop = 0")
    assert page.evaluate("document.documentElement.scrollHeight") == 500
    assert page.evaluate("document.querySelector('.main').scrollHeight") == 500


def test_images_that_are_too_large_together_are_refused_one_by_one(seeing_page) -> None:
    page = seeing_page
    large = encoded(seeing_model.picture(980, 1000, 1))  # noise, which no format makes small
    assert 2.5e6 < len(large) < 3 * 2**20
    drop(page, *[(f"{number}.png", "image/png", large) for number in range(6)])
    wait_for_thumbnails(page, 5)
    until(lambda: page.is_visible("#attach-note"))
    assert page.inner_text("#attach-note") == "5.png is too much: the images of a message are too large together."
