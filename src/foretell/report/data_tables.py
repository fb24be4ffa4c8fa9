"""The tables of data provenance: sources, filters, splits, licences, projects, documents."""

from __future__ import annotations

from foretell.report.records import Record, Run
from foretell.report.tables import Cell, Table, cell, make_table
from foretell.report.wording import plain, size, whole

# A corpus of documents has a project for each; the manifest, linked beside the table, has them all.
PROJECTS_SHOWN = 300
HELDOUT_NAMED = 12


def sources_table(run: Run) -> Table:
    """Where the corpus came from: found and kept, per source."""
    columns = {"source": False, "kind": False, "weight": True, "files found": True, "documents": True, "bytes": True,
               "kept documents": True, "kept bytes": True}  # fmt: skip
    rows = [
        [
            Cell(source.text("name")),
            Cell(source.text("kind")),
            cell(source.number("weight"), plain),
            cell(source.number("files_found"), whole),
            cell(source.number("documents"), whole),
            cell(source.number("bytes"), size),
            cell(source.number("kept_documents"), whole),
            cell(source.number("kept_bytes"), size),
        ]
        for source in run.corpus.records("sources")
    ]
    return make_table("Sources", columns, rows)


def filters_table(run: Run) -> Table:
    """What each filter removed."""
    rows = [
        [Cell(f.text("name")), cell(f.number("removed_documents"), whole), cell(f.number("removed_bytes"), size)]
        for f in run.corpus.records("filters")
    ]
    return make_table("Filters", {"filter": False, "documents removed": True, "bytes removed": True}, rows)


def splits_table(run: Run) -> Table:
    """Training and held-out split: documents, bytes, words, tokens."""
    columns = {"split": False, "projects": True, "documents": True, "bytes": True, "words": True, "tokens": True,
               "bytes per word": True, "bytes per token": True}  # fmt: skip
    rows = []
    for name, title in (("train", "training"), ("heldout", "held out")):
        split, coded = run.corpus.record(f"splits.{name}"), run.tokens.record(f"splits.{name}")
        volume, words, tokens = (coded.number(key) for key in ("bytes", "words", "tokens"))
        rows.append([
            Cell(title),
            cell(split.number("projects"), whole),
            cell(split.number("documents"), whole),
            cell(split.number("bytes"), size),
            cell(split.number("words"), whole),
            cell(tokens, whole),
            cell(volume / words if volume is not None and words else None, plain),
            cell(volume / tokens if volume is not None and tokens else None, plain),
        ])  # fmt: skip
    return make_table("Splits", columns, rows)


def licences_table(run: Run) -> Table:
    """Bytes under each licence, largest first."""
    licences = run.corpus.record("licences")
    shares = sorted(((_plain_number(licences, name) or 0.0, name) for name in licences.data), reverse=True)
    rows = [[Cell(name or "unknown"), cell(volume, size)] for volume, name in shares]
    return make_table("Licences, as the sources state them", {"licence": False, "bytes": True}, rows)


def _plain_number(record: Record, name: str) -> float | None:
    """The number under a key that may hold dots of its own, as licence names do."""
    return Record(record.path, {"value": record.data[name]}, f"{record.prefix}{name}: ").number("value")


def projects_table(run: Run) -> Table:
    """Projects with their split, largest first."""
    projects = sorted(run.corpus.records("projects"), key=lambda project: -(project.number("bytes") or 0.0))
    shown = projects[:PROJECTS_SHOWN]
    caption = f"All {len(projects):,} projects"
    if len(shown) < len(projects):
        caption = f"The {len(shown):,} largest of {len(projects):,} projects"
    columns = {"project": False, "split": False, "documents": True, "bytes": True, "licence": False}
    rows = [
        [
            Cell(project.text("project")),
            Cell(project.text("split")),
            cell(project.number("documents"), whole),
            cell(project.number("bytes"), size),
            Cell(project.text("licence"), missing="unknown"),
        ]
        for project in shown
    ]
    return make_table(caption, columns, rows)


def heldout_sentence(run: Run) -> str:
    """How the held-out split was made, with the first of its projects by name."""
    names = [str(name) for name in run.corpus.items("heldout_projects")]
    text = f"Held-out text is split off by {run.corpus.text('split_by') or 'an unrecorded unit'}"
    if names:
        text += f"; held out: {', '.join(names[:HELDOUT_NAMED])}"
        text += f" and {len(names) - HELDOUT_NAMED:,} more" if len(names) > HELDOUT_NAMED else ""
    return text + "."


def documents_tables(run: Run) -> list[Table]:
    """The largest documents of each split, from the manifest."""
    columns = {"document": False, "project": False, "licence": False, "bytes": True, "SHA-256": False}
    tables = []
    for split, documents in sorted(run.documents.items(), reverse=True):
        rows = [
            [
                _origin(document.text("path_or_url")),
                Cell(document.text("project") or None),
                Cell(document.text("licence") or None, missing="unknown"),
                cell(document.number("bytes"), size),
                Cell((document.text("sha256") or "")[:12] or None),
            ]
            for document in documents
        ]
        tables.append(make_table(f"The {len(rows)} largest documents of the split “{split}”", columns, rows))
    return tables


def _origin(path_or_url: str | None) -> Cell:
    is_link = path_or_url is not None and path_or_url.startswith(("https://", "http://"))
    return Cell(path_or_url or None, path_or_url if is_link else None)
