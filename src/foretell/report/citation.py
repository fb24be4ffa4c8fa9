"""How to cite a run: keywords, APA, BibTeX. The author is not on record and is left to whoever cites."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from foretell.report.records import Run
from foretell.report.wording import count

_LATEX = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {character: "\\" + character for character in "&%$#_"}


def latex(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def version(run: Run) -> str | None:
    """Eight hex digits that name this run's model: of the target's configuration, else of the forecast."""
    digest = run.target.text("config_hash") or run.forecast.text("sha256")
    return digest[:8] if digest else None


def year(run: Run) -> str:
    """The year the run was finished, or last recorded; ``n.d.`` (no date) where no record has a time."""
    times = [run.target.number("finished"), run.forecast.number("created_unix")]
    times += [record.number("time") for record in run.timeline]
    known = [time for time in times if time]
    return str(datetime.fromtimestamp(known[0], UTC).year) if known else "n.d."


def _software(run: Run) -> str:
    made_with = run.environment.text("foretell")
    return f"Foretell {made_with}" if made_with else "Foretell"


def apa(run: Run) -> str:
    """APA, seventh edition, for a work without a named author: the title comes first."""
    named = version(run)
    edition = f" (Version {named})" if named else ""
    return f"{run.name}{edition} [Language model]. ({year(run)}). Trained with {_software(run)}."


def bibtex(run: Run) -> str:
    """A ``@misc`` entry whose note carries the sealed forecast's hash."""
    key = re.sub(r"[^A-Za-z0-9]+", "-", run.name).strip("-").lower() or "run"
    key += f"-{named}" if (named := version(run)) else ""
    parameters = run.target.number("parameters.total") or run.plan.number("target.parameters.total")
    title = latex(run.name) + (f": a language model of {count(parameters)} parameters" if parameters else "")
    fields = {"title": f"{{{title}}}", "year": year(run), "howpublished": f"Trained with {latex(_software(run))}"}
    if seal := run.forecast.text("sha256"):
        fields["note"] = f"Forecast registered with SHA-256 {latex(seal)}"
    lines = ",\n".join(f"  {name:<12} = {{{value}}}" for name, value in fields.items())
    return f"@misc{{{key},\n{lines}\n}}"


def keywords(run: Run) -> list[str]:
    """Words to find this report by."""
    words = ["language model", "predictable scaling", "scaling laws", "registered forecast"]
    law = run.forecast.text("forecast.law.name")
    words += [law] if law else []
    words += [name for source in run.corpus.records("sources") if (name := source.text("name") or source.text("kind"))]
    vocabulary = run.tokens.number("vocab_size")
    words += [f"byte-level BPE, {vocabulary:,.0f} tokens"] if vocabulary else []
    parameters = run.target.number("parameters.total") or run.plan.number("target.parameters.total")
    words += [f"{count(parameters)} parameters"] if parameters else []
    return list(dict.fromkeys(words))
