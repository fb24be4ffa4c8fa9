"""Folders of a task's data, as they are or in an archive: .zip, or .tar in any compression."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from PIL.Image import Image

from foretell.core.errors import UserError
from foretell.core.wording import listed
from foretell.data.compression import inner_suffix, open_bytes, open_zip, zip_member
from foretell.data.image_decoding import decode
from foretell.tasks.files import COMPRESSIONS, MissingDataError, Row, as_text, parse_rows

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst", ".zip")
LARGEST_TAR = 1 << 30  # bytes of a tar's members, which are held in memory


class Folder:
    """Files by their names with slashes: a folder, or an archive of one, whose outermost folders need not be named."""

    def __init__(self, place: Path) -> None:
        """Open a folder or archive.

        Raises:
            UserError: where an archive is damaged or, a tar, larger than :data:`LARGEST_TAR`.
        """
        self.place = place
        self._held: dict[str, bytes] = {}
        self._zip: zipfile.ZipFile | None = None
        if place.is_dir():
            self.names = sorted(file.relative_to(place).as_posix() for file in place.rglob("*") if file.is_file())
        elif place.suffix.lower() == ".zip":
            self._zip = open_zip(place)
            self.names = sorted(self._zip.namelist())
        else:
            self._held = _tar_members(place)
            self.names = sorted(self._held)
        self._by_file: dict[str, list[str]] = {}
        for name in self.names:
            self._by_file.setdefault(PurePosixPath(name).name, []).append(name)

    def find(self, *names: str) -> str | None:
        """The full name of the first of these that is there, in whatever outer folder; None where none is."""
        for name in names:
            for compression in COMPRESSIONS:
                wanted = PurePosixPath(f"{name}{compression}")
                fits = [
                    full
                    for full in self._by_file.get(wanted.name, ())
                    if PurePosixPath(full).parts[-len(wanted.parts) :] == wanted.parts
                ]
                if fits:
                    return min(fits, key=len)
        return None

    def require(self, *names: str) -> str:
        """As :meth:`find`.

        Raises:
            MissingDataError: where none is.
        """
        found = self.find(*names)
        if found is None:
            raise MissingDataError(f"{self.place} has no file '{names[0]}' in it; it is expected there.")
        return found

    def read(self, name: str) -> bytes:
        """A file's bytes, by a full name, decompressed where it is a file of a folder.

        Raises:
            UserError: where it is damaged.
        """
        if self._zip is not None:
            try:
                return zip_member(self._zip, name)
            except UserError as error:
                raise UserError(f"{self.place}: {name}: {error}") from error
        if self._held:
            return self._held[name]
        with open_bytes(self.place / name) as stream:
            return stream.read()

    def text(self, name: str) -> str:
        """A file as UTF-8 text.

        Raises:
            UserError: where it is none.
        """
        return as_text(self.read(name), f"{self.place}: {name}")

    def rows(self, name: str) -> list[Row]:
        """The rows of a table.

        Raises:
            UserError: as :func:`read_rows`.
        """
        return parse_rows(self.read(name), inner_suffix(Path(name)), f"{self.place}: {name}")

    def image(self, *names: str) -> Image | Path:
        """A picture: its path in a folder, which is decoded when it is asked about, and itself out of an archive.

        Raises:
            UserError: where it is missing or, in an archive, damaged.
        """
        try:
            name = self.require(*names)
        except MissingDataError as error:  # the questions are there
            raise UserError(str(error)) from error
        if self._zip is None and not self._held:
            return self.place / name
        return decode(self.read(name), name=f"{self.place}: {name}")


def find_folder(folder: Path, *names: str) -> Folder:
    """The first of ``names`` that is a folder there, or an archive of one.

    Raises:
        MissingDataError: where none is, saying which are expected.
        UserError: where it is a damaged archive.
    """
    if not folder.is_dir():
        raise UserError(f"The data folder {folder} does not exist or is no folder.")
    for name in names:
        if (folder / name).is_dir():
            return Folder(folder / name)
        for suffix in ARCHIVES:
            path = folder / f"{name}{suffix}"
            if path.is_file():
                return Folder(path)
    others = f", or one of {listed(names[1:])}," if len(names) > 1 else ""
    raise MissingDataError(
        f"{folder} has no folder '{names[0]}'; it{others} is expected there, as it is or as an archive "
        f"({', '.join(ARCHIVES)})."
    )


def _tar_members(path: Path) -> dict[str, bytes]:
    held: dict[str, bytes] = {}
    total = 0
    with open_bytes(path) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    total += member.size if member.isreg() else 0
                    if total > LARGEST_TAR:
                        raise UserError(f"{path} holds more than {LARGEST_TAR:,} bytes; unpack it into a folder.")
                    file = archive.extractfile(member) if member.isreg() else None
                    if file is not None:
                        held[member.name] = file.read()
        except (tarfile.TarError, ValueError, OverflowError) as error:
            raise UserError(f"{path} is cut short or is no tar file ({error}).") from error
    return held
