"""The Python source of the running environment: real text that is on every machine, without a download."""

from __future__ import annotations

import csv
import os
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from foretell.data.documents import Document, Item, Listing, Unreadable, decode_text, keyed_hash

STDLIB_LICENCE = "PSF-2.0"
# Tests of the standard library hold encodings and syntax errors on purpose; the others are applications.
LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "idle_test", "__pycache__", "site-packages", "dist-packages"}
OWN_DISTRIBUTION = "foretell"


@dataclass(frozen=True, slots=True)
class _SourceFile:
    path: str
    identity: str
    project: str
    licence: str | None


def list_environment(seed: int) -> Listing:
    """List the standard library and the installed distributions, Foretell itself left out.

    Only names are collected here. Files are read in the order of a keyed hash of their names, so however large the
    environment is, no more of it is read than the corpus needs.
    """
    files = [*_standard_library(), *_distributions()]
    files.sort(key=lambda file: (keyed_hash(seed, file.identity), file.identity))
    return Listing(files_found=len(files), read_at_least=0, items=map(_read, files))


def _read(file: _SourceFile) -> Item:
    try:
        data = Path(file.path).read_bytes()
    except OSError:
        return Unreadable(file.identity, 0)
    text = decode_text(data)
    if text is None:
        return Unreadable(file.identity, len(data))
    return Document(text, file.project, file.identity, file.licence, file.identity)


def _standard_library() -> Iterator[_SourceFile]:
    """Each top-level module or package is a project, ``stdlib/asyncio``."""
    root = sysconfig.get_paths()["stdlib"]
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT)
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)  # noqa: PTH118 (thousands of names: a Path each is slow)
                relative = os.path.relpath(path, root).replace(os.sep, "/")
                project = "stdlib/" + relative.split("/")[0].removesuffix(".py")
                yield _SourceFile(path, f"stdlib/{relative}", project, STDLIB_LICENCE)


def _distributions() -> Iterator[_SourceFile]:
    """The ``.py`` files of each installed distribution; its name is the project."""
    seen = {OWN_DISTRIBUTION}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        normal = re.sub(r"[-_.]+", "-", name).lower() if name else ""
        if not normal or normal in seen:
            continue
        seen.add(normal)
        licence = licence_of(distribution)
        for relative in _python_files(distribution):
            path = str(distribution.locate_file(relative))
            yield _SourceFile(path, f"{normal}/{relative}", normal, licence)


def _python_files(distribution: metadata.Distribution) -> Iterator[str]:
    """Files of a distribution inside its site-packages, from RECORD (building ``.files`` costs far more)."""
    record = distribution.read_text("RECORD")
    names = (row[0] for row in csv.reader(record.splitlines()) if row) if record else map(str, distribution.files or [])
    for name in sorted(set(names)):
        if name.endswith(".py") and not name.startswith(("../", "/", "__editable__")):
            yield name


def licence_of(distribution: metadata.Distribution) -> str | None:
    """The licence that a distribution's metadata state: the expression, else the field, else the classifier."""
    fields = distribution.metadata
    stated = next((fields[name] for name in ("License-Expression", "License") if name in fields), "")
    first_line = next((line.strip() for line in stated.splitlines() if line.strip()), "")
    if 0 < len(first_line) <= 60 and first_line.upper() != "UNKNOWN":
        return first_line
    for classifier in fields.get_all("Classifier") or []:
        if classifier.startswith("License ::"):
            return str(classifier).rpartition("::")[2].strip()
    return first_line[:57] + "..." if len(first_line) > 60 else None
