"""Exams for tests."""

from __future__ import annotations

from typing import Any

from foretell.evals.exams.form import Exam


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
