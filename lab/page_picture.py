"""`python -m lab.page_picture PAGE PICTURE`: the top of a page of `cans partition --html`, as a picture.

Needs Chromium on this machine, and playwright (`cans[dev]`).
"""

import argparse
import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SIZE = (1000, 1225)
_COLOURS = 64


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw it: what is seen first, and the map."""
    parser = argparse.ArgumentParser(prog="python -m lab.page_picture", description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path, help="PNG file to write")
    options = parser.parse_args(arguments)
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None or not options.page.is_file():
        print("page_picture: it takes Chromium and a page that exists", file=sys.stderr)
        return 2
    with sync_playwright() as playwright:
        # Its sandbox does not start for root.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        width, height = _SIZE
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        page.goto(options.page.resolve().as_uri())
        shots = [page.screenshot(), page.locator("#best").locator("..").screenshot()]
        browser.close()
    parts = [Image.open(io.BytesIO(shot)).convert("RGB") for shot in shots]
    whole = Image.new("RGB", (width, height + 760), "white")
    whole.paste(parts[0], (0, 0))
    whole.paste(parts[1], ((width - parts[1].width) // 2, height))
    whole.quantize(_COLOURS).save(options.picture, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
