"""Take the manual's pictures from a studio that runs: every tab, both languages, two sizes.

`python docs/screenshots.py http://127.0.0.1:7860 docs/images` (needs tests/requirements.txt and a
Chromium). The first picture of the desk in English is `studio.png`, which the README shows.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

PLACES = ("create", "gallery", "queue", "models", "settings")
SIZES = {"desk": (1440, 900), "phone": (390, 844)}
MOST_BYTES = 190_000


def main() -> None:
    """Open the studio and go through its tabs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--all", action="store_true", help="not the README's picture alone")
    wish = parser.parse_args()
    wish.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=wish.chromium, args=["--no-sandbox"])
        for language in ("en", "zh") if wish.all else ("en",):
            for name, (width, height) in SIZES.items() if wish.all else (("desk", SIZES["desk"]),):
                context = browser.new_context(viewport={"width": width, "height": height})
                cookie = {"name": "studio-language", "value": language, "url": wish.url}
                context.add_cookies([cookie])  # type: ignore[list-item]
                _walk(context.new_page(), wish, f"{name}-{language}")
                context.close()
        browser.close()


def _walk(page: Any, wish: argparse.Namespace, what: str) -> None:
    page.goto(wish.url)
    page.wait_for_selector("#t2v-plan .vs-plan")
    page.wait_for_timeout(1500)
    for place in PLACES if wish.all else PLACES[:1]:
        page.click(f"#place-{place}-button")
        page.wait_for_timeout(1500)
        name = "studio" if (what, place) == ("desk-en", "create") else f"{what}-{place}"
        target = wish.folder / f"{name}.png"
        page.screenshot(path=target)
        if target.stat().st_size > MOST_BYTES:
            Image.open(target).convert("P", palette=Image.Palette.ADAPTIVE).save(target)


if __name__ == "__main__":
    main()
