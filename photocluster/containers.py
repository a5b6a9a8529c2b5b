"""Containers of videos: which kind a file is by its content, whether it is whole, what its metadata say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from io import BufferedReader

from photocluster.errors import UndecodablePhoto

HEAD = 400
"""Bytes that suffice to tell a video: two packets of an MPEG transport stream with its time codes are 384."""

UNKNOWN_TIMES = ("1904-01-01T00:00:00", "1970-01-01T00:00:00")
"""The zero of QuickTime's and of Unix's clock: no clock was set."""

_STILL_OR_SOUND = r"hei[cxms]|hev[cxms]|mif1|msf1|avi[fs]|crx |jxl |jxs |jp2 |jpx |M4[ABP] |F4[AB] |aax |aaxc"

_MAGIC: tuple[tuple[str, str, str], ...] = (
    ("3GP", "mov", r".{4}ftyp3g"),
    ("MOV", "mov", r".{4}ftypqt  |.{4}(?:moov|mdat)|\0.{3}(?:wide|skip|free|pnot)"),
    ("MP4", "mov", rf".{{4}}ftyp(?!{_STILL_OR_SOUND})"),
    ("AVI", "avi", r"RIFF.{4}AVI "),
    ("WebM", "matroska", r"\x1a\x45\xdf\xa3.{1,40}?\x42\x82.{1,2}webm"),
    ("MKV", "matroska", r"\x1a\x45\xdf\xa3.{1,40}?\x42\x82.{1,2}matroska"),
    ("MTS", "mpegts", r"(?:.{4}\x47.{187}){2}|(?:\x47.{187}){2}\x47"),
    ("MPEG", "mpeg", r"\x00\x00\x01\xba"),
    ("WMV", "asf", r"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    ("FLV", "flv", r"FLV\x01"),
)
"""Name of the format, libav's demuxer, and signature at the start of the content. The brands of ISO files that are
still pictures or sound are left out: they are photos' business or nobody's."""

_SIGNATURES = tuple((name, demuxer, re.compile(p.encode("latin-1"), re.DOTALL)) for name, demuxer, p in _MAGIC)


def format_of(head: bytes) -> tuple[str, str] | None:
    """Return the format's name and libav's demuxer of the content that begins with `head`; None for other files."""
    return next(((name, demuxer) for name, demuxer, signature in _SIGNATURES if signature.match(head[:HEAD])), None)


_MOOV_READ = 4 * 2**20
"""Bytes of an index that are searched for signs of encryption, which stand before the tables of its samples."""

_PROTECTED = re.compile(rb"(encv|drmi).{,400}sinf", re.DOTALL)
"""The sample entry of an encrypted stream, ISO 14496-12 and Apple's FairPlay."""


def refuse_unusable(file: BufferedReader, size: int) -> None:
    """Refuse an ISO file (MP4, MOV) whose outermost boxes reach beyond its end, without an index, or encrypted.

    Mostly it is still being copied, and would stay in the library as a clip of its own once the copy is complete.
    """
    position, kinds = 0, set()
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:  # to the end of the file
            length = size - position
        if length < 8:
            break
        kinds.add(kind)
        if kind == b"moov" and _PROTECTED.search(file.read(_MOOV_READ)):
            raise UndecodablePhoto("it is encrypted (protected against copying)")
        if position + length > size:
            raise UndecodablePhoto(
                f"cut off: {size:,} bytes of at least {position + length:,} are there. If it is still being copied, "
                "scan again later"
            )
        position += length
    if not kinds & {b"moov", b"moof"}:
        raise UndecodablePhoto("damaged: its index (moov) is missing, as when a recording or a copy broke off")


def captured_at(said: Mapping[str, str]) -> str | None:
    """Return when a clip was taken: QuickTime's creation date, which is local time, else the container's.

    That one is UTC by its standard, and local time in many cameras: it is taken as it stands.
    """
    for key in ("com.apple.quicktime.creationdate", "date-eng", "creation_time", "date", "icrd", "datetimeoriginal"):
        value = said.get(key, "").strip()
        if not re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", value):
            continue
        with suppress(ValueError):
            time = datetime.fromisoformat(value).replace(tzinfo=None, microsecond=0).isoformat()
            if time not in UNKNOWN_TIMES:
                return time
    return None


def camera(said: Mapping[str, str]) -> str | None:
    """Return maker and model; "NIKON" and "NIKON D70" make "NIKON D70"."""
    maker = next((said[k] for k in ("com.apple.quicktime.make", "com.android.manufacturer", "make") if k in said), "")
    model = next((said[k] for k in ("com.apple.quicktime.model", "com.android.model", "model") if k in said), "")
    maker, model = " ".join(maker.split()), " ".join(model.split())
    first_word = maker.casefold().split(" ")[0]
    joined = model if first_word and model.casefold().split(" ")[0] == first_word else f"{maker} {model}".strip()
    return joined or None
