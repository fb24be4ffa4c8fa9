"""The records of one run directory, gathered and checked: all that the report knows.

Nothing here looks at weights. A record or field that is not there is *missing* (``None``, or an empty record), never
zero; one that is there but has the wrong shape is the user's to hear about, by file and field.
"""

from __future__ import annotations

import csv
import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.core.config import read_yaml
from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.core.runlog import read_log

DOCUMENTS_SHOWN = 30

# Every record a run may leave, with what it is; the report ends with this list and says which are there.
RECORD_FILES = {
    "recipe.yaml": "the settings, resolved",
    "environment.json": "machine and software",
    "corpus/summary.json": "sources, filters and splits",
    "corpus/manifest.csv": "provenance of every document",
    "tokenizer/tokenizer.json": "the tokenizer",
    "tokens/index.json": "token counts",
    "visual/index.json": "images and questions about them",
    "plan.json": "rungs, target and price, before anything was spent",
    "ladder/tuning.json": "the search for the learning rate",
    "ladder/rungs.json": "the results of all rungs",
    "ladder/heldout.npy": "what each held-out token costs the smallest and the two largest rungs",
    "refusal.json": "why the ladder was refused",
    "forecast.json": "the registered forecast",
    "ladder/images.json": "how the largest rung answers questions about images",
    "forecast-answers.json": "the registered forecast of the loss on answers about images",
    "ladder/code.json": "how often each rung solved micro-code's problems",
    "forecast-code.json": "the registered forecast of pass rates on micro-code",
    "target/looking/log.jsonl": "steps of the target's encoder alone, before",
    "target/log.jsonl": "steps of the target, evenly thinned",
    "target/result.json": "the target's result",
    "score.json": "the forecast against the outcome",
    "score-answers.json": "the same for answers about images",
    "code.json": "how often the target solved micro-code's problems",
    "score-code.json": "the forecast of pass rates, and the largest rung, against the outcome",
    "images.json": "questions about images, answered by the model",
    "samples.json": "text written by the model",
    "run.jsonl": "the stages and their times",
}


@dataclass(frozen=True)
class Record:
    """One JSON object of a record file, read with its types checked; false where it is missing.

    ``path`` is the file's path relative to the run directory, ``prefix`` where in the file this object stands. Keys
    may be dotted (``heldout.bits_per_byte``). Accessors return ``None`` (or an empty sequence) for what is missing or
    ``null`` and raise :class:`UserError` for a value of another type.
    """

    path: str
    data: Mapping[str, Any]
    prefix: str = ""

    def __bool__(self) -> bool:
        return bool(self.data)

    def _wrong(self, key: str, value: Any, accepted: str) -> UserError:
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
        return UserError(f"{self.path}: {self.prefix}{key} is {shown}; {accepted} is expected.")

    def get(self, key: str) -> Any:
        """The plain value at a dotted key, ``None`` where any part of the way is missing.

        A key that stands there as it is comes first: names of files are keys too, and have dots of their own.
        """
        if key in self.data:
            return self.data[key]
        value: Any = self.data
        for part in key.split("."):
            if value is None:
                return None
            if not isinstance(value, Mapping):
                raise self._wrong(key.rpartition(".")[0], value, "an object")
            value = value.get(part)
        return value

    def number(self, key: str) -> float | None:
        """A finite number; one that is not finite was never measured and counts as missing."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, value, "a number")
        return float(value) if math.isfinite(value) else None

    def text(self, key: str) -> str | None:
        """A string."""
        value = self.get(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong(key, value, "a text")
        return value

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def items(self, key: str) -> list[Any]:
        """A list, as it is."""
        value = self.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(key, value, "a list")
        return value

    def numbers(self, key: str) -> list[float]:
        """A list of finite numbers."""
        values = self.items(key)
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise self._wrong(key, values, "a list of finite numbers")
        return [float(value) for value in values]

    def record(self, key: str) -> Record:
        """A nested object, empty where it is missing."""
        value = self.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise self._wrong(key, value, "an object")
        return Record(self.path, value or {}, f"{self.prefix}{key}.")

    def records(self, key: str) -> list[Record]:
        """A list of objects."""
        values = self.items(key)
        for value in values:
            if not isinstance(value, Mapping):
                raise self._wrong(key, values, "a list of objects")
        return [Record(self.path, value, f"{self.prefix}{key}[{index}].") for index, value in enumerate(values)]


@dataclass(frozen=True)
class Run:
    """Everything a run directory recorded; records that are not there yet are empty.

    ``ladder`` holds the results of rungs and tuning runs, smallest compute first; ``looking``, ``log`` and
    ``timeline`` the lines of ``target/looking/log.jsonl``, ``target/log.jsonl`` and ``run.jsonl``; ``documents`` the
    largest documents of each split, from the manifest.
    """

    folder: Path
    recipe_text: str
    recipe: Record
    environment: Record
    corpus: Record
    tokens: Record
    visual: Record
    plan: Record
    tuning: Record
    refusal: Record
    forecast: Record
    target: Record
    score: Record
    answers_forecast: Record
    answers_score: Record
    images: Record
    code_rungs: tuple[Record, ...]
    code: Record
    code_forecast: Record
    code_score: Record
    ladder: tuple[Record, ...]
    looking: tuple[Record, ...]
    log: tuple[Record, ...]
    timeline: tuple[Record, ...]
    samples: tuple[Record, ...]
    documents: Mapping[str, list[Record]]

    @property
    def name(self) -> str:
        """The run's name as its recipe gives it, else its folder's."""
        return self.recipe.text("name") or self.folder.name

    def bytes_per_word(self) -> float | None:
        """Bytes per word of the held-out split, which turns bits per byte into bits per word."""
        candidates = [self.tokens.record("splits.heldout"), self.target.record("heldout")]
        candidates += [result.record("heldout") for result in self.ladder]
        for split in [*candidates, self.corpus.record("splits.heldout")]:
            size, words = split.number("bytes"), split.number("words")
            if size and words:
                return size / words
        return None

    def of_kind(self, kind: str) -> list[Record]:
        """The records of one kind in the target's log, in the order they were written."""
        return [record for record in self.log if record.get("kind") == kind]

    def rungs(self) -> list[Record]:
        """The results of finished rungs, smallest compute first."""
        return [result for result in self.ladder if result.get("role") == "rung"]

    def present(self, path: str) -> bool:
        """Whether a record file is there, to link to."""
        return (self.folder / path).is_file()


def gather(folder: Path) -> Run:
    """Read and check the records of a run directory.

    Raises:
        UserError: where ``folder`` holds no recipe.yaml, or a record is cut short, or a record is not an object.
    """
    if not (folder / "recipe.yaml").is_file():
        raise UserError(f"{folder} holds no recipe.yaml; a run directory, as `foretell run` writes it, is expected.")
    recipe_text = (folder / "recipe.yaml").read_text(encoding="utf-8", errors="replace")
    results = [_object(folder, path) for path in _result_paths(folder)]
    return Run(
        folder=folder,
        recipe_text=recipe_text,
        recipe=Record("recipe.yaml", read_yaml(folder / "recipe.yaml")),
        environment=_object(folder, "environment.json"),
        corpus=_object(folder, "corpus/summary.json"),
        tokens=_object(folder, "tokens/index.json"),
        visual=_object(folder, "visual/index.json"),
        plan=_object(folder, "plan.json"),
        tuning=_object(folder, "ladder/tuning.json"),
        refusal=_object(folder, "refusal.json"),
        forecast=_object(folder, "forecast.json"),
        target=_object(folder, "target/result.json"),
        score=_object(folder, "score.json"),
        answers_forecast=_object(folder, "forecast-answers.json"),
        answers_score=_object(folder, "score-answers.json"),
        images=_object(folder, "images.json"),
        code_rungs=tuple(sorted(_list(folder, "ladder/code.json"), key=lambda rung: rung.number("flops") or 0.0)),
        code=_object(folder, "code.json"),
        code_forecast=_object(folder, "forecast-code.json"),
        code_score=_object(folder, "score-code.json"),
        ladder=tuple(sorted(results, key=lambda result: (result.number("flops") or 0.0, result.path))),
        looking=tuple(_lines(folder, "target/looking/log.jsonl")),
        log=tuple(_lines(folder, "target/log.jsonl")),
        timeline=tuple(_lines(folder, "run.jsonl")),
        samples=tuple(_list(folder, "samples.json")),
        documents=_largest_documents(folder, "corpus/manifest.csv"),
    )


def _result_paths(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.glob("ladder/runs/*/result.json"))


def _object(folder: Path, path: str) -> Record:
    if not (folder / path).exists():
        return Record(path, {})
    content = read_json(folder / path)
    if not isinstance(content, dict):
        raise UserError(f"{folder / path} holds a {type(content).__name__}; a JSON object is expected.")
    return Record(path, content)


def _lines(folder: Path, path: str) -> Iterator[Record]:
    for number, line in enumerate(read_log(folder / path), start=1):
        if isinstance(line, dict):
            yield Record(path, line, f"record {number}: ")


def _list(folder: Path, path: str) -> list[Record]:
    """The objects that a file lists."""
    if not (folder / path).exists():
        return []
    key = Path(path).stem
    return Record(path, {key: read_json(folder / path)}).records(key)


def _largest_documents(folder: Path, path: str) -> dict[str, list[Record]]:
    """The ``DOCUMENTS_SHOWN`` largest documents of each split, largest first."""
    if not (folder / path).exists():
        return {}
    heaps: dict[str, list[tuple[int, int, Record]]] = {}
    try:
        with (folder / path).open(encoding="utf-8", errors="replace", newline="") as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                size = int(row["bytes"])
                document = Record(path, row | {"bytes": size}, f"line {line}: ")
                heap = heaps.setdefault(row["split"], [])
                heapq.heappush(heap, (size, -line, document))
                if len(heap) > DOCUMENTS_SHOWN:
                    heapq.heappop(heap)
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder / path} is not a manifest ({error!r}); a CSV file with the columns split and bytes is expected."
        ) from error
    return {split: [document for _, _, document in sorted(heap, reverse=True)] for split, heap in heaps.items()}
