"""`a.jpg.xmp` beside `a.jpg`: keywords that digiKam, darktable, Lightroom and exiftool read."""

from collections import Counter
from pathlib import Path

from ram_ray.tagging.exports.rows import ExportReport, FinishedRun, without_suffix
from ram_ray.tagging.exports.sidecars import IS_A_LINK, NO_SUCH_NAME, place_below, write_whole
from ram_ray.tagging.exports.xmp_packet import UnreadablePacketError, merge_tags

MAX_BYTES = 16 << 20
"""Of a sidecar that is read; real ones have kilobytes."""


def write_xmp(run: FinishedRun, folder: Path) -> ExportReport:
    """Write or merge a sidecar per image; see `merge_tags` for what it holds.

    One that exists is merged: whatever is in it stays, but tags that an earlier export wrote.
    `a.xmp` (Lightroom's name) is merged where there is no `a.jpg.xmp`. A sidecar that cannot be
    read, or is a link, is left as it is, and counted.
    """
    left_out: Counter[str] = Counter()
    count = files = 0
    for row in run.rows():
        place = _place(folder, row["image_id"])
        if place is None:
            left_out[NO_SUCH_NAME] += 1
            continue
        if place.is_symlink():
            left_out[IS_A_LINK] += 1
            continue
        try:
            before = _read(place)
            after = merge_tags(before, row["tags"])
        except (UnreadablePacketError, OSError):
            left_out["have a sidecar that cannot be read, which was left as it is"] += 1
            continue
        if after != before:
            write_whole(place, after)
            files += 1
        count += 1
    return ExportReport(images=count, files=files, left_out=dict(left_out))


def _place(folder: Path, image_id: str) -> Path | None:
    place = place_below(folder, f"{image_id}.xmp")
    other = place_below(folder, f"{without_suffix(image_id)}.xmp")
    if place is not None and other is not None and not place.exists() and other.exists():
        return other
    return place


def _read(place: Path) -> bytes | None:
    if not place.exists():
        return None
    if place.stat().st_size > MAX_BYTES:
        raise UnreadablePacketError(f"{place} has more than {MAX_BYTES} bytes")
    return place.read_bytes()
