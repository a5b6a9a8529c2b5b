"""Photos that are too large for Pillow: PNG, TIFF and WebP by libvips, AVIF and HEIF without tiles by libav.

Pillow holds every pixel of a picture, four bytes each; libvips, where it is installed (the extra ``large``), reads from
the top down and keeps what it still needs. A PNG of 200 million pixels takes 0.1 GB there instead of 1.4. libav decodes
to the planes that are coded, mostly of one and a half bytes a pixel, and reduces from these: 0.15 GB for an AVIF of 80
million pixels instead of 0.7.
"""

from __future__ import annotations

import io

from PIL import Image

from photocluster.errors import UndecodablePhoto

FORMATS = ("PNG", "TIFF", "WEBP")
"""What libvips reads here."""

CODED = ("AVIF", "HEIF")
"""What libav reads here."""

REMEDY = "pip install 'photocluster[large]' to have such files read piece by piece"


def bytes_needed(content: bytes, name: str, size: tuple[int, int]) -> int:
    """Return what reading takes beside the content and the result, measured on files of 50 to 200 million pixels.

    libvips copies a TIFF's content; libwebp keeps three bytes a pixel of a lossy picture, six of one without loss.
    libav keeps the planes of a picture, and half a byte a pixel beside them.
    """
    if name in CODED:
        return int(size[0] * size[1] * (_plane_bytes(content) + 0.5))
    if name == "TIFF":
        return 2 * len(content)  # the content's own bytes count here, as such files are large
    if name == "WEBP":
        return size[0] * size[1] * (3 if content[12:16] == b"VP8 " else 6)
    return 0


def reduced(content: bytes, name: str, factor: int) -> Image.Image | None:
    """Return a picture of one of `FORMATS` reduced by a whole factor, as it lies in the file, without its profile.

    Transparent parts become white, more than 8 bits a sample are cut to 8. None: libvips is not installed.

    Raises
    ------
    UndecodablePhoto
        libvips cannot decode it.
    """
    try:
        import pyvips
    except (ImportError, OSError):  # OSError: the package is there, and its library is not
        return None
    pyvips.cache_set_max(0)
    try:
        options = {"scale": 1 / factor} if name == "WEBP" else {}
        image = pyvips.Image.new_from_buffer(content, "", access="sequential", **options)
        if image.format in ("ushort", "short"):
            image = image.msb()
        if image.hasalpha():
            image = image.flatten(background=[255] * (image.bands - 1))
        if name != "WEBP":
            image = image.shrink(factor, factor, ceil=True)
        mode = "CMYK" if image.interpretation == "cmyk" else "RGB" if image.bands == 3 else "L"
        return Image.frombuffer(mode, (image.width, image.height), image.cast("uchar").write_to_memory())
    except pyvips.Error as error:
        raise UndecodablePhoto(f"damaged: {' '.join(str(error).split())[:160]}") from error


def _plane_bytes(content: bytes) -> float:
    """Return the bytes a pixel of a coded picture, by the first configuration of an AVIF; else of 10 bits, 4:2:0.

    AV1 Codec ISO Media File Format Binding 1.2, 2.3.3: the box av1C.
    """
    at = content.find(b"av1C")
    if at < 0 or at + 6 >= len(content):
        return 3.0
    flags = content[at + 6]
    colours = 0.0 if flags & 16 else 2.0 / ((1 + (flags >> 3 & 1)) * (1 + (flags >> 2 & 1)))
    return (1.0 + colours) * (2 if flags & 64 else 1)


def reduced_planes(content: bytes, size: tuple[int, int], factor: int) -> Image.Image | None:
    """Return a picture of one of `CODED` reduced by a whole factor, as it lies in the file, without its profile.

    Parameters
    ----------
    content
        The file.
    size
        Its width and height as stored.
    factor
        What they are divided by.

    Returns
    -------
    None for what libav has only in parts: a grid of tiles.

    Raises
    ------
    UndecodablePhoto
        libav cannot decode it.
    """
    import av

    try:
        with av.open(io.BytesIO(content), "r", format="mov") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            frame = next(container.decode(stream))
            # HEVC's pictures end at whole blocks of chroma; the rest is cut off.
            if not (0 <= frame.width - size[0] < _BLOCK and 0 <= frame.height - size[1] < _BLOCK):
                return None
            width, height = -(-frame.width // factor), -(-frame.height // factor)
            rgb = frame.to_ndarray(width=width, height=height, format="rgb24", interpolation="AREA")
    except (av.FFmpegError, IndexError, StopIteration) as error:
        raise UndecodablePhoto(f"damaged: {' '.join(str(error).split())[:160]}") from error
    return Image.fromarray(rgb[: -(-size[1] // factor), : -(-size[0] // factor)])


_BLOCK = 8
"""Pixels by which a coded picture may reach over the one that is shown: HEVC's smallest coding block."""
