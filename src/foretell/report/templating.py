"""HTML pages from the templates of this package."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

# What no HTML page may hold (control characters) or no UTF-8 file can (lone surrogates).
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def render_page(template: str, context: Mapping[str, Any], filters: Mapping[str, Callable[..., str]]) -> str:
    """A page as HTML text, style sheet and script within it; every text of ``context`` is escaped."""
    environment = Environment(
        loader=PackageLoader("foretell.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    page = environment.get_template(template).render(
        context, style=_asset(environment, "report.css"), script=_asset(environment, "report.js")
    )
    return _UNPRINTABLE.sub("\ufffd", page)


def _asset(environment: Environment, name: str) -> Markup:
    """A file of the package that is set into the page as it is."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])
