"""Takes pictures of `digitsum report` and `digitsum draw`, as the README shows them.

Usage: python scripts/screenshots.py REPORT.html    (make pictures runs all that is needed)

Needs playwright and a Chromium on the path.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from handwriting import written  # noqa: E402

WRITTEN = "3058"
COLOURS = 64  # in a picture, which is enough for pages like these


def take(
    report: Annotated[Path, typer.Argument(help="A page that digitsum report wrote.")],
) -> None:
    """Takes pictures of a report and of the page of `digitsum draw`."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    command = [sys.executable, "-m", "digitsum", "draw", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    found = re.search(r"http://\S+/", server.stderr.readline())
    assert found, "digitsum draw did not start"
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1000, "height": 1100})
            page.goto(report.resolve().as_uri())
            page.locator("h2", has_text="Confidence").evaluate(
                "heading => heading.scrollIntoView()"
            )
            _save(page, "report.png", whole=False)
            page = browser.new_page(viewport={"width": 860, "height": 900})
            page.goto(found[0])
            page.wait_for_selector("#model option", state="attached")
            _write(page)
            _save(page, "draw.png", whole=True)
            browser.close()
    finally:
        server.terminate()


def _write(page: Page) -> None:
    """Writes some digits with the mouse."""
    box = page.locator("#paper").bounding_box()
    assert box is not None
    for stroke in written(WRITTEN, box["x"] + 40, box["y"] + 30, 130, gap=0.45):
        page.mouse.move(*stroke[0])
        page.mouse.down()
        for point in stroke[1:]:
            page.mouse.move(*point)
        page.mouse.up()
    page.wait_for_timeout(1000)


def _save(page: Page, name: str, whole: bool) -> None:
    path = ROOT / "docs" / name
    page.screenshot(path=path, full_page=whole)
    Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    typer.run(take)
