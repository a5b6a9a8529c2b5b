"""The picture in which a face was seen: the photo, or the frame of the video."""

from __future__ import annotations

from pathlib import Path

from photocluster import photos, video
from photocluster.errors import UndecodablePhoto
from photocluster.records import DecodedPhoto, FaceRow


def load_picture(row: FaceRow, least_long_side: int) -> DecodedPhoto:
    """Return the picture of a face, upright; the file is only read.

    Parameters
    ----------
    row
        The face.
    least_long_side
        Pixels that the picture's long side should have, if it has them.

    Raises
    ------
    PhotoError
        The file is not there, or cannot be decoded.
    """
    if not row.path:
        raise UndecodablePhoto("no file with this photo is known any more")
    path = Path(row.path)
    if row.time is None:
        return photos.decode(photos.read(path), longest_side=least_long_side)
    with video.Clip(path, longest_side=least_long_side) as clip:
        (_, picture), *_ = clip.at([row.time])
    return picture
