"""``foretell settings``."""

from __future__ import annotations

import argparse
from typing import Any

import yaml
from pydantic import BaseModel
from rich.table import Table

from foretell.cli.output import out
from foretell.core.config import dotted_names
from foretell.recipes.config import load_recipe

PAGE = """\
# Settings of a recipe

Every setting by its dotted name, as it is given on the command line (`--target.flops 1e14`), with its value in the
`{name}` recipe. Written by `foretell settings --markdown`.

| setting | value | meaning |
| --- | --- | --- |
"""


def settings(arguments: argparse.Namespace) -> int:
    """Print every setting with its value and meaning."""
    recipe = load_recipe(arguments.recipe, [])
    rows = [(name, _written(_value(recipe, name)), field.description or "")
            for name, field in dotted_names(type(recipe)).items()]  # fmt: skip
    if arguments.markdown:
        body = "".join(f"| `{name}` | `{value}` | {meaning} |\n" for name, value, meaning in rows)
        print(PAGE.format(name=recipe.name) + body, end="")
        return 0
    table = Table(box=None, pad_edge=False)
    for column in ("setting", "value", "meaning"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    out.print(table)
    return 0


def _value(settings: BaseModel, name: str) -> Any:
    first, _, rest = name.partition(".")
    value = getattr(settings, first)
    return _value(value, rest) if rest else value


def _written(value: Any) -> str:
    """As YAML on one line, the way the command line takes it."""
    if isinstance(value, tuple):
        items = [item.model_dump(mode="json", exclude_unset=True) if isinstance(item, BaseModel) else item
                 for item in value]  # fmt: skip
        value = items
    return str(yaml.safe_dump(value, default_flow_style=True, width=10_000)).removesuffix("\n").removesuffix("\n...")
