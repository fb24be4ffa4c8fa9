"""The run log: one JSON object a line, appended, that survives a kill in the middle of a line.

Every record has ``kind`` (what it is) and ``time`` (seconds since 1970, UTC). Training writes ``step`` records, stages
write ``stage`` records; laws, ladder and report read them and never look at weights.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foretell.core.files import storage_errors, write_atomic


def _finite(value: Any) -> Any:
    """JSON has no NaN: a figure that is not finite is recorded as missing, never as zero."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


class RunLog:
    """Appends records to a JSONL file; an unfinished last line left by a kill is dropped first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                content = path.read_bytes()
                whole = content.rfind(b"\n") + 1
                if whole != len(content):
                    with path.open("r+b") as file:
                        file.truncate(whole)
            self._file = path.open("a", encoding="utf-8")

    def write(self, kind: str, **fields: Any) -> None:
        """Append one record and hand it to the operating system.

        Raises:
            UserError: where the disk is full.
        """
        record = {"kind": kind, "time": round(time.time(), 3)} | {key: _finite(value) for key, value in fields.items()}
        with storage_errors(self.path):
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file; writing afterwards is an error."""
        self._file.close()


def read_log(path: Path, kind: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the records of a log, all or of one kind; a torn last line is passed over, a missing file is empty."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(record, dict) and (kind is None or record.get("kind") == kind):
                yield record


def truncate_log(path: Path, kind: str, step: int) -> None:
    """Forget the ``kind`` records after ``step``: what a resumed run will write again must not stand twice."""
    if not path.exists():
        return
    kept = [
        json.dumps(record, ensure_ascii=False)
        for record in read_log(path)
        if not (record["kind"] == kind and record.get("step", 0) > step)
    ]
    write_atomic(path, "".join(line + "\n" for line in kept))
