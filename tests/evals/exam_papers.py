"""Exams for tests."""

from __future__ import annotations

from typing import Any

from foretell.evals.exams.form import Exam

RUBRIC = "One point each for naming: osmosis, membrane, gradient."
EXAM = Exam.model_validate({
    "name": "biology",
    "sections": [
        {"name": "choice", "items": [{"id": 1, "question": "Pick.", "choices": ["p", "q"], "answer": "A"}]},
        {"name": "essay", "items": [{"id": 1, "question": "How does water enter?", "rubric": RUBRIC, "points": 3}]},
    ],
})  # fmt: skip


def make_exam(sections: dict[str, int], **fields: Any) -> Exam:
    """Items of five choices, the answer always A."""
    return Exam.model_validate({
        "name": "exam",
        "sections": [
            {"name": name, "items": [{"id": str(n), "question": "?", "choices": list("abcde"), "answer": "A"}
                                     for n in range(count)]}
            for name, count in sections.items()
        ],
        **fields,
    })  # fmt: skip
