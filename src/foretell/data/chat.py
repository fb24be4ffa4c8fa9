"""The one chat renderer: messages to text and ids, the same for training, evaluation and serving.

Templates are Jinja, rendered in a sandbox with the functions and the block rules that transformers gives them, so that
a model's own template means here what it means there.

**No injection.** In what a template writes, special tokens become their ids; in what a message, a tool or a variable
holds, ``<|im_end|>`` is eight characters of text. The two are told apart so: before rendering, every special token in
the given strings is broken by a guard (a private-use character after its first letter; also where a string ends in the
first letters of one). Templates can trim, split and test the strings as ever. After rendering, only the template's own
special tokens are whole; the text is cut at them, guards are taken out, and what lies between is encoded as text that
yields no special token. A rendering without guards goes through the backend in one piece, as in transformers.

**Images.** A part ``{"type": "image"}`` or ``{"type": "image_url"}`` of a message is one image token where it stands;
:meth:`EncodedChat.expand` puts the image's whole run of tokens in its place. In what a message's text holds, the
token's name is text like any other. Templates of models that read images go through lists of parts and write the token
themselves; which do is found by trying. Others get one string with a mark for each image.

**Loss masks.** ``{% generation %}`` puts a pair of marks around what the assistant says. Where a template has none, the
spans follow from rendering the conversation up to each answer and after it; one that begins it begins after the
generation prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from foretell.core.errors import UserError
from foretell.data.images import ImageTokens
from foretell.data.messages import Message, checked_messages, images_joined, strings_parted
from foretell.data.tokenizer import Tokenizer

PRIVATE_USE = range(0xE000, 0xF8FF)
PROBE = "Zq7"  # a content that no template holds


class Marks(NamedTuple):
    """Characters that occur in no input of a rendering: the guard, both ends of what the assistant says, an image."""

    guard: str
    start: str
    end: str
    image: str


@dataclass(frozen=True)
class EncodedChat:
    """A conversation as ids.

    Attributes:
        ids: all of it.
        assistant: one flag an id, true for what the assistant says, its end-of-turn token among it.
    """

    ids: list[int]
    assistant: list[bool]

    def expand(self, tokens: ImageTokens, grids: Sequence[tuple[int, int]]) -> EncodedChat:
        """The same with the whole run of each image, of ``grids`` rows and columns of patches; runs are never learned.

        Raises:
            UserError: where the messages have not as many images.
        """
        runs = tokens.runs(self.ids, grids)
        flags = zip(runs, self.ids, self.assistant, strict=True)
        assistant = [mark and number != tokens.image for run, number, mark in flags for _ in run]
        return EncodedChat([token for run in runs for token in run], assistant)

    def spelled(self, tokenizer: Tokenizer) -> EncodedChat:
        """The same with what the assistant says in tokens of one character each, where the tokenizer has them."""
        ids: list[int] = []
        assistant: list[bool] = []
        for number, mark in zip(self.ids, self.assistant, strict=True):
            text = tokenizer.decode([number]) if mark else ""
            letters = [token for letter in text for token in tokenizer.encode(letter)]
            same = text and tokenizer.decode_bytes(letters) == tokenizer.decode_bytes([number])
            run = letters if same else [number]
            ids += run
            assistant += [mark] * len(run)
        return EncodedChat(ids, assistant)


class _Generation(Extension):
    """``{% generation %}...{% endgeneration %}``: its content between the environment's marks."""

    tags = {"generation"}  # noqa: RUF012 (jinja2's own protocol)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        marks: Marks = self.environment.marks  # type: ignore[attr-defined]
        first, last = (nodes.Output([nodes.TemplateData(mark)], lineno=line) for mark in (marks.start, marks.end))
        return [first, *body, last]


class _Refusal(jinja2.TemplateError):
    """A template's own ``raise_exception``."""


def _refuse(message: str) -> None:
    raise _Refusal(message)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None,
             separators: tuple[str, str] | None = None, sort_keys: bool = False) -> str:  # fmt: skip
    # Jinja's own filter escapes for HTML, which would change what a model reads.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@lru_cache(maxsize=16)
def _compiled(source: str, marks: Marks) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.marks = marks  # type: ignore[attr-defined]
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda layout: datetime.now().strftime(layout)
    try:
        return environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"The chat template is not valid Jinja: line {error.lineno}, {error.message}.") from error


def _strings(value: Any) -> Iterator[str]:
    """All strings inside a value of mappings and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _strings(key)
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


class ChatTemplate:
    """A chat template and the tokenizer whose special tokens it writes."""

    def __init__(self, source: str, tokenizer: Tokenizer, image_token: str | None = None) -> None:
        """Compile it; ``image_token`` is the special token of a model that reads images.

        Raises:
            UserError: where it is not valid Jinja, or the tokenizer has no such token.
        """
        self.source = source
        self.tokenizer = tokenizer
        self.image_token = image_token
        if image_token is not None:
            tokenizer.special_token_id(image_token)
        _compiled(source, self._marks([]))

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> str:
        """The conversation as text, as transformers renders it.

        Args:
            messages: each with ``role`` and ``content``, a string or a list of ``{"type": "text", "text": ...}``.
            add_generation_prompt: end with the opening of the assistant's next turn.
            tools: JSON schemas of functions, for templates that offer them.
            variables: whatever else the template reads, such as ``enable_thinking``.

        Raises:
            UserError: where a message is malformed, or the template refuses it or fails.
        """
        raw, marks = self._marked(messages, add_generation_prompt, tools, variables)
        return re.sub("|".join(marks), "", raw)

    def encode(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> list[int]:
        """The conversation as ids. Arguments and errors are those of :meth:`render`."""
        raw, marks = self._marked(messages, add_generation_prompt, tools, variables)
        return self._encoded(re.sub(f"{marks.start}|{marks.end}", "", raw), marks.guard)[0]

    def encode_for_training(
        self, messages: Sequence[Message], *, tools: Sequence[Mapping[str, Any]] | None = None, **variables: Any
    ) -> EncodedChat:
        """The conversation as ids with the assistant's turns marked, for losses that count these only.

        An id is the assistant's if its last character is. Arguments and errors are those of :meth:`render`.

        Raises:
            UserError: also where the template has no ``{% generation %}`` and writes earlier turns in another way once
                later ones follow, so that the spans cannot be told.
        """
        raw, marks = self._marked(messages, False, tools, variables)
        text, spans = _spans(raw, marks)
        if not spans:
            spans = self._derived_spans(messages, text, marks.guard, tools, variables)
        ids, ends = self._encoded(text, marks.guard)
        # Ends count characters of the text without guards.
        guards = [place for place, letter in enumerate(text) if letter == marks.guard]
        bare = [tuple(place - sum(guard < place for guard in guards) for place in span) for span in spans]
        return EncodedChat(ids, [any(first < end <= last for first, last in bare) for end in ends])

    def _marks(self, given: Any) -> Marks:
        taken = {letter for text in (self.source, *_strings(given)) for letter in text}
        free = (chr(code) for code in PRIVATE_USE if chr(code) not in taken)
        try:
            return Marks(next(free), next(free), next(free), next(free))
        except StopIteration as error:
            raise UserError("The messages use up all private-use characters; the renderer needs four.") from error

    def _marked(
        self, messages: Sequence[Message], prompt: bool, tools: Any, variables: Mapping[str, Any]
    ) -> tuple[str, Marks]:
        """The rendering with its guards and marks in it."""
        checked = checked_messages(messages, images=self.image_token is not None)
        if self._reads_parts and not self._reads_strings:
            checked = strings_parted(checked)
        given = {"messages": checked, "tools": tools, "documents": None, **variables}
        marks = self._marks(given)
        if not self._reads_parts:
            given["messages"] = images_joined(checked, marks.image)
        return self._rendered(given, marks, prompt).replace(marks.image, self.image_token or ""), marks

    def _rendered(self, given: Mapping[str, Any], marks: Marks, prompt: bool) -> str:
        template = _compiled(self.source, marks)
        guarded = {key: self._guarded(value, marks.guard) for key, value in given.items()}
        try:
            return template.render(**self.tokenizer.named_tokens, **guarded, add_generation_prompt=prompt)
        except _Refusal as error:
            raise UserError(f"The chat template refuses these messages: {error}") from error
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise UserError(f"The chat template cannot render these messages ({error}).") from error

    @cached_property
    def _reads_parts(self) -> bool:
        """Whether the template writes the image token and the text of a list of parts."""
        return self.image_token is not None and self._writes(
            [{"type": "image"}, {"type": "text", "text": PROBE}], self.image_token, PROBE
        )

    @cached_property
    def _reads_strings(self) -> bool:
        """Whether the template writes a content that is a string."""
        return self._writes(PROBE, PROBE)

    def _writes(self, content: Any, *wanted: str) -> bool:
        messages = [{"role": "user", "content": content}]
        given = {"messages": messages, "tools": None, "documents": None}
        try:
            text = self._rendered(given, self._marks(messages), True)
        except UserError:
            return False
        return all(text.count(words) == 1 for words in wanted)

    @cached_property
    def _special(self) -> re.Pattern[str]:
        """Any special token, with the spaces that it takes in; the longest first."""
        tokens = sorted(self.tokenizer.special_tokens.values(), key=lambda token: -len(token.content))
        patterns = [
            (r"\s*" if token.lstrip else "") + re.escape(token.content) + (r"\s*" if token.rstrip else "")
            for token in tokens
        ]
        return re.compile(f"({'|'.join(patterns)})" if patterns else r"((?!))")

    @cached_property
    def _breaks(self) -> re.Pattern[str]:
        """The first letter of every special token in a text, of overlapping ones too."""
        rests: dict[str, list[str]] = {}
        for text in self.tokenizer.special_tokens:
            rests.setdefault(text[0], []).append(re.escape(text[1:]))
        return re.compile("|".join(f"{re.escape(a)}(?={'|'.join(b)})" for a, b in rests.items()) or r"(?!)")

    @cached_property
    def _beginnings(self) -> tuple[str, ...]:
        """What a special token may begin with, short of all of it."""
        return tuple({text[:length] for text in self.tokenizer.special_tokens for length in range(1, len(text))})

    def _guarded(self, value: Any, guard: str) -> Any:
        if isinstance(value, str):
            broken = self._breaks.sub(lambda found: found.group() + guard, value)
            return broken + guard if value.endswith(self._beginnings) else broken
        if isinstance(value, Mapping):
            return {self._guarded(key, guard): self._guarded(inner, guard) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._guarded(inner, guard) for inner in value]
        return value

    def _encoded(self, text: str, guard: str) -> tuple[list[int], list[int]]:
        """Ids of a rendering, and for each the place after its last character in the text without guards."""
        if guard not in text:
            return self.tokenizer.encode_with_offsets(text, special=True)
        ids: list[int] = []
        ends: list[int] = []
        place = 0
        for number, part in enumerate(self._special.split(text)):
            if number % 2:
                token = part if part in self.tokenizer.special_tokens else part.strip()
                ids.append(self.tokenizer.special_token_id(token))
                ends.append(place + len(part))
            else:
                part = part.replace(guard, "")
                found, offsets = self.tokenizer.encode_with_offsets(part, special=False)
                ids += found
                ends += [place + offset for offset in offsets]
            place += len(part)
        return ids, ends

    def _derived_spans(
        self, messages: Sequence[Message], text: str, guard: str, tools: Any, variables: Mapping[str, Any]
    ) -> list[tuple[int, int]]:
        """Where each answer begins and ends in ``text``, from renderings of the conversation before and after it."""

        def rendered(count: int, prompt: bool) -> str:
            raw, marks = self._marked(messages[:count], prompt, tools, variables)
            return raw.replace(marks.guard, guard)

        spans = []
        for number, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            after = rendered(number + 1, False)
            before = rendered(number, True) if number else self._opening(after, tools, variables)
            if not (text.startswith(before) and text.startswith(after) and len(before) <= len(after)):
                raise UserError(
                    f"The chat template writes messages[{number}] in another way once others follow, so the "
                    "assistant's part cannot be told; put {% generation %} and {% endgeneration %} around it."
                )
            spans.append((len(before), len(self._without_separator(after))))
        return spans

    def _opening(self, first: str, tools: Any, variables: Mapping[str, Any]) -> str:
        """What stands before the content in ``first``, one answer alone; templates render nothing shorter."""
        question = [{"role": "user", "content": "x"}]
        asked, prompted = (self.render(question, add_generation_prompt=prompt, tools=tools, **variables)
                           for prompt in (False, True))  # fmt: skip
        opening = prompted[len(asked) :] if prompted.startswith(asked) else ""
        if not opening or first.count(opening) != 1:
            raise UserError(
                "messages[0] is the assistant's, and the chat template does not tell where its answer begins; begin "
                "with another role, or put {% generation %} and {% endgeneration %} around it."
            )
        return first[: first.index(opening) + len(opening)]

    def _without_separator(self, text: str) -> str:
        """Without the spaces after a last special token: they are the template's, after the turn."""
        stripped = text.rstrip()
        ends_turn = any(stripped.endswith(token) for token in self.tokenizer.special_tokens)
        return stripped if ends_turn else text


def _spans(raw: str, marks: Marks) -> tuple[str, list[tuple[int, int]]]:
    """A rendering without the assistant's marks, and the places that they stood at."""
    text = ""
    places: list[int] = []
    for part in re.split(f"({marks.start}|{marks.end})", raw):
        if part in (marks.start, marks.end):
            places.append(len(text))
        else:
            text += part
    return text, list(zip(places[0::2], places[1::2], strict=True))
