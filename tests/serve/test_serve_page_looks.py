"""What the chat page looks like: contrast in both modes, and what phones and long texts need."""

import pytest
from live import Live

MARKDOWN = """# One

A `code`, *two*, [three](https://a.example) and a quotation:

> four

- [x] five

1. six

| seven | eight |
| --- | --- |
| nine | ten |

```text
eleven
```
"""
LOGPROBS = [[word, value, [[word, value]]] for word, value in
            (("a", -0.01), (" b", -0.4), (" c", -1), (" d", -2), (" e", -4))]  # fmt: skip
# Of each element with a text of its own, or a placeholder: its class and the contrast to what is behind it.
CONTRASTS = """() => {
  const paper = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = colour => {
    paper.clearRect(0, 0, 1, 1);
    paper.fillStyle = colour;
    paper.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paper.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map(at => top[at] * top[3] + below[at] * (1 - top[3]));
  const white = [255, 255, 255];
  const behind = one => one ? over(rgba(getComputedStyle(one).backgroundColor), behind(one.parentElement)) : white;
  const luminance = colour => {
    const [r, g, b] = colour.map(x => x / 255).map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, colour) => {
    const back = behind(one);
    const [low, high] = [luminance(over(rgba(colour), back)), luminance(back)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const written = one => [...one.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
  const found = [];
  for (const one of document.body.querySelectorAll('*')) {
    if (!one.checkVisibility() || one.disabled) continue;
    const add = colour => found.push([one.className || one.tagName, contrast(one, colour)]);
    if (written(one)) add(getComputedStyle(one).color);
    if (one.placeholder) add(getComputedStyle(one, '::placeholder').color);
  }
  return found;
}"""
AA = 4.5  # WCAG's least contrast of texts


def check_contrast(page, texts: int) -> None:
    found = page.evaluate(CONTRASTS)
    assert len(found) >= texts
    assert [(name, contrast) for name, contrast in found if contrast < AA] == []


def conversation(live: Live, *answers: str, **details) -> str:
    """The number of a conversation with these answers."""
    identity = live.ask("/api/conversations", {"title": "Looks", "model": "small"})[1]["id"]
    parent = None
    for answer in answers:
        for role, content in (("user", "Say something."), ("assistant", answer)):
            message = {"role": role, "content": content, "parent": parent, "details": details}
            parent = live.ask(f"/api/conversations/{identity}/messages", message)[1]["id"]
    return identity


def show(page, live: Live, identity: str) -> None:
    page.goto(f"{live.url}/#{identity}")
    page.reload()
    page.wait_for_selector(".entry.current", state="attached")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast(page, page_server: Live, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.reload()
    page.wait_for_selector(".welcome")
    check_contrast(page, 8)
    details = {"model": "small", "tokens": 5, "seconds": 1, "finish": "length", "logprobs": LOGPROBS}
    show(page, page_server, conversation(page_server, MARKDOWN, "b", **details))
    page.route("**/v1/chat/completions", lambda route: route.fulfill(
        status=429, json={"error": {"message": "The queue is full."}}))  # fmt: skip
    page.fill("#composer-text", "more")
    page.keyboard.press("Enter")
    page.wait_for_selector(".failure")
    page.click("#panel-open")
    page.click("[aria-label='Token probabilities'] >> nth=1")
    page.hover(".token >> nth=2")
    check_contrast(page, 60)
    page.keyboard.press("Escape")
    page.hover(".entry.current")
    page.click(".entry.current [aria-label^='Delete']")
    check_contrast(page, 40)
    page.click(".dialog .danger")


def test_the_way_to_the_end_is_above_a_long_message(page, page_server: Live) -> None:
    show(page, page_server, conversation(page_server, "a\n\n" * 80))
    page.fill("#composer-text", "b\n" * 30)
    page.evaluate("document.querySelector('#scroller').scrollTop = 0")
    page.wait_for_selector("#to-end")
    button, field = (page.locator(name).bounding_box() for name in ("#to-end", ".field"))
    assert button["y"] + button["height"] <= field["y"]
    page.click("#to-end")
    page.wait_for_selector("#to-end", state="hidden")


def test_a_phone_reaches_everything(browser, page_server: Live) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    wide = "\n".join(["|a very long cell" * 20, "|-" * 20])
    show(page, page_server, conversation(page_server, f"{MARKDOWN}\n{wide}"))
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.tap("#panel-open")
    assert page.evaluate("document.activeElement.id") == "panel-close", "a field would raise the keyboard"
    page.tap("#panel-close")
    assert page.evaluate("document.activeElement.id") == "panel-open"
    page.tap("#sidebar-open")
    page.tap(".entry.current [aria-label^='Rename']")
    page.fill(".rename", "From a phone")
    page.keyboard.press("Enter")
    page.wait_for_selector(".entry.current .open[title='From a phone']")
    context.close()
