"""ExifTool, as a program of its own: the way to write metadata into photos.

It writes every format that matters here (HEIF, AVIF and PNG among them), touches nothing but what it is told to, and is
found on every system. It runs as a process, so that its licence (that of Perl) has no bearing on this program's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from photocluster.errors import MissingDependency, PhotoError

OLDEST = 12.0
"""The version from which on it writes XMP into HEIF and AVIF."""

LONGEST_KEYWORD = 64
"""Bytes that IPTC allows for a keyword (IIM 4.2, dataset 2:25)."""

REMEDY = (
    "Install it (Debian and Ubuntu: apt install libimage-exiftool-perl; macOS: brew install exiftool; Windows: winget "
    "install OliverBetz.ExifTool), or export sidecars: the same command without --embed"
)


class EmbeddingFailed(PhotoError):
    """ExifTool did not write the metadata; the photo is as it was."""


@dataclass(frozen=True, slots=True)
class Keywords:
    """What a photo has of IPTC.

    `entries` are its keywords, `unicode` tells that they are in UTF-8, `present` that there are any IPTC data at all,
    `digest` that a program noted their checksum, by which others see whether XMP or IPTC was changed last, `bare` that
    there are no IPTC data but keywords.
    """

    entries: tuple[str, ...]
    unicode: bool
    present: bool
    digest: bool
    bare: bool


_AROUND_KEYWORDS = frozenset(("Keywords", "CodedCharacterSet", "EnvelopeRecordVersion", "ApplicationRecordVersion"))


class ExifTool:
    """One running ExifTool, for many files. A context manager.

    Raises
    ------
    MissingDependency
        It is not installed, or too old.
    """

    def __init__(self) -> None:
        program = shutil.which("exiftool")
        if program is None:
            raise MissingDependency(f"writing into photos needs ExifTool, which is not installed. {REMEDY}")
        self._process = subprocess.Popen(  # noqa: S603  no shell, and a program of the user's PATH
            [program, "-stay_open", "True", "-@", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        version = self._run(["-ver"]).strip()
        if _number(version) < OLDEST:
            self.close()
            raise MissingDependency(f"writing into photos needs ExifTool {OLDEST:g} or newer, not {version}. {REMEDY}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None and self._process.poll() is None:
            self._process.stdin.write(b"-stay_open\nFalse\n")
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def keywords(self, path: Path) -> Keywords:
        """Return the IPTC keywords of a photo.

        Raises
        ------
        EmbeddingFailed
            ExifTool cannot read the file.
        """
        answer = self._run(["-j", "-G1", "-IPTC:all", "-Photoshop:IPTCDigest", os.fspath(path)])
        try:
            found: dict[str, Any] = json.loads(answer)[0]
        except (ValueError, IndexError) as error:
            raise EmbeddingFailed(f"ExifTool cannot read it: {_one_line(answer)}") from error
        keywords = found.get("IPTC:Keywords", [])
        entries = keywords if isinstance(keywords, list) else [keywords]
        there = {key.removeprefix("IPTC:") for key in found if key.startswith("IPTC:")}
        present = bool(there)
        unicode = not present or "UTF8" in str(found.get("IPTC:CodedCharacterSet", ""))
        digest = "Photoshop:IPTCDigest" in found
        return Keywords(tuple(map(str, entries)), unicode, present, digest, there <= _AROUND_KEYWORDS)

    def embed(
        self,
        path: Path,
        packet: Path | None,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        without_iptc: bool = False,
    ) -> None:
        """Write an XMP packet and IPTC keywords into a file, in place.

        Parameters
        ----------
        packet
            The file that holds the packet; None takes the XMP out.
        add, remove
            IPTC keywords. New IPTC data are marked as UTF-8.
        without_iptc
            Take the IPTC data out.

        Raises
        ------
        EmbeddingFailed
            The file's format has no place for it, or the file is damaged.
        """
        arguments = ["-overwrite_original_in_place", "-xmp:all=" if packet is None else f"-xmp<={packet}"]
        if add or remove:
            there = self.keywords(path)
            arguments += [] if there.present else ["-IPTC:CodedCharacterSet=UTF8"]
            arguments += ["-IPTCDigest=new"] if there.digest else []
        arguments += ["-IPTC:all="] if without_iptc else []
        arguments += [f"-IPTC:Keywords-={keyword}" for keyword in (*remove, *add)]
        arguments += [f"-IPTC:Keywords+={keyword}" for keyword in add]
        answer = self._run([*arguments, os.fspath(path)])
        if "1 image files updated" not in answer:
            raise EmbeddingFailed(f"ExifTool did not write it: {_one_line(answer)}")

    def _run(self, arguments: Sequence[str]) -> str:
        """Return what ExifTool answers to one command."""
        lines = [_line(os.fsencode(argument)) for argument in arguments]
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise EmbeddingFailed("ExifTool ended")
        answer = b""
        try:
            stdin.write(b"\n".join([*lines, b"-execute", b""]))
            stdin.flush()
            while not answer.endswith(b"{ready}\n"):
                line = stdout.readline()
                if not line:
                    raise EmbeddingFailed(f"ExifTool ended: {_one_line(answer.decode('utf-8', 'replace'))}")
                answer += line.replace(b"\r\n", b"\n")
        except OSError as error:
            raise EmbeddingFailed(f"ExifTool ended ({error.strerror})") from error
        return answer.removesuffix(b"{ready}\n").decode("utf-8", "replace")


def _line(argument: bytes) -> bytes:
    """Return an argument as a line of a file of arguments (-@); one with a line break as a string of C.

    Raises
    ------
    EmbeddingFailed
        It holds what ExifTool's strings of C do not take beside line breaks.
    """
    if b"\n" not in argument and b"\r" not in argument:
        return argument
    if any(mark in argument for mark in (b'"', b"$", b"@", b"\\")):
        raise EmbeddingFailed('ExifTool cannot be given a path with a line break and one of " $ @ \\')
    return b"#[CSTR]" + argument.replace(b"\n", b"\\n").replace(b"\r", b"\\r")


def _number(version: str) -> float:
    try:
        return float(version.split(maxsplit=1)[0])
    except (ValueError, IndexError):
        return 0.0


def _one_line(answer: str) -> str:
    return " ".join(answer.split())[:300] or "no reason given"
