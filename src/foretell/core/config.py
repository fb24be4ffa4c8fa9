"""Typed settings: YAML recipes, dotted overrides, and errors that name the field, the value and what is accepted."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from foretell.core.errors import UserError
from foretell.core.files import content_hash


class Settings(BaseModel):
    """Base of all settings: immutable, unknown keys refused, defaults validated like values."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def digest(self) -> str:
        """SHA-256 of the settings; equal settings share it whatever file they came from."""
        return content_hash(self.model_dump(mode="json"))


S = TypeVar("S", bound=Settings)


class _TextLoader(yaml.SafeLoader):
    """Scalars stay the texts that they are, null apart: no number is rewritten, no ``1:30`` and no ``no`` is one."""


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("null", "merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path, what: str = "recipe", *, as_texts: bool = False) -> dict[str, Any]:
    """Read a mapping.

    Args:
        path: of the file.
        what: it is, for errors.
        as_texts: numbers, dates and words of truth are left as they are written; a model converts what its fields ask.

    Raises:
        UserError: where the file is missing, is not text, not YAML, or not a mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _TextLoader if as_texts else yaml.SafeLoader)
    except FileNotFoundError as error:
        raise UserError(f"The {what} {path} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The {what} {path} is not readable as text ({error}).") from error
    except yaml.YAMLError as error:
        raise UserError(f"The {what} {path} is not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"The {what} {path} holds a {type(content).__name__}; a mapping of keys to values is expected.")
    return content


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """Turn ``--target.flops 1e14 --ladder.seeds=3`` into a nested mapping; values are read as YAML.

    Raises:
        UserError: for a value without a key or a key without a value.
    """
    overrides: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--") or len(argument) == 2:
            raise UserError(f"'{argument}' is not understood here; overrides look like --target.flops 1e14.")
        key, equals, text = argument[2:].partition("=")
        if not equals:
            if not rest or (rest[0].startswith("--") and len(rest[0]) > 2):
                raise UserError(f"--{key} needs a value, as in --{key} VALUE.")
            text = rest.pop(0)
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"--{key}: the value {text!r} is not YAML ({' '.join(str(error).split())}).") from error
        node = overrides
        *parents, leaf = key.split(".")
        for parent in parents:
            child = node.setdefault(parent, {})
            if not isinstance(child, dict):
                raise UserError(f"--{key}: '{parent}' was already given a plain value.")
            node = child
        node[leaf] = value
    return overrides


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``overrides`` laid over it, key by key; lists are replaced whole."""
    merged = dict(base)
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _keys_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The keys that ``model`` accepts at ``location``; empty where that is not a settings object."""
    for part in location:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        inner = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not inner:
            return list(model.model_fields) if isinstance(part, int) else []
        model = inner[0]
    return list(model.model_fields)


def dotted_names(model: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    """Every setting below ``model`` by its dotted name; what lists hold is left out."""
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found |= dotted_names(annotation, f"{prefix}{name}.")
        else:
            found[prefix + name] = field
    return found


def _nearest(model: type[BaseModel], name: str) -> str | None:
    """The setting in one of the sections that a name without its section most likely means, if there is one."""
    by_leaf: dict[str, list[str]] = {}
    for key in dotted_names(model):
        by_leaf.setdefault(key.rpartition(".")[2], []).append(key)
    near = difflib.get_close_matches(name, by_leaf, n=1, cutoff=0.8)
    return by_leaf[near[0]][0] if near and len(by_leaf[near[0]]) == 1 else None


def _expected(model: type[BaseModel], detail: ErrorDetails) -> str | None:
    """What a setting that was given a plain value takes, where that is a mapping or a list."""
    location = detail["loc"]
    if detail["type"] == "model_type":
        keys = _keys_at(model, location)
        return "a mapping of keys to values is expected" + (f", of {', '.join(keys)}" if keys else "")
    if detail["type"] not in ("tuple_type", "list_type"):
        return None
    field = dotted_names(model).get(".".join(map(str, location)))
    item = next(iter(getattr(field.annotation, "__args__", ())), None) if field else None
    if isinstance(item, type) and issubclass(item, BaseModel):
        return f"a list of mappings is expected, as [{{KEY: VALUE}}], of {', '.join(item.model_fields)}"
    return "a list is expected, as " + ('["...", "..."]' if item is str else "[1, 2]")


def _sentence(model: type[BaseModel], detail: ErrorDetails, what: str) -> str:
    location = detail["loc"]
    name = ".".join(str(part) for part in location) or f"the {what}"
    if detail["type"] == "extra_forbidden":
        keys = _keys_at(model, location[:-1])
        beside = difflib.get_close_matches(str(location[-1]), keys, n=1, cutoff=0.7)
        near = ".".join([*map(str, location[:-1]), *beside]) if beside else None
        if near is None and len(location) == 1:
            near = _nearest(model, name)
        hint = f"did you mean '{near}'?" if near else f"accepted here: {', '.join(keys)}."
        return f"Unknown key '{name}'; {hint}"
    if detail["type"] == "missing":
        return f"'{name}' is missing."
    message = _expected(model, detail) or detail["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{name} is {detail['input']!r}: {message[0].lower()}{message[1:]}."


def build(model: type[S], values: Mapping[str, Any], what: str = "recipe") -> S:
    """Validate ``values`` into settings; ``what`` names them all in errors.

    Raises:
        UserError: one sentence a fault: field, value, and what is accepted; an unknown key names the nearest one.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise UserError(" ".join(_sentence(model, detail, what) for detail in error.errors()[:5])) from error


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The keys at which two mappings differ, each as ``key (old -> new)``."""
    found: list[str] = []
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key} ({before!r} there, {after!r} now)")
    return found
