"""What EXIF says of a photo: orientation, time, camera."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from PIL import ExifTags, Image


@dataclass(frozen=True, slots=True)
class ExifFacts:
    """Facts of `records.PhotoFacts`; `orientation` is None where none of 1..8 is stored."""

    orientation: int | None = None
    captured_at: str | None = None
    camera: str | None = None


def exif_facts(picture: Image.Image) -> ExifFacts:
    """Return what the EXIF of a picture says; damaged EXIF yields what could be read of it."""
    with suppress(Exception):  # EXIF is written by everybody, and its damages are as many; the picture is what counts
        return _facts(picture.getexif())
    return ExifFacts()


def tiff_facts(content: bytes) -> ExifFacts:
    """Return what the tags of a TIFF say, or of a RAW file that is one but for its first four bytes (ORF, RW2)."""
    little = content[:2] == b"II"
    with suppress(Exception):
        exif = Image.Exif()
        exif.load_from_fp(io.BytesIO((b"II*\0" if little else b"MM\0*") + content[4:]))
        return _facts(exif)
    return ExifFacts()


def _facts(exif: Image.Exif) -> ExifFacts:
    orientation, captured_at, camera = None, None, None
    with suppress(Exception):
        stored = exif.get(ExifTags.Base.Orientation)
        orientation = stored if isinstance(stored, int) and 1 <= stored <= 8 else None
        camera = _camera(exif.get(ExifTags.Base.Make), exif.get(ExifTags.Base.Model))
        captured_at = capture_time(exif.get_ifd(ExifTags.IFD.Exif))
    return ExifFacts(orientation, captured_at, camera)


def capture_time(details: dict[int, Any]) -> str | None:
    """Return the time of capture in ISO 8601, of the tags of the Exif directory."""
    # Not DateTime: programs set it to the time of the last change.
    times = (details.get(ExifTags.Base.DateTimeOriginal), details.get(ExifTags.Base.DateTimeDigitized))
    return next((time for time in map(_iso_time, times) if time), None)


_TIME = re.compile(r"\s*(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)")


def _iso_time(value: Any) -> str | None:
    """Return EXIF's "2019:07:14 16:02:11" in ISO 8601; None for clocks never set, blanks and impossible dates."""
    found = _TIME.match(_text(value))
    if not found:
        return None
    try:
        return datetime.fromisoformat("{}-{}-{}T{}:{}:{}".format(*found.groups())).isoformat()
    except ValueError:
        return None


def _camera(make: Any, model: Any) -> str | None:
    """Join maker and model; "NIKON CORPORATION" and "NIKON D70" make "NIKON D70"."""
    maker, name = _text(make), _text(model)
    first_word = maker.casefold().split(" ")[0]
    joined = name if first_word and name.casefold().split(" ")[0] == first_word else f"{maker} {name}".strip()
    return joined or None


def _text(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return " ".join(text.split("\0")[0].split()) if isinstance(text, str) else ""
