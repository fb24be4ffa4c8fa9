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
    """Share of held-out questions answered exactly, for each kind; of numbers read off a scale, within a tick of it."""
    shares = {"exact": "exact", "stderr": "standard error", "swapped": "with another image",
              "question_only": "from the question alone"}  # fmt: skip
    found = {kind: run.images.record(kind) for kind in run.images.data}
    if any("near" in record.data for record in found.values()):
        shares |= {"near": "within a tick", "near_swapped": "with another image, within a tick",
                   "near_question_only": "from the question alone, within a tick"}  # fmt: skip
    rows = [
        [Cell(kind), cell(record.number("n"), whole), *(cell(record.number(key), percent) for key in shares)]
        for kind, record in found.items()
    ]
    columns = {"kind of question": False, "questions": True, **dict.fromkeys(shares.values(), True)}
    return make_table("Held-out questions answered exactly", columns, rows)
