"""Markdown on the chat page, in a real browser: what it makes, and that no text can make it do anything else."""

import re

from hypothesis import given, settings
from hypothesis import strategies as some

RENDER = """async texts => {
  const { markdown } = await import('/static/markdown.js');
  return texts.map(text => {
    const box = document.createElement('div');
    box.append(markdown(text));
    return [box.innerHTML, box.textContent, [...box.querySelectorAll('*')].map(one => one.tagName.toLowerCase()),
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
    ("# ", "<h2></h2>"),
    ("- a\u2028b", "<ul><li>a\u2028b</li></ul>"),
    ("`` a`b ``", "<p><code>a`b</code></p>"),
    ("```a```", "<p><code>a</code></p>"),
    ("a|b\n---", "<p>a|b</p><hr>"),
]
# Texts and the code in them.
CODES = [
    ("```make\nall:\n\techo\ta\n```", "all:\n\techo\ta"),
    ("  ```\n  a\n\tb\n  ```", "a\n\tb"),
    ("- a\n\n\t```\n\tb:\n\t\tc\n\t```", "b:\n\tc"),
    ("1. a\n   ```\n   \tb\n   ```", "\tb"),
    ("- a\n\t```\n\tb\n\t```", "b"),
    ("> ```\n> \ta\n> ```", "\ta"),
    ("~~~ a `b`\nc\n~~~~", "c"),
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
    for _, _, tags, targets, names in results:
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
    links = page.evaluate(RENDER, ["see https://a.example/x?y=1, or [this](http://b.example \"t 'u'\") <mailto:x>"])[0]
    assert links[3] == ["https://a.example/x?y=1", "http://b.example/"]


def test_code_stays_as_it_was_written(page) -> None:
    found = page.evaluate("""async texts => {
        const { markdown } = await import('/static/markdown.js');
        return texts.map(text => {
            const box = document.createElement('div');
            box.append(markdown(text));
            return [...box.querySelectorAll('pre')].map(one => one.textContent);
        });
    }""", [text for text, _ in CODES])  # fmt: skip
    assert found == [[code] for _, code in CODES]


def test_a_table_may_follow_a_line_of_text(page) -> None:
    html = page.evaluate(RENDER, ["so:\n| a | b |\n| --- | --- |\n| 1 |\n| 2 | 3 | 4 |\nend"])[0][0]
    assert html.startswith("<p>so:</p>") and html.endswith("<p>end</p>")
    assert re.findall(r"<t[hd]>(.*?)</t[hd]>|(</tr>)", html) == [
        ("a", ""), ("b", ""), ("", "</tr>"), ("1", ""), ("", "</tr>"), ("2", ""), ("3", ""), ("", "</tr>"),
    ]  # fmt: skip


def test_hostile_texts_stay_texts(page) -> None:
    check_safe(page.evaluate(RENDER, HOSTILE))
    page.evaluate("() => { window.alert = () => { window.harmed = true } }")
    page.evaluate("""async texts => {
        const { markdown } = await import('/static/markdown.js');
        for (const text of texts) document.body.append(markdown(text));
    }""", HOSTILE)  # fmt: skip
    page.wait_for_timeout(100)
    assert page.evaluate("window.harmed") is None


LONG = 200_000
PARTS = ["*", "_", "`", "~", "[", "](", "**a ", "> ", "- ", "#", "|", "<", "![", "~~", " ", "`` ", "1. ", "\\", "h",
         "```", "-|", "* ", "a*", "[a](", "\n- ", "\n> ", "https://", "|-", "# #", "[a](x ", "\t", "|---", "|\n",
         "``` ", "~~~ ", "- \u2028", "#\n"]  # fmt: skip
ALMOST = [  # long lines that begin like something and end unlike it
    "~" * LONG + "`", "`" * LONG + "a`", "```" + " " * LONG + "`", "```a" + " " * LONG + "`",
    "|a|\n|-" + " " * LONG + "x|", "|a|\n" + "|---" * (LONG // 4) + "x", "# " + " " * LONG + "\u2028",
    "- [ ] " + " " * LONG + "\u2028", "[a](https://b.example/" + " x" * 1900 + ")" * LONG,
]  # fmt: skip
WIDE_TABLE = "\n".join(["|a" * 2000, "|-" * 2000, *["|"] * 20_000])  # filled up it would have 40 million cells


def test_long_hostile_texts_are_rendered(page) -> None:
    """What takes the square of the length does not end within any patience."""
    texts = [*(part * (LONG // len(part)) for part in PARTS), *ALMOST, WIDE_TABLE]
    page.evaluate("""texts => {
        setTimeout(async () => {
            const { markdown } = await import('/static/markdown.js');
            for (const text of texts) markdown(text);
            document.body.dataset.rendered = 'yes';
        });
    }""", texts)  # fmt: skip
    page.wait_for_selector("[data-rendered]", timeout=180_000)


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
