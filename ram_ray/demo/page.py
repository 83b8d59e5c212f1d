"""`ram-ray demo --serve`: the page of `ram-ray serve` with the demo's photos in its batch view."""

import json
import os
import sys
import webbrowser
from pathlib import Path

from ram_ray.demo.folder import start_afresh
from ram_ray.demo.photos import PHOTOS, demo_bucket
from ram_ray.tagging import terminal

SHOWN = ("photos/", "crops/", "broken/")
"""The photos, parts of them, and what goes wrong; mirrored and grey copies would only repeat."""


def serve_demo(output: Path, port: int) -> None:
    """Put the demo's photos into `output` and serve the page that shows them, until stopped.

    Raises:
        ConfigError: a package of the `demo` extra is missing, `output` holds something else, or
            the port is taken.
        UnreachableError: the server did not start.
    """
    from ram_ray.serving.config import JobsConfig, PageConfig, ServeConfig
    from ram_ray.serving.server import check_server, run_server

    start_afresh(output)
    photos = output.resolve() / "photos"
    num_shown = write_examples(photos)
    config = ServeConfig(
        port=port,
        page=PageConfig(examples=str(photos)),
        jobs=JobsConfig(
            sources=(str(photos),),
            outputs=(str(output.resolve() / "jobs"),),
            settings=("shard_rows=10", "max_error_rate=0.2"),  # broken files are there on purpose
        ),
    )
    check_server(config)
    terminal.print_step(f"Put {num_shown} pictures into {photos}; now Ray starts and serves a page")
    run_server(config, on_ready=_show)


def write_examples(folder: Path) -> int:
    """Write the pictures and their examples.json (docs/page.md); return how many there are."""
    listed = []
    for key, data in demo_bucket():
        if not key.startswith(SHOWN):
            continue
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        listed.append({"name": key} | _credit(path.stem))
    text = json.dumps({"open": True, "pictures": listed}, indent=1)
    (folder / "examples.json").write_text(text, encoding="utf-8")
    return len(listed)


def _credit(stem: str) -> dict[str, str]:
    """Return whose photo it is: crops are called NAME-1, NAME-2."""
    for photo in PHOTOS:
        if stem == photo.name or stem.startswith(f"{photo.name}-"):
            return {"title": photo.title, "credit": photo.credit, "licence": photo.licence}
    return {}  # made to be broken, by this project


def _show(address: str) -> None:
    print(f"The page: {address}  (stop with Ctrl-C)", flush=True)
    graphical = sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if sys.stdout.isatty() and graphical:  # a text browser would take the terminal over
        webbrowser.open(address)
