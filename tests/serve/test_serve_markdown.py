"""Markdown on the chat page, in a real browser: what it makes, and that no text can make it do anything else."""

import re

from hypothesis import given, settings
from hypothesis import strategies as some

RENDER = """async texts => {
  const { markdown } = await import('/static/markdown.js');
  return texts.map(text => {
    const box = document.createElement('div');
    const start = performance.now();
    box.append(...markdown(text));
    return [box.innerHTML, box.textContent, performance.now() - start,
            [...box.querySelectorAll('*')].map(one => one.tagName.toLowerCase()),
            [...box.querySelectorAll('a')].map(one => one.getAttribute('href')),
            [...box.querySelectorAll('*')].flatMap(one => one.getAttributeNames())];
  });
}"""
RENDERINGS = [
    ("a **b** *c* ~~d~~ `e*f*`", "<p>a <strong>b</strong> <em>c</em> <s>d</s> <code>e*f*</code></p>"),
    ("***both***", "<p><strong><em>both</em></strong></p>"),
    ("snake_case_name and 2 * 3 * 4", "<p>snake_case_name and 2 * 3 * 4</p>"),
    ("# One\n## Two #\ntext", "<h2>One</h2><h3>Two</h3><p>text</p>"),
    ("a\nb\n\nc", "<p>a<br>b</p><p>c</p>"),
    ("- a\n- b\n  - c\n1. d", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul><ol><li>d</li></ol>"),
    ("3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'),
    ("> a\n> > b", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>"),
    ("\\*a\\* <b>", "<p>*a* &lt;b&gt;</p>"),
    ("---", "<hr>"),
]
SAFE_TAGS = {
    "p", "strong", "em", "s", "code", "br", "hr", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "a",
    "span", "figure", "figcaption", "pre", "button", "svg", "path", "div", "table", "thead", "tbody", "tr", "th", "td",
    "input",
}  # fmt: skip
SAFE_NAMES = {"class", "href", "target", "rel", "tabindex", "type", "disabled", "start", "viewbox", "width", "height",
              "aria-hidden", "d"}  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](data:text/html,<script>alert(1)</script>)",
    "![a](https://evil.example/x.png)",
    "[a](&#106;avascript:alert(1))",
    '<https://a.example/"onmouseover=alert(1)>',
    "```<img src=x onerror=alert(1)>\n</code><script>\n```",
    "[a](\njavascript:alert(1))",
    "| <svg onload=alert(1)> |\n|---|\n| [x](vbscript:x) |",
    '[x](https://a.b/" onclick="y)',
    "[\u202ea](//evil.example)",
    "[a](java\tscript:alert(1))",
    "\x00<iframe src=javascript:alert(1)>",
]


def check_safe(results) -> None:
    for _, _, _, tags, targets, names in results:
        assert set(tags) <= SAFE_TAGS, set(tags) - SAFE_TAGS
        assert {name.lower() for name in names} <= SAFE_NAMES, set(names) - SAFE_NAMES
        assert all(re.match(r"(https?://|mailto:)", target) for target in targets), targets


def test_markdown(page) -> None:
    found = page.evaluate(RENDER, [text for text, _ in RENDERINGS])
    assert [result[0] for result in found] == [expected for _, expected in RENDERINGS]
    code, table, tasks = page.evaluate(RENDER, [
        "```python\nx = '<b>'\n\n```\nafter", "|a|b|\n|:-|-:|\n|1|2|", "- [x] done\n- [ ] open"])  # fmt: skip
    assert (
        "<code>x = '&lt;b&gt;'\n</code>" in code[0] and "<span>python</span>" in code[0] and code[1].endswith("after")
    )
    assert '<td class="right">2</td>' in table[0] and tasks[0].count("<input") == 2
    links = page.evaluate(RENDER, ['see https://a.example/x?y=1, or [this](http://b.example "t") <mailto:x>'])[0]
    assert links[4] == ["https://a.example/x?y=1", "http://b.example/"]


def test_hostile_texts_stay_texts(page) -> None:
    check_safe(page.evaluate(RENDER, HOSTILE))
    page.evaluate("() => { window.alert = () => { window.harmed = true } }")
    page.evaluate("""async texts => {
        const { markdown } = await import('/static/markdown.js');
        for (const text of texts) document.body.append(...markdown(text));
    }""", HOSTILE)  # fmt: skip
    page.wait_for_timeout(100)
    assert page.evaluate("window.harmed") is None


def test_long_hostile_texts_are_rendered_soon(page) -> None:
    parts = ["*", "_", "`", "[", "](", "**a ", "> ", "- ", "#", "|", "<", "![", "~~", " ", "`` ", "1. ", "\\", "h",
             "```", "-|", "* ", "a*", "[a](", "\n- ", "\n> ", "https://", "|-", "# #", "[a](x "]  # fmt: skip
    results = page.evaluate(RENDER, [part * (20_000 // len(part)) for part in parts])
    for part, result in zip(parts, results, strict=True):
        assert result[2] < 1500, (part, result[2])


PIECES = some.sampled_from(
    [*HOSTILE, *(text for text, _ in RENDERINGS), *"*_`[]()<>!#-|\n\\&;:\"' ", "javascript:", "\n\n", "  "]
)


def test_any_text_is_safe_and_loses_nothing(page) -> None:
    @settings(max_examples=60)
    @given(some.lists(some.lists(PIECES | some.text(max_size=6), max_size=12).map("".join), min_size=5, max_size=10))
    def check(texts: list[str]) -> None:
        results = page.evaluate(RENDER, texts)
        check_safe(results)
        for text, result in zip(texts, results, strict=True):
            letters = set(re.findall(r"[a-z]", "".join(re.findall(r"(?m)^[a-z ]+$", text))))
            assert letters <= set(result[1].lower() + result[0].lower())

    check()
