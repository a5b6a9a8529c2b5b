"""How far perceptual hashes of changed copies lie apart, and of different photos: the figures of `pipeline.copies`.

::

    python examples/measure_near_duplicates.py FOLDER... --copied SUBFOLDER

Photos below the folders are compared with each other; those below ``--copied`` (default: all), of at least 300 pixels,
are changed in twelve ways and compared with themselves. Pairs of different photos within a few bits are listed, since
a folder may well hold copies.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from photocluster import photos
from photocluster.errors import PhotoError
from photocluster.perceptual import HashArray, bits_apart, near_pairs, perceptual_hash
from photocluster.walking import WalkProblem, walk

LIMITS = (2, 4, 6, 8, 10, 12, 14)
LEAST_SIDE, LARGEST_SIDE = 300, 1600


def recoded(picture: Image.Image, quality: int = 85) -> Image.Image:
    """Return the picture after a compression as JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def scaled(picture: Image.Image, share: float) -> Image.Image:
    """Return the picture at a share of its size."""
    return picture.resize((round(picture.width * share), round(picture.height * share)), Image.Resampling.LANCZOS)


def cut(picture: Image.Image, share: float) -> Image.Image:
    """Return the picture without a share of its width and height at each edge."""
    width, height = picture.size
    return picture.crop(
        (round(width * share), round(height * share), round(width * (1 - share)), round(height * (1 - share)))
    )


def marked(picture: Image.Image) -> Image.Image:
    """Return the picture with a white label over 3 % of it."""
    copy = picture.copy()
    width, height = copy.size
    ImageDraw.Draw(copy).rectangle((width * 0.6, height * 0.88, width * 0.97, height * 0.96), fill="white")
    return copy


def warmer(picture: Image.Image) -> Image.Image:
    """Return the picture with more red and less blue."""
    return Image.fromarray(np.clip(np.asarray(picture) * [1.15, 1.0, 0.8], 0, 255).astype(np.uint8))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size, quality 75": lambda picture: recoded(scaled(picture, 0.5), 75),
    "a quarter, quality 60": lambda picture: recoded(scaled(picture, 0.25), 60),
    "quality 20": lambda picture: recoded(picture, 20),
    "brightness x 1.3": lambda picture: recoded(ImageEnhance.Brightness(picture).enhance(1.3)),
    "brightness x 0.7": lambda picture: recoded(ImageEnhance.Brightness(picture).enhance(0.7)),
    "contrast x 1.4": lambda picture: recoded(ImageEnhance.Contrast(picture).enhance(1.4)),
    "grey": lambda picture: recoded(picture.convert("L").convert("RGB")),
    "warmer": lambda picture: recoded(warmer(picture)),
    "1 % cut off each edge": lambda picture: recoded(cut(picture, 0.01)),
    "2.5 % cut off": lambda picture: recoded(cut(picture, 0.025)),
    "5 % cut off": lambda picture: recoded(cut(picture, 0.05)),
    "label": lambda picture: recoded(marked(picture)),
}


def read(folders: Sequence[Path]) -> dict[Path, Image.Image]:
    """Return the photos below some folders, reduced."""
    found = {}
    for file in walk(folders):
        if isinstance(file, WalkProblem):
            continue
        try:
            content = photos.read(file.path)
            if photos.is_photo(content[: photos.HEAD]):
                picture = Image.fromarray(photos.decode(content, longest_side=LARGEST_SIDE).rgb)
                picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
                found[file.path] = picture
        except PhotoError:
            continue
    return found


def hashes(pictures: Sequence[Image.Image]) -> HashArray:
    """Return the hashes of pictures that have one."""
    found = [perceptual_hash(np.asarray(picture)) for picture in pictures]
    return np.array([value for value in found if value is not None], dtype=np.int64)


def print_copies(pictures: Sequence[Image.Image]) -> None:
    """Print by how many bits changed copies differ."""
    print(f"{len(pictures)} photos, changed: share within so many bits\n{'':28}" + "".join(f"{n:7}" for n in LIMITS))
    originals = hashes(pictures)
    for name, change in CHANGES.items():
        apart = bits_apart(originals, hashes([change(picture) for picture in pictures]))
        print(f"{name:28}" + "".join(f"{np.mean(apart <= limit):7.2f}" for limit in LIMITS))


def print_different(paths: Sequence[Path], values: HashArray, listed: int) -> None:
    """Print how many pairs of photos are within so many bits, and which are within few."""
    rows, columns = np.triu_indices(len(values), 1)
    apart = bits_apart(values[rows], values[columns])
    print(f"\n{len(values)} photos, {len(apart):,} pairs: pairs within so many bits\n{'':28}", end="")
    print("".join(f"{np.sum(apart <= limit):7}" for limit in LIMITS))
    for pair in np.flatnonzero(apart <= listed):
        print(f"  {apart[pair]} bits: {paths[rows[pair]]}  {paths[columns[pair]]}")


def print_time(count: int) -> None:
    """Print how long the search takes among random hashes."""
    values = np.random.default_rng(0).integers(-(2**63), 2**63, count, dtype=np.int64)
    for radius in (3, 6):
        started = time.process_time()
        near_pairs(values, radius)
        print(f"search among {count:,} random hashes, {radius} bits: {time.process_time() - started:.1f} s of CPU")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--copied", action="append", type=Path, help="change the photos below this folder only")
    parser.add_argument("--listed", type=int, default=8, help="list pairs within so many bits (default: 8)")
    parser.add_argument("--count", type=int, default=500_000, help="hashes searched among (default: 500,000)")
    options = parser.parse_args()
    pictures = read(options.folders)
    below = [folder.absolute() for folder in options.copied or options.folders]
    copied = [
        picture
        for path, picture in pictures.items()
        if min(picture.size) >= LEAST_SIDE and any(folder in path.parents for folder in below)
    ]
    print_copies([picture for picture in copied if perceptual_hash(np.asarray(picture)) is not None])
    values = {path: perceptual_hash(np.asarray(picture)) for path, picture in pictures.items()}
    known = {path: value for path, value in values.items() if value is not None}
    print_different(list(known), np.array(list(known.values()), dtype=np.int64), options.listed)
    print_time(options.count)


if __name__ == "__main__":
    main()
