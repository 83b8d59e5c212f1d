"""Take docs/page.webp and docs/page-batch.webp anew; needs Chromium (CHROMIUM names it).

    python -m docs.screenshot_page

Only photos that their licence lets anybody show, credited on the page and in README.
"""

import io
import os
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from ram_ray.demo.page import write_examples
from ram_ray.demo.photos import demo_bucket
from ram_ray.serving.config import PageConfig, ServeConfig
from tests.serving.page_server import serving

DOCS = Path(__file__).parent
PHOTO = "crops/camera-1.jpg"
"""A part of "camera" (CC0): of the demo's pictures ram-mini knows few, and this one."""


def main() -> None:
    """Serve the demo's photos in this process, and take both pictures."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 860}, locale="en-US")
        write_examples(Path(folder))
        photo = Path(folder) / "photo.jpg"
        photo.write_bytes(dict(demo_bucket())[PHOTO])
        with serving(ServeConfig(page=PageConfig(examples=folder))) as address:
            page.goto(address)
            save(page, "page-batch.webp")
        with serving(ServeConfig()) as address:
            page.goto(address)
            page.locator("input[type=file]").first.set_input_files(photo)
            wait_until_tagged(page)
            page.locator(".weaker summary").click()
            save(page, "page.webp")
        browser.close()


def save(page: Page, name: str) -> None:
    """Wait until everything is tagged and drawn; then save what is visible."""
    wait_until_tagged(page)
    with Image.open(io.BytesIO(page.screenshot())) as image:
        image.convert("RGB").save(DOCS / name, "WEBP", quality=82, method=6)


def wait_until_tagged(page: Page) -> None:
    """Wait for every answer and for the drawing after it, which closes what was open."""
    page.locator("#work").wait_for()
    page.locator("#pictures[aria-busy=false]").wait_for(state="attached", timeout=300_000)
    page.wait_for_timeout(1000)


if __name__ == "__main__":
    main()
