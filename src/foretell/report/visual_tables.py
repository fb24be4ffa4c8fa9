"""What a report says of images: where they come from, and how well questions about them are answered."""

from __future__ import annotations

from foretell.report.records import Run
from foretell.report.tables import Cell, Table, cell, make_table
from foretell.report.wording import percent, whole


def visual_sources_table(run: Run) -> Table:
    """Documents of each source of images."""
    columns = {"source": False, "train": True, "held out": True, "questions too long": True}
    rows = [
        [
            Cell(source.text("label")),
            *(cell(source.number(key), whole) for key in ("train", "heldout")),
            cell(source.number("too_long") or 0.0, whole),
        ]
        for source in run.visual.records("sources")
    ]
    return make_table("Documents of images and questions", columns, rows)


def visual_splits_table(run: Run) -> Table:
    """Images, questions, patches and positions of each split."""
    keys = {"images": "images", "questions": "questions", "patches": "patches", "positions": "positions"}
    splits = run.visual.record("splits")
    rows = [
        [Cell(name), *(cell(splits.record(name).number(key), whole) for key in keys)]
        for name in splits.data
    ]  # fmt: skip
    return make_table("Splits", {"split": False, **dict.fromkeys(keys.values(), True)}, rows)


def answers_table(run: Run) -> Table:
    """Share of held-out questions answered exactly, for each kind."""
    columns = {"kind of question": False, "questions": True, "exact": True, "standard error": True,
               "with another image": True, "from the question alone": True}  # fmt: skip
    rows = []
    for kind in run.images.data:
        found = run.images.record(kind)
        shares = ("exact", "stderr", "swapped", "question_only")
        rows.append([Cell(kind), cell(found.number("n"), whole), *(cell(found.number(key), percent) for key in shares)])
    return make_table("Held-out questions answered exactly", columns, rows)
