"""PNG, TIFF and WebP photos that are too large for Pillow, by libvips where it is installed (the extra ``large``).

Pillow holds every pixel of a picture, four bytes each; libvips reads from the top down and keeps what it still needs.
A PNG of 200 million pixels takes 0.1 GB there instead of 1.4.
"""

from __future__ import annotations

from PIL import Image

from photocluster.errors import UndecodablePhoto

FORMATS = ("PNG", "TIFF", "WEBP")

REMEDY = "pip install 'photocluster[large]' to have such files read piece by piece"


def bytes_needed(content: bytes, name: str, size: tuple[int, int]) -> int:
    """Return what reading takes beside the content and the result, measured on files of 50 to 200 million pixels.

    libvips copies a TIFF's content; libwebp keeps three bytes a pixel of a lossy picture, six of one without loss.
    """
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
