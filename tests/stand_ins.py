"""What stands in for the acceptance data in a clone that lacks it: photos of installed packages,
and broken files that are made of one picture.
"""

import csv
import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ram_ray.demo.photos import demo_bucket

FORMATS: dict[str, tuple[str, ...]] = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "GIF": ("P", "L"),
    "BMP": ("1", "L", "P", "RGB"),
    "TIFF": ("1", "L", "RGB", "RGBA", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
}
"""By format, the Pillow modes that it is written in."""
HEADS = {
    "head.jpg": b"\xff\xd8\xff",
    "head.png": b"\x89PNG\r\n\x1a\n",
    "head.gif": b"GIF89a but not really",
    "head.webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
}


def write_photo_folder(folder: Path) -> None:
    """Write the photos that installed packages ship, and variants of them."""
    for key, data in demo_bucket():
        if not key.startswith("broken/"):
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def write_hostile_folder(folder: Path) -> None:
    """Write image files of every format and mode, each whole, cut and emptied of its end.

    MANIFEST.tsv holds path, expected (`decode` or `reject`) and magic. A file that is whole must
    be decoded; of a file that is cut, nothing may be taken for an image.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, data, expected, magic in _files():
        (folder / name).write_bytes(data)
        rows.append({"path": name, "expected": expected, "magic": magic})
    with (folder / "MANIFEST.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["path", "expected", "magic"], delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)


def _files() -> Iterator[tuple[str, bytes, str, str]]:
    for (kind, modes), size in itertools.product(FORMATS.items(), [(61, 43), (128, 96)]):
        for mode in modes:
            data = _picture(kind, mode, size)
            stem = f"{kind.lower()}-{mode.replace(';', '-')}-{size[0]}"
            yield f"{stem}.img", data, "decode", kind.lower()
            yield f"{stem}-half.img", data[: len(data) // 2], "reject", kind.lower()
            yield f"{stem}-head.img", data[:24], "reject", kind.lower()
    for name, data in HEADS.items():
        yield name, data, "reject", "none"


def _picture(kind: str, mode: str, size: tuple[int, int]) -> bytes:
    rng = np.random.default_rng(len(kind) + size[0])
    noise = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8))
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65_536, (size[1], size[0]), np.uint16))
    else:
        image = noise.convert(mode)
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def verdicts_of(folder: Path) -> dict[str, str]:
    """Return what each hostile file must come to: its manifest's verdict, which is Pillow's, but
    for float grey, which Pillow shows as black and we refuse (docs/decoding.md)."""
    with (folder / "MANIFEST.tsv").open(encoding="utf-8") as file:
        verdicts = {row["path"]: row["expected"] for row in csv.DictReader(file, delimiter="\t")}
    for path, verdict in verdicts.items():
        if verdict == "decode" and path.endswith((".tif", ".tiff")):
            with Image.open(folder / path) as image:
                verdicts[path] = "reject" if image.mode == "F" else verdict
    return verdicts
