#!/usr/bin/env bash
# pillow-heif 1.8.1 (with Pillow 13.0.0): orientation is lost when EXIF is given as an object.
#
# Expected: Pillow's own plugins take `exif=` as bytes or as an `Image.Exif` object and write the
# same file from both. HEIF states orientation in the container (the `irot` and `imir` boxes), and
# pillow-heif turns EXIF orientation into these boxes when it saves.
# Instead: with bytes the file has an `irot` box and a reader gets the picture turned; with the
# object, of the same content, it has none. Since pillow-heif does not apply EXIF orientation when
# it reads, that picture stays on its side for ever, without a warning. Seen:
#     exif as bytes:  irot box True,  read back as (32, 64), 0x0112 = 1
#     exif as object: irot box False, read back as (64, 32), 0x0112 = 1
# Seen on 2026-11-29. ram-ray writes no HEIC; its tests hand EXIF over as bytes
# (tests/images/test_extra_formats.py), and ram_ray/images/extra_formats.py turns a picture once.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet pillow==13.0.0 pillow-heif==1.8.1
"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()
picture = Image.new("RGB", (64, 32), "red")
picture.paste("blue", (0, 0, 32, 32))
exif = Image.Exif()
exif[0x0112] = 6  # to be shown turned by 90 degrees


def saved(**options):
    sink = io.BytesIO()
    picture.save(sink, "HEIF", **options)
    data = sink.getvalue()
    back = Image.open(io.BytesIO(data))
    return b"irot" in data, back.size, back.getexif().get(0x0112)


found = {"bytes": saved(exif=exif.tobytes()), "object": saved(exif=exif)}
for name, (has_box, size, orientation) in found.items():
    print(f"exif as {name}: irot box {has_box}, read back as {size}, 0x0112 = {orientation}")
same = found == {"bytes": (True, (32, 64), 1), "object": (False, (64, 32), 1)}
print("as found on 2026-11-29" if same else "pillow-heif behaves otherwise now: out of date")
sys.exit(0 if same else 1)
PYTHON
