"""Unpacks gzip and zip, which are recognised by their content."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO, Final, cast

from attrs import frozen

from harken.domain.texts import listed
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.tables.source import BLOCK, Source

GZIP_MAGIC: Final = b"\x1f\x8b"
ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")
#: The member by which a spreadsheet is recognised, which is a zip archive too.
WORKBOOK: Final = "xl/workbook.xml"
#: Members of other documents: OpenDocument, Office, Numbers.
_DOCUMENTS: Final = {"mimetype", "[Content_Types].xml", "Index/Document.iwa"}
#: A file that expands to more than this and to more than a multiple of its size is refused. Feedback repeats less.
MAX_EXPANDED: Final = 1 << 28
MAX_RATIO: Final = 200
#: Members that archivers add.
_ADDED: Final = ("__MACOSX/", ".DS_Store", "Thumbs.db")
_DAMAGED: Final = (EOFError, OSError, zipfile.BadZipFile, zlib.error, RuntimeError, UnicodeDecodeError)


@frozen
class FileContent:
    """The bytes in a file, unpacked if it is compressed.

    Attributes:
        source: the file.
        compression: ``gzip`` or ``zip``; ``None`` if it is not compressed.
        member: the name of the file in a zip archive.
    """

    source: Source
    compression: str | None = None
    member: str = ""

    def chunks(self) -> Iterator[bytes]:
        """All bytes, from the beginning, in pieces.

        Raises:
            UnusableFile: the file is damaged, or expands to far more than its size.
        """
        name, expanded = self.source.name, 0
        limit = max(MAX_EXPANDED, self.source.size * MAX_RATIO)
        try:
            with self._open() as file:
                while data := file.read(BLOCK):
                    expanded += len(data)
                    if expanded > limit:
                        raise UnusableFile(f"{name} expands to more than {MAX_RATIO} times its size; unpack it first")
                    yield data
        except _DAMAGED as error:
            raise UnusableFile(f"{name} is a damaged {self.compression} file: {error}") from error

    @property
    def may_grow(self) -> bool:
        """Whether another program may append rows to the file."""
        return self.compression is None and self.source.may_grow

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        with self.source.open() as packed:
            match self.compression:
                case "gzip":
                    with gzip.GzipFile(fileobj=packed) as file:
                        yield cast("BinaryIO", file)
                case "zip":
                    with zipfile.ZipFile(packed) as archive, archive.open(self.member) as member:
                        yield cast("BinaryIO", member)
                case _:
                    yield packed


def unpack(source: Source) -> FileContent:
    """The content of a file that is gzip, a zip archive with one file, or neither, as is a spreadsheet.

    Raises:
        UnusableFile: the archive is damaged or encrypted, or has no file or several.
    """
    start = source.block(0)
    if start.startswith(GZIP_MAGIC):
        return FileContent(source, "gzip")
    if not start.startswith(ZIP_MAGIC):
        return FileContent(source)
    found = members(source)
    names = {member.filename for member in found}
    if WORKBOOK in names:
        return FileContent(source)
    if names & _DOCUMENTS:
        raise UnusableFile(f"{source.name} is a document of an office program; save its table as .xlsx or CSV")
    return FileContent(source, "zip", _only_member(source.name, found))


def members(source: Source) -> list[zipfile.ZipInfo]:
    """The files in a zip archive.

    Raises:
        UnusableFile: the archive is damaged.
    """
    try:
        with source.open() as packed, zipfile.ZipFile(packed) as archive:
            return [member for member in archive.infolist() if not member.is_dir()]
    except _DAMAGED as error:
        raise UnusableFile(f"{source.name} is a damaged zip file: {error}") from error


def read_members(source: Source) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The name and the bytes in pieces of each file in a zip archive; these are read before the next file.

    Raises:
        UnusableFile: the archive is damaged, or says that it expands to far more than its size. It has no more bytes
            than it says.
    """
    expanded = sum(member.file_size for member in members(source))
    if expanded > max(MAX_EXPANDED, source.size * MAX_RATIO):
        raise UnusableFile(f"{source.name} expands to more than {MAX_RATIO} times its size")
    with source.open() as packed, zipfile.ZipFile(packed) as archive:
        for member in archive.infolist():
            yield member.filename, _read_member(source.name, archive, member)


def _read_member(name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(member) as file:
            yield from iter(partial(file.read, BLOCK), b"")
    except _DAMAGED as error:
        raise UnusableFile(f"{name} is damaged: {error}") from error


def _only_member(name: str, members: Iterable[zipfile.ZipInfo]) -> str:
    found = [member for member in members if not _is_added(member.filename)]
    if not found:
        raise UnusableFile(f"{name} is a zip archive without a file")
    if len(found) > 1:
        names = listed([member.filename for member in found], 5)
        raise UnusableFile(f"{name} is a zip archive with {len(found)} files; unpack it and import them: {names}")
    [member] = found
    if member.flag_bits & 1:
        raise UnusableFile(f"{name} is an encrypted zip archive; unpack it and import {member.filename}")
    return member.filename


def _is_added(name: str) -> bool:
    return name.startswith(_ADDED[0]) or name.rsplit("/", 1)[-1] in _ADDED
