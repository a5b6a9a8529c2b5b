"""The main job, step by step: scan, cluster, label, carry the names to new photos, contact sheet.

    python3 dev.py demo                  on photos of real faces that installed packages ship
    python3 dev.py demo ~/Pictures       on your own (nothing is written to them)

Without folders it makes an album of its own in ``demo/photos``: insightface ships one photo of six actors, and an album
needs several of each. So each actor is cut out of it as in five differently framed, turned, lit and compressed
photos; two further people (from insightface and scikit-image) are seen once. A part is held back: the photos that
arrive later.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageEnhance

DEMO = Path(__file__).resolve().parent.parent / "demo"
NAMES = ("Robin", "Sam", "Kim")
PHOTOS_EACH = 5


def photocluster(*arguments: str | Path, show: bool = True) -> str:
    """Run a command of photocluster, shown as a user would type it, and return what it prints."""
    words = [str(argument) for argument in arguments]
    if show:
        quoted = " ".join(f'"{word}"' if " " in word else word for word in words)
        print(f"\n$ photocluster {quoted}", flush=True)
    command = [sys.executable, "-m", "photocluster", "--library", str(DEMO / "library"), *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=False)
    if show:
        print(done.stdout, end="", flush=True)
    if done.returncode not in (0, 3):
        sys.exit(done.returncode)
    return done.stdout


def package_photo(package: str, path: str) -> Image.Image:
    """Open a photo that an installed package ships, without importing the package."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"demo: the package {package} is not installed; run: python3 dev.py demo")
    return Image.open(Path(spec.submodule_search_locations[0]) / path).convert("RGB")


def make_album(album: Path) -> tuple[Path, Path]:
    """Write the album; return the folder of the first photos and that of the later ones."""
    from photocluster.models import Detector

    first, later = album / "2019", album / "2020"
    if later.exists():
        return first, later
    first.mkdir(parents=True, exist_ok=True)
    group = package_photo("insightface", "data/images/t1.jpg")
    group.save(first / "group.jpg", quality=92)
    chance = random.Random(2019)  # noqa: S311  an album, not a secret
    detections = Detector().detect(as_array(group))
    for person, detection in enumerate(sorted(detections, key=lambda d: d.box.x0)):
        for number in range(PHOTOS_EACH):
            photo = variation(group, detection.box, chance)
            folder = first if number < PHOTOS_EACH - 2 else later
            folder.mkdir(exist_ok=True)
            photo.save(folder / f"photo-{number}{person}.jpg", quality=chance.randint(60, 95))
    package_photo("insightface", "data/images/Tom_Hanks_54745.png").save(first / "visitor.png")
    package_photo("skimage", "data/astronaut.png").save(later / "astronaut.png")
    return first, later


def as_array(image: Image.Image):  # noqa: ANN201
    """Return uint8 (h, w, 3)."""
    import numpy as np

    return np.asarray(image)


def variation(group: Image.Image, box, chance: random.Random) -> Image.Image:  # noqa: ANN001
    """Return one person of the group photo as in a photo of their own: framed, turned, lit and scaled by chance."""
    size = max(box.width, box.height)
    centre_x, centre_y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    reach = size * chance.uniform(0.85, 1.1)
    turned = group.rotate(chance.uniform(-14, 14), Image.Resampling.BICUBIC, center=(centre_x, centre_y))
    shift_x, shift_y = size * chance.uniform(-0.1, 0.1), size * chance.uniform(-0.1, 0.1)
    cut = turned.crop(
        tuple(
            round(v)
            for v in (
                centre_x + shift_x - reach,
                centre_y + shift_y - reach,
                centre_x + shift_x + reach,
                centre_y + shift_y + reach,
            )
        )
    )
    scale = chance.uniform(0.7, 2.0)
    cut = cut.resize((round(cut.width * scale), round(cut.height * scale)), Image.Resampling.LANCZOS)
    cut = ImageEnhance.Brightness(cut).enhance(chance.uniform(0.7, 1.3))
    return ImageEnhance.Color(cut).enhance(chance.uniform(0.5, 1.3))


def main() -> None:
    """Walk through the main job."""
    folders = [Path(argument) for argument in sys.argv[1:]]
    DEMO.mkdir(exist_ok=True)
    later: Path | None = None
    if not folders:
        first, later = make_album(DEMO / "photos")
        folders = [first]
    photocluster("scan", *folders)
    photocluster("cluster")
    clusters = json.loads(photocluster("clusters", "--json", show=False))
    if later is not None:
        for name, cluster in zip(NAMES, clusters, strict=False):
            photocluster("label", str(cluster["number"]), name)
        print("\nNew photos arrive: the names are carried over to them.")
        photocluster("scan", *folders, later)
        photocluster("people")
        photocluster("cluster")
    photocluster("export", "html", DEMO / "people")
    where = (DEMO / "people" / "index.html").as_uri()
    print(f"\nLook at the people: {where}\nThe library is in {DEMO / 'library'}; delete {DEMO} to begin again.")


if __name__ == "__main__":
    files("photocluster")  # fails early, and by name, where the package is not installed
    main()
