"""Writing files so that a reader sees the old content or the new one, never half of either."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of ``data`` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """The one JSON text that equal values share (sorted keys, no spaces, no NaN); what hashes are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_hash(value: Any) -> str:
    """SHA-256 of :func:`canonical_json` of ``value``."""
    return sha256_bytes(canonical_json(value).encode())


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals around ``path`` into sentences (full disk, no permission, not a folder).

    Raises:
        UserError: where the disk is full or the place cannot be written; other errors pass through.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or path
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"The disk is full: {where} could not be written. Free some space and start the same command again; "
                "finished steps are kept."
            ) from error
        if error.errno == errno.EFBIG:
            raise UserError(f"{where} grew too large for a file here (ulimit -f, or the disk's format).") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
            raise UserError(f"{where} cannot be written ({error.strerror}); choose another --output.") from error
        if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
            raise UserError(f"{where} is in the way: a folder was expected where a file is, or the reverse.") from error
        raise


def fsync_directory(path: Path) -> None:
    """Make a rename inside ``path`` durable (a no-op where folders cannot be opened, as on Windows)."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file by way of a temporary one beside it, synced and renamed.

    Raises:
        UserError: where the disk is full or the folder is not writable.
    """
    raw = data.encode() if isinstance(data, str) else data
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        fsync_directory(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file, in UTF-8 or as another program's shell wrote it (UTF-16 or a byte order mark).

    Raises:
        UserError: where the file is missing, cannot be read or is not JSON.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); a JSON file is expected.") from error
    try:
        return json.loads(raw.decode(json.detect_encoding(raw)))
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1} is no text"
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
    except ValueError:
        where = "a number in it has thousands of digits"
    except RecursionError:
        where = "it is nested too deep"
    raise UserError(f"{path} is not readable as JSON ({where}); it was cut short or edited, or is another file.")


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Fill a folder under a temporary name; it appears as ``path`` only when the block ends without an error."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with file.open("rb") as handle:
                        os.fsync(handle.fileno())
            temporary.chmod(0o755)
            if path.exists():
                shutil.rmtree(path)
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        fsync_directory(path.parent)


def cache_folder() -> Path:
    """Where a user's programs keep what can be had again: ``$XDG_CACHE_HOME/foretell`` or ``~/.cache/foretell``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "foretell"


def require_writable(path: Path) -> None:
    """Create ``path`` as a folder and prove that a file can be written in it.

    Raises:
        UserError: where it cannot.
    """
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as probe:
            probe.write(b"foretell")


def require_space(path: Path, needed: float, purpose: str) -> None:
    """Raise before work starts when the disk under ``path`` has less than ``needed`` bytes free.

    Raises:
        UserError: naming both figures.
    """
    free = shutil.disk_usage(path).free
    if free < needed:
        raise UserError(
            f"{path} has {free / 1e6:,.0f} MB free and {purpose} needs about {needed / 1e6:,.0f} MB; "
            "free some space or choose another folder with --output."
        )
