"""Take the README's picture of a contact sheet: of the demo's people, faces that installed packages ship.

    python3 dev.py demo && python examples/index_picture.py

Needs a browser, and what `dev.py test` installs.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

EXAMPLES = Path(__file__).resolve().parent
SHEET = EXAMPLES.parent / "demo" / "people" / "index.html"
PICTURE = EXAMPLES / "contact-sheet.jpg"


def main() -> None:
    """Open the sheet, and save what is seen."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    sheet = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else SHEET
    if program is None or not sheet.exists():
        sys.exit(f"needs a browser (chromium) and {sheet}, which is made by: python3 dev.py demo")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program)
        page = browser.new_page(viewport={"width": 1000, "height": 690}, color_scheme="light")
        page.goto(sheet.as_uri())
        page.wait_for_load_state("networkidle")
        page.screenshot(path=str(PICTURE), type="jpeg", quality=80)
        browser.close()
    print(PICTURE)


if __name__ == "__main__":
    main()
