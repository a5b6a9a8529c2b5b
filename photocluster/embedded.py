"""Where the files of photos and videos keep an XMP packet, and how a HEIF is to be turned.

Nothing is decoded: headers are read, by Pillow where it knows the format. What it does not know (RAW, video, JPEG XL)
is searched for a packet, as the specification provides for (XMP part 1, 7.3: packets can be found by scanning).
"""

from __future__ import annotations

import io
import mmap
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from photocluster.errors import UnreadableFile
from photocluster.formats import HEAD, format_of
from photocluster.heif import orientation_of
from photocluster.xmp_parts import check, extensions

_PACKETS = ((b"<x:xmpmeta", b"</x:xmpmeta>"), (b"<x:xapmeta", b"</x:xapmeta>"))
_KEYWORDS = (2, 25)
"""The dataset of IPTC that holds a keyword."""

_MP_ENTRIES = 0xB002
"""The tag of MPF that lists the pictures (CIPA DC-007, 5.2.3)."""

LONGEST_PACKET = 64 * 2**20
"""Bytes of a packet that are looked at; a packet with an edit history and masks has a few million."""


def packets(path: Path) -> list[bytes]:
    """Return the XMP packets that a file holds: none, one, or the main one and what a JPEG keeps as its extension.

    Raises
    ------
    UnreadableFile
        The file cannot be opened.
    """
    try:
        with path.open("rb") as file:
            picture = _header(file)
            if picture is None:
                return _scanned(file)
            with picture:
                return _of_picture(picture)
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def iptc_keywords(path: Path) -> list[str]:
    """Return the IPTC keywords of a JPEG or TIFF; of what cannot be read, or is of an unknown encoding, none."""
    from PIL import IptcImagePlugin

    with suppress(Exception), path.open("rb") as file:  # IPTC has as many damages as writers
        picture = _header(file)
        if picture is not None:
            with picture:
                found = IptcImagePlugin.getiptcinfo(picture) or {}
                entries = found.get(_KEYWORDS, [])
                listed = entries if isinstance(entries, list) else [entries]
                return [text for entry in listed if (text := entry.decode("utf-8").strip("\0 "))]
    return []


def pictures(path: Path) -> int:
    """Return how many further pictures of a JPEG (MPF: previews, gain maps, the other eye) are where its index says."""
    with suppress(Exception), path.open("rb") as file:  # an index has as many damages as writers
        picture = _header(file)
        if picture is not None and "mp" in picture.info:
            base = picture.info["mpoffset"]
            entries = picture._getmp()[_MP_ENTRIES]  # noqa: SLF001  Pillow has no other reader of the index
            starts = [base + entry["DataOffset"] for entry in entries if entry["DataOffset"]]
            return sum(_starts_picture(file, start) for start in starts)
    return 0


def _starts_picture(file: Any, start: int) -> bool:
    file.seek(start)
    return bool(file.read(2) == b"\xff\xd8")


def check_parts(path: Path) -> None:
    """Raise where a photo's XMP is in parts that do not belong together.

    Raises
    ------
    ScatteredMetadata
        See `xmp_parts.check`.
    UnreadableFile
        The file cannot be opened.
    """
    try:
        with path.open("rb") as file:
            picture = _header(file)
            if picture is not None:
                with picture:
                    check(_app1(picture))
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def orientation(path: Path) -> int:
    """Return how the stored picture is to be turned: of a HEIF or AVIF by its container, else by EXIF; 1 if unknown."""
    with suppress(OSError, ValueError), path.open("rb") as file:
        head = file.read(12)
        if head[4:8] == b"ftyp" and head[8:12] != b"crx ":
            return _container_orientation(path)
        file.seek(0)
        picture = _header(file)
        if picture is not None:
            with picture, suppress(Exception):  # EXIF has as many damages as writers
                value = picture.getexif().get(0x0112)
                return value if isinstance(value, int) and 1 <= value <= 8 else 1
        return _raw_orientation(path)
    return 1


_FLIPS = {3: 3, 5: 8, 6: 6}
"""EXIF orientation by LibRaw's flip, where it is not 1."""


def _raw_orientation(path: Path) -> int:
    try:
        import rawpy
    except ImportError:
        return 1
    with suppress(rawpy.LibRawError, OSError), rawpy.imread(os.fspath(path)) as raw:
        return _FLIPS.get(raw.sizes.flip, 1)
    return 1


def size(path: Path) -> tuple[int, int] | None:
    """Return width and height of the upright picture in pixels, or None where Pillow does not know the format."""
    with suppress(OSError, ValueError), path.open("rb") as file:
        picture = _header(file)
        if picture is not None:
            with picture:
                width, height = picture.size
                turned = picture.format != "HEIF" and orientation(path) >= 5
                return (height, width) if turned else (width, height)
    return None


def _header(file: Any) -> Any:
    """Return Pillow's picture with its header read, or None.

    Not by `Image.open`: it refuses large pictures, and would let the parsers of many formats loose on the file.
    """
    from PIL import AvifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

    head = file.read(HEAD)
    file.seek(0)
    plugins: dict[str | None, Any] = {
        "JPEG": JpegImagePlugin.JpegImageFile,
        "PNG": PngImagePlugin.PngImageFile,
        "WEBP": WebPImagePlugin.WebPImageFile,
        "AVIF": AvifImagePlugin.AvifImageFile,
    }
    is_tiff = head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}  # most RAW files are TIFFs, too
    name = "TIFF" if is_tiff else format_of(head)
    if name == "HEIF":
        return _heif(file)
    plugin = TiffImagePlugin.TiffImageFile if is_tiff else plugins.get(name)
    if plugin is not None:
        with suppress(SyntaxError, IndexError, TypeError, KeyError, struct.error):
            return plugin(file, "")
        file.seek(0)
    return None


def _heif(file: Any) -> Any:
    try:
        from pillow_heif import HeifImageFile

        return HeifImageFile(io.BytesIO(file.read()))  # type: ignore[no-untyped-call]
    except (ImportError, SyntaxError, ValueError, RuntimeError):
        file.seek(0)
        return None


def _of_picture(picture: Any) -> list[bytes]:
    if picture.format == "PNG":
        with suppress(Exception):  # the packet may stand behind the pixels; what was read before a damage counts
            picture.load()
    main = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp")
    found = [main.encode() if isinstance(main, str) else main] if main else []
    for guid, extension in extensions(_app1(picture)).items():
        if found and guid in found[0]:  # an extension belongs to the packet that names it
            found.append(extension)
    return found


def _app1(picture: Any) -> list[bytes]:
    return [data for marker, data in getattr(picture, "applist", ()) if marker == "APP1"]


def _scanned(file: Any) -> list[bytes]:
    if not file.seek(0, io.SEEK_END):
        return []
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for begin, end in _PACKETS:
            start = content.find(begin)
            stop = content.find(end, start, start + LONGEST_PACKET) if start >= 0 else -1
            if stop >= 0:
                return [content[start : stop + len(end)]]
    return []


def _container_orientation(path: Path) -> int:
    """Return how the container of a HEIF turns its picture; read are its boxes but for the pixels."""
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"meta" and 8 <= length < LONGEST_PACKET:
                return orientation_of(head + file.read(length - 8))
            if length == 1:
                length = int.from_bytes(file.read(8), "big") - 8
            if length < 8:
                break
            file.seek(length - 8, io.SEEK_CUR)
    return 1
