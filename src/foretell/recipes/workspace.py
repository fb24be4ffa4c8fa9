"""A run directory: where each record lives, who may write in it, and which stages are done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foretell.core.config import build, differences, read_yaml
from foretell.core.errors import InterruptedRunError, UserError
from foretell.core.files import require_writable, write_atomic
from foretell.core.progress import duration, say
from foretell.core.runlog import RunLog
from foretell.recipes.config import Recipe, recipe_text

if TYPE_CHECKING:
    from foretell.recipes.graft_config import GraftRecipe

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock; two runs in one folder are not caught there
    fcntl = None  # type: ignore[assignment]


class Workspace:
    """The folder of one recipe's run.

    Raises:
        UserError: where the folder is not writable, holds something else, another recipe's run, or a run in progress.
    """

    def __init__(self, recipe: Recipe | GraftRecipe) -> None:
        self.recipe = recipe
        self.folder = Path(recipe.output)
        existing = self.folder.is_dir() and any(self.folder.iterdir())
        recorded = self.folder / "recipe.yaml"
        if existing and not recorded.exists() and not {p.name for p in self.folder.iterdir()} <= {"run.lock"}:
            raise UserError(
                f"{self.folder} holds files that are not a run of foretell; choose a fresh one with --output."
            )
        require_writable(self.folder)
        self._lock()
        if recorded.exists():
            self._compare(recorded)
        else:
            write_atomic(recorded, recipe_text(recipe))
        self.log = RunLog(self.folder / "run.jsonl")

    def _lock(self) -> None:
        self._lock_file = (self.folder / "run.lock").open("w")
        if fcntl is not None:
            try:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UserError(f"Another foretell is at work in {self.folder}; wait for it or stop it.") from error

    def _compare(self, recorded: Path) -> None:
        there = build(type(self.recipe), read_yaml(recorded))
        changed = differences(there.comparable(), self.recipe.comparable())
        if changed and not (self.folder / "corpus").exists():
            # Nothing but a plan was made here (the corpus was mistyped, say): the new recipe takes its place.
            for made in ("environment.json", "plan.json", "refusal.json", "report.html"):
                (self.folder / made).unlink(missing_ok=True)
            write_atomic(recorded, recipe_text(self.recipe))
        elif changed:
            raise UserError(
                f"{self.folder} holds a run of another recipe: {'; '.join(changed[:5])}. "
                "Choose another folder with --output, or give the same settings to go on with it."
            )

    def close(self) -> None:
        """Let others in."""
        self.log.close()
        self._lock_file.close()

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """Announce a stage and log how long it took and how it ended."""
        say(title, "bold")
        start = time.monotonic()
        try:
            yield
        except BaseException as error:
            status = "interrupted" if isinstance(error, (InterruptedRunError, KeyboardInterrupt)) else "failed"
            self.log.write("stage", name=name, seconds=time.monotonic() - start, status=status)
            raise
        seconds = time.monotonic() - start
        self.log.write("stage", name=name, seconds=seconds, status="done")
        say(f"  done in {duration(seconds)}", "dim")

    def path(self, *parts: str) -> Path:
        """A path inside the run directory."""
        return self.folder.joinpath(*parts)


def open_run(folder: Path) -> dict[str, Any]:
    """The recipe that a run directory records.

    Raises:
        UserError: where ``folder`` is not a run directory.
    """
    path = folder / "recipe.yaml"
    if not path.exists():
        raise UserError(f"{folder} is not a run directory: recipe.yaml is missing.")
    return read_yaml(path)
