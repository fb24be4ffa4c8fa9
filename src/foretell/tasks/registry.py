"""The one registry of tasks: those that come with Foretell, those of other packages, and files of the user's own.

Another package adds tasks by an entry point of the group ``foretell.tasks`` that is a task, several, or a function
without arguments that gives them.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from foretell.core.errors import UserError
from foretell.core.wording import as_json, listed
from foretell.data.compression import inner_suffix
from foretell.tasks import own
from foretell.tasks.code.benchmarks import humaneval, mbpp
from foretell.tasks.code.micro import micro_code
from foretell.tasks.files import MissingDataError
from foretell.tasks.sets import arithmetic, bbh, common_sense, mmlu, mmmu, passages, pictures, reasoning
from foretell.tasks.task import Task

GROUP = "foretell.tasks"


def programs() -> list[Task]:
    """Tasks whose answers are graded by running them."""
    return [humaneval(), mbpp(), micro_code()]


BUILT_IN: tuple[Callable[[], list[Task]], ...] = (
    mmlu.tasks, common_sense.tasks, passages.tasks, arithmetic.tasks, reasoning.tasks, bbh.tasks, mmmu.tasks,
    pictures.tasks, programs,
)  # fmt: skip
NEAR = 3  # names that an error suggests


@dataclass(frozen=True)
class Entry:
    """A line of the listing; ``parts`` are the names under a task.

    ``items`` is None where the data is not there or is damaged, and ``damage`` then what is wrong with it.
    """

    name: str
    kind: str
    metric: str
    items: int | None
    source: str
    files: str
    parts: tuple[str, ...] = ()
    damage: str = ""


@functools.cache
def built_in() -> dict[str, Task]:
    """Tasks that come with Foretell, by name."""
    return {task.name: task for make in BUILT_IN for task in make()}


def all_tasks() -> dict[str, Task]:
    """Built-in tasks and those of installed packages, by name.

    Raises:
        UserError: where a package's entry point cannot be loaded, gives no tasks, or gives one whose name is taken.
    """
    found = dict(built_in())
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        for task in _tasks_of(point):
            if task.name in found:
                raise UserError(
                    f"The entry point '{point.name}' ({point.value}) gives a task '{task.name}', a name that is taken."
                )
            found[task.name] = task
    return found


def _tasks_of(point: EntryPoint) -> list[Task]:
    where = f"The entry point '{point.name}' ({point.value})"
    try:
        given = point.load()
        made = given() if callable(given) else given
    except Exception as error:  # another package's code raises whatever it does
        raise UserError(f"{where} of {GROUP} cannot be loaded ({type(error).__name__}: {error}).") from error
    tasks = [made] if isinstance(made, Task) else list(made) if isinstance(made, Iterable) else []
    if not tasks or not all(isinstance(task, Task) for task in tasks):
        raise UserError(f"{where} gives {as_json(made)}; a Task, several, or a function that gives them is expected.")
    return tasks


def find_task(name: str) -> Task:
    """The task of a name, of a translation of MMLU (``mmlu:LANGUAGE``), or of a file of the user's own.

    Raises:
        UserError: where there is none, naming the nearest; for a file, where it is not a task.
    """
    if not name.strip():
        raise UserError("The name of a task is empty; see the list of tasks.")
    if inner_suffix(Path(name)) in own.SUFFIXES:
        return own.read_task(Path(name))
    tasks = all_tasks()
    if name in tasks:
        return tasks[name]
    family, colon, language = name.partition(":")
    if family == "mmlu" and colon and language.replace("-", "").replace("_", "").isalnum():
        return mmlu.translated(language)
    near = difflib.get_close_matches(name.lower().replace("-", "_"), tasks, n=NEAR, cutoff=0.6)
    within = [other for other in tasks if name.lower() in other and other not in near][: NEAR - len(near)]
    suggested = [f"'{one}'" for one in (*near, *within)]
    meant = f"; did you mean {' or '.join(suggested)}?" if suggested else "."
    raise UserError(f"There is no task '{name}'{meant} A file that ends in {', '.join(own.SUFFIXES)} is a task too.")


def find_tasks(names: Sequence[str]) -> list[Task]:
    """Tasks of several names, each once, in their order.

    Raises:
        UserError: where there is none of a name, or two of them are called the same.
    """
    found: dict[str, Task] = {}
    for asked in dict.fromkeys(names):
        task = find_task(asked)
        if task.name in found:
            raise UserError(f"Two of the tasks {listed(list(names))} are called '{task.name}'; names must differ.")
        found[task.name] = task
    return list(found.values())


def list_tasks(data_dir: Path | None = None) -> list[Entry]:
    """All tasks, parts under what they are a part of.

    Args:
        data_dir: where data is looked for; without it, no items are counted.

    Raises:
        UserError: as :func:`all_tasks`, and where the folder is missing.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(f"The data folder {data_dir} does not exist or is no folder.")
    tasks = all_tasks()
    parts: dict[str, list[str]] = {}
    for task in tasks.values():
        parts.setdefault(task.family, []).append(task.name)
    return [_entry(task, tuple(parts.get(task.name, ())), data_dir) for task in tasks.values() if not task.family]


def _entry(task: Task, parts: tuple[str, ...], data_dir: Path | None) -> Entry:
    items, damage = None, ""
    if data_dir is not None:
        try:
            items = len(task.load(data_dir).items)
        except MissingDataError:
            pass
        except UserError as error:
            damage = str(error)
    return Entry(task.name, task.kind, task.metric, items, task.source, task.files, parts, damage)
