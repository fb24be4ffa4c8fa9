"""``foretell watch``: a running job against its registered forecast. Never imports torch."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.text import Text

from foretell.cli.output import out
from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.core.growing import GrowingTable
from foretell.core.progress import duration, say
from foretell.core.wording import as_json
from foretell.laws.tables.cells import number_or_none
from foretell.laws.training_curves.readings import STEP_RECORD, Columns, Reading, Totals
from foretell.laws.training_curves.watch import Verdict, Watch
from foretell.laws.training_curves.watched_forecast import read_forecast

OFF_TRACK = 3  # exit code
FINISHED = 0.999  # of the run: steps do not divide every total
STALLED_SECONDS, STALLED_INTERVALS = 120.0, 10.0  # without a new record, whichever is longer
RHYTHM_RECORDS = 100  # whose median interval is the job's rhythm


def watch(arguments: argparse.Namespace) -> int:
    """Follow the job until it ends, or look once; the exit code says whether it is on track."""
    if not arguments.every > 0 or math.isinf(arguments.every):
        raise UserError(f"--every is {arguments.every:g}; seconds above zero are expected.")
    if arguments.total is not None and not 0 < arguments.total < math.inf:
        raise UserError(f"--total is {arguments.total:g}; a number above zero is expected.")
    job = Job(Path(arguments.run), arguments.forecast and Path(arguments.forecast), arguments.total)
    screen = Screen(json_lines=arguments.json, live=sys.stdout.isatty() and not arguments.once)
    try:
        with screen:
            while True:
                job.look()
                screen.show(job.record())
                if arguments.once or job.ended:
                    break
                time.sleep(arguments.every)
    except KeyboardInterrupt:
        say("foretell: stopped watching; the job goes on.")
        return 130
    if job.verdict is None and not job.ended:
        raise UserError(f"{job.table.path} holds no reading yet; without --once it is waited for.")
    return OFF_TRACK if job.verdict is not None and job.verdict.off_track else 0


class Job:
    """One run that is watched: its file, its forecast, and where it stands.

    Args:
        run: a run directory, or the file that grows.
        forecast: a registration or the JSON of ``foretell forecast --json``; the run directory's own by default.
        total: where the run ends, in the unit of the file's column of progress.

    Raises:
        UserError: where the run or its forecast is not there or cannot be used.
    """

    def __init__(self, run: Path, forecast: Path | None, total: float | None) -> None:
        if not run.exists():
            raise UserError(f"{run} does not exist; a run directory or a growing .csv, .tsv or .jsonl is expected.")
        if forecast is None:
            forecast = run / "forecast.json" if run.is_dir() else None
        if forecast is None:
            raise UserError(f"{run} is no run directory, so --forecast is needed: the forecast to hold it against.")
        self.forecast, self.totals = read_forecast(forecast)
        if total is not None:
            if run.is_dir():
                raise UserError(f"--total is for files; {run} is a run directory, whose records say where it ends.")
            self.totals = Totals(given=total)
        self.folder = _target_folder(run) if run.is_dir() else None
        self.table = GrowingTable(self.folder / "log.jsonl" if self.folder else run)
        self.columns: Columns | None = None
        self.verdict: Verdict | None = None
        self._begin()

    def _begin(self) -> None:
        self.watch = Watch(self.forecast)
        self.last: Reading | None = None
        self.times: list[float] = []

    def look(self) -> None:
        """Read what is new."""
        restarts = self.table.restarts
        rows = self.table.read()
        if self.table.restarts > restarts:
            self._begin()
        if self.columns is None and rows:
            self.columns = self._find_columns(rows)
        readings = [reading for row in rows if self.columns and (reading := self.columns.reading(row)) is not None]
        for reading in readings:
            self.verdict = self.watch.update(reading.progress, reading.loss)
            self.last = reading
        times = [number_or_none(row.get("time")) for row in rows]
        self.times = [*self.times, *(time for time in times if time is not None)][-RHYTHM_RECORDS:]
        outcome = self._outcome()
        if outcome is not None and self.last is not None:
            self.verdict = self.watch.finish(outcome)

    def _find_columns(self, rows: list[dict[str, Any]]) -> Columns | None:
        """The columns of the first reading; in this project's logs other records may come before it."""
        if not any(row.get("kind", STEP_RECORD) == STEP_RECORD for row in rows):
            return None
        names = [name for name in self.table.columns if name]
        return Columns(names, self.forecast.metric, self.totals, str(self.table.path))

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to come."""
        at_end = self.last is not None and self.last.progress >= FINISHED
        return bool(self.verdict and self.verdict.finished) or (at_end and self.folder is None)

    @property
    def quiet_seconds(self) -> float | None:
        """How long nothing has come, where that is longer than this job's own rhythm explains."""
        if self.ended or not self.table.path.exists():
            return None
        quiet = time.time() - self.table.path.stat().st_mtime
        gaps = [after - before for before, after in zip(self.times, self.times[1:], strict=False)]
        usual = statistics.median(gaps) if gaps else 0.0
        return quiet if quiet > max(STALLED_SECONDS, STALLED_INTERVALS * usual) else None

    def _outcome(self) -> float | None:
        """The held-out loss of a finished target of this project."""
        result = self.folder / "result.json" if self.folder else None
        if result is None or not result.exists():
            return None
        record = read_json(result)
        heldout = record.get("heldout") if isinstance(record, dict) else None
        loss = heldout.get("bits_per_byte") if isinstance(heldout, dict) else None
        number = number_or_none(loss)
        if loss is not None and (number is None or number <= 0):
            raise UserError(f"{result}: heldout.bits_per_byte is {as_json(loss)}; a number above zero is expected.")
        return math.nan if number is None else number

    def record(self) -> dict[str, Any]:
        """The state for display and for ``--json``."""
        quiet = self.quiet_seconds
        notes = [] if quiet is None else [f"no new record for {duration(quiet)}: has the job stopped?"]
        if self.table.skipped:
            lines = ", ".join(map(str, self.table.skipped[:5]))
            notes.append(f"left out, for they are not whole: {len(self.table.skipped)} of the file's lines ({lines})")
        if self.columns is not None and self.columns.stands_in:
            notes.append(f"the file's column {self.columns.loss} stands for {self.forecast.metric}, which is forecast")
        if self.forecast.refused:
            notes.append("the forecast had been refused: its ladder cannot carry it")
        sentence = f"waiting for readings in {self.table.path}" if self.verdict is None else self.verdict.sentence
        values = {} if self.verdict is None else self.verdict.to_dict()
        return {"time": round(time.time(), 3), "sentence": sentence, "notes": notes,
                "stalled_seconds": quiet, "ended": self.ended} | values  # fmt: skip


class Screen:
    """A live line on a terminal, a line for each piece of news elsewhere, JSON lines for programs."""

    def __init__(self, *, json_lines: bool, live: bool) -> None:
        self.json_lines = json_lines
        self._live = Live(console=out, refresh_per_second=2) if live and not json_lines else None
        self._shown: tuple[Any, ...] = ()

    def __enter__(self) -> Screen:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, record: dict[str, Any]) -> None:
        """Show the state; on paper where it has another status, a per cent more is done, or the log stands still."""
        text = "\n".join(
            [f"{time.strftime('%H:%M:%S')} {record['sentence']}", *(f"  {note}" for note in record["notes"])]
        )
        percent = int(100 * record.get("progress", 0))
        news = (record.get("status"), percent, record["stalled_seconds"] is not None, record["ended"])
        if self._live:
            self._live.update(Text(text, style="bold red" if record.get("off_track") else ""))
        elif news != self._shown:
            print(json.dumps(record, allow_nan=False), flush=True) if self.json_lines else out.print(text)
        self._shown = news


def _target_folder(run: Path) -> Path:
    """Where a run directory's target logs; a folder of one training run is its own."""
    return run if (run / "log.jsonl").exists() and not (run / "target").exists() else run / "target"
