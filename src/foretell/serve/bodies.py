"""What requests may hold: JSON to typed bodies, each mistake one sentence with field, value and what is accepted.

Unknown fields that would change an answer elsewhere are refused by name, and so are misspelt ones; others are ignored.
"""

from __future__ import annotations

import difflib
import itertools
import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    field_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, core_schema, from_json

from foretell.serve.errors import APIError, bad_request

MOST_STOPS = 4
MOST_TRIES = 20
SHOWN = 80  # characters of a wrong value in a message
LONGEST_NAME = 40  # characters of an unknown field that may be a misspelt one
MOST_LOOKED_AT = 50  # unknown fields that are compared with the known ones
EXPECTED = {
    "string_type": "a string", "int_type": "a whole number", "float_type": "a number", "bool_type": "true or false",
    "list_type": "a list", "dict_type": "an object", "model_type": "an object", "model_attributes_type": "an object",
    "int_from_float": "a whole number", "finite_number": "a finite number",
}  # fmt: skip
# Options of other servers and of OpenAI's own models that would make another answer.
REFUSED = frozenset((
    "audio", "bad_words", "chat_template", "chat_template_kwargs", "continue_final_message", "dry_multiplier",
    "early_stopping", "function_call", "functions", "grammar", "guided_choice", "guided_grammar", "guided_json",
    "guided_regex", "ignore_eos", "length_penalty", "logits_processors", "min_tokens", "mirostat", "mirostat_eta",
    "mirostat_tau", "moderation", "prompt_logprobs", "stop_token_ids", "structured_outputs", "suffix", "tfs_z",
    "top_a", "truncate_prompt_tokens", "typical_p", "use_beam_search", "web_search_options", "xtc_probability",
    "xtc_threshold",
))  # fmt: skip

LARGEST = 2**63 - 1


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True)
class Within:
    """A range of a whole number, for the check and for the OpenAPI document; 3.0 is whole as JSON Schema has it."""

    low: int
    high: int = LARGEST

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the range once the type is right."""
        checked = core_schema.no_info_after_validator_function(self._checked, handler(source))
        return core_schema.no_info_before_validator_function(_whole, checked)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The type and its range."""
        return {**handler(schema), "minimum": self.low, "maximum": self.high}

    def _checked(self, value: int) -> int:
        if not self.low <= value <= self.high:
            if abs(value) > LARGEST:
                raise ValueError("a whole number of 64 bits is accepted")
            most = "on" if self.high == LARGEST else f"to {self.high}"
            raise ValueError(f"a number from {self.low} {most} is accepted")
        return value


Whole = Annotated[int, Within(-LARGEST - 1)]
Position = Annotated[int, Within(0)]
Choices = Annotated[int, Within(1, 128)]
Tries = Annotated[int, Within(1, MOST_TRIES)]
Alternatives = Annotated[int, Within(0, 20)]
FIRST_FAULT = Field(fail_fast=True)  # of a list; the faults of all its members would take a hundred times the body
Objects = Annotated[list[dict[str, Any]], FIRST_FAULT]
B = TypeVar("B", bound="Body")


class Body(BaseModel):
    """Base of all bodies; ``null`` is the same as leaving a field out."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
    refused: ClassVar[frozenset[str]] = frozenset()


class StreamOptions(Body):
    """How a stream is sent."""

    include_usage: bool | None = None


class Generation(Body):
    """What chat and plain completions have in common; ranges are those of the sampler."""

    refused: ClassVar[frozenset[str]] = REFUSED

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Choices | None = None
    seed: Whole | None = None
    stop: Any = Field(default=None, description="a string, or a list of up to four")
    temperature: float | None = None
    top_p: float | None = None
    top_k: Position | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    user: Any = None

    @field_validator("stop")
    @classmethod
    def _texts(cls, value: Any) -> tuple[str, ...]:
        found = [] if value is None else [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
            raise ValueError("a string or a list of strings, none of them empty, is expected")
        if len(found) > MOST_STOPS:
            raise ValueError(f"at most {MOST_STOPS} strings are accepted")
        return tuple(found)

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end the answer."""
        return self.stop or ()

    @field_validator("logit_bias", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        if isinstance(value, dict) and any(type(one) not in (int, float) for one in value.values()):
            raise ValueError("a number for each token id is expected")  # here, for a dictionary lists all its faults
        return value

    @property
    def choices(self) -> int:
        """Answers that are wanted."""
        return self.n or 1


class ChatBody(Generation):
    """``/v1/chat/completions``."""

    messages: Objects
    max_tokens: Annotated[int, Within(1)] | None = None
    max_completion_tokens: Annotated[int, Within(1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Alternatives | None = None
    response_format: dict[str, Any] | None = None
    tools: Objects | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    modalities: Annotated[list[str], FIRST_FAULT] | None = None
    metadata: Any = None
    store: Any = None

    @field_validator("modalities")
    @classmethod
    def _text_only(cls, value: list[str] | None) -> list[str] | None:
        if value and value != ["text"]:
            raise ValueError('["text"] is accepted')
        return value


class CompletionBody(Generation):
    """``/v1/completions``."""

    prompt: Any = Field(description="a string, a list of strings, a list of token ids, or a list of such lists")
    max_tokens: Position | None = None
    echo: bool | None = None
    best_of: Tries | None = None
    logprobs: Alternatives | None = None

    @field_validator("prompt")
    @classmethod
    def _prompts(cls, value: Any) -> list[str | list[int]]:
        if isinstance(value, str):
            return [value]
        if (ids := _ids(value)) is not None:
            return [ids]
        found = [one if isinstance(one, str) else _ids(one) for one in value] if isinstance(value, list) else []
        prompts = [one for one in found if one is not None]
        if prompts and len(prompts) == len(found):
            return prompts
        raise ValueError("a string, a list of strings, a list of token ids or a list of such lists is expected")


class TokenizeBody(Body):
    """``/tokenize``: of a prompt, or of messages as the chat template writes them."""

    model: str | None = None
    prompt: str | None = None
    messages: Objects | None = None
    tools: Objects | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    return_token_strs: bool | None = None
    refused: ClassVar[frozenset[str]] = REFUSED - {"suffix"}


class DetokenizeBody(Body):
    """``/detokenize``."""

    model: str | None = None
    tokens: Annotated[list[Position], FIRST_FAULT]


class NewConversation(Body):
    """``POST /api/conversations``."""

    title: str = Field(default="", max_length=200)
    system: str = ""
    model: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)


class ConversationChange(Body):
    """``PATCH /api/conversations/{id}``: what is given replaces what is there."""

    title: str | None = Field(default=None, max_length=200)
    system: str | None = None
    model: str | None = None
    settings: dict[str, Any] | None = None
    leaf: Position | None = None


class NewMessage(Body):
    """``POST /api/conversations/{id}/messages``; ``parent`` is the message it follows."""

    role: Literal["user", "assistant"]
    content: str
    parent: Position | None = None
    details: dict[str, Any] = Field(default_factory=dict)
    images: Annotated[list[str], FIRST_FAULT] = Field(default=[])


def parse(model: type[B], data: bytes) -> B:
    """Read a request's body.

    Raises:
        APIError: 400, naming the first field that is wrong.
    """
    try:
        values = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise bad_request(f"The body is not JSON ({error}).", code="invalid_json") from error
    if not isinstance(values, dict):
        raise bad_request(f"The body is {_shown(values)}; an object is expected.")
    try:
        body = model.model_validate(values)
    except ValidationError as error:
        raise _refusal(error.errors()[0]) from error
    except OverflowError as error:
        raise bad_request(f"A number in the body is too large ({error}).") from error
    _check_unknown(body, "")
    return body


def _check_unknown(body: Body, prefix: str) -> None:
    known, given = type(body).model_fields, body.__pydantic_extra__ or {}
    unknown = [name for name, value in given.items() if value is not None]
    refused = next((name for name in unknown if name in body.refused), None)
    if refused is not None:
        raise bad_request(f"{prefix}{refused} is not supported here; leave it out.", prefix + refused, "unsupported")
    for name in unknown[:MOST_LOOKED_AT]:
        if len(name) <= LONGEST_NAME and (near := difflib.get_close_matches(name, known, n=1, cutoff=0.85)):
            raise bad_request(f"{prefix}{name} is not known; did you mean {near[0]}?", prefix + name)
    for name in known:
        if isinstance(inner := getattr(body, name), Body):
            _check_unknown(inner, f"{prefix}{name}.")


def _refusal(detail: ErrorDetails) -> APIError:
    name = _path(detail["loc"])
    if detail["type"] == "missing":
        return bad_request(f"{name} is missing; it is required.", name)
    expected = EXPECTED.get(detail["type"])
    message = detail["msg"].removeprefix("Value error, ")
    message = f"{expected} is expected" if expected else message[0].lower() + message[1:]
    return bad_request(f"{name} is {_shown(detail['input'])}; {message}.", name)


def _path(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return re.sub(r"[^\w.\[\]-]", "?", text.removeprefix("."))[:SHOWN] or "body"


def _shown(value: Any) -> str:
    """The beginning of a value as JSON."""
    if isinstance(value, str):
        value = value[:SHOWN]
    try:
        pieces = json.JSONEncoder(ensure_ascii=False).iterencode(value)
        text = "".join(itertools.islice(pieces, SHOWN))
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _ids(value: Any) -> list[int] | None:
    """Token ids, where a value is a list of them."""
    if not isinstance(value, list) or not value:
        return None
    found = [_whole(one) for one in value]
    return found if all(type(one) is int and 0 <= one <= LARGEST for one in found) else None
