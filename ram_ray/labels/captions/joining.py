"""How the name in a caption or label file finds its image: one rule, through every door.

A name belongs to the image with exactly this id, else to the one whose path ends in it (its ending
may be left out), else to the only one with its stem. Members of a tar have the tar in their id:
`shard-0.tar/0001.jpg`.
"""

import re
from collections.abc import Collection

from ram_ray.storage.sources import PICTURE_SUFFIXES

_IMAGE_SUFFIX = re.compile(
    "(" + "|".join(re.escape(suffix) for suffix in PICTURE_SUFFIXES) + ")$", re.IGNORECASE
)


def join_key(name: str) -> str:
    """Return what an image's id and its names in caption files have in common.

    Members of tars: tar and stem, for stems repeat from tar to tar. Loose files: the stem. Blanks
    around them do not count.
    """
    tar, in_tar, member = name.partition(".tar/")
    if in_tar:
        return f"{tar}.tar/{without_suffix(member.strip()).strip()}"
    return stem_of(name)


def stem_of(name: str) -> str:
    """Return the last part of a path without a picture's ending.

    Without leading zeros where it is a number (COCO: image 139 is 000000000139.jpg).
    """
    stem = without_suffix(name.rsplit("/", 1)[-1].strip()).strip()
    return stem.lstrip("0") or "0" if stem.isdecimal() else stem


def match(candidates: Collection[str], name: str) -> tuple[str | None, str]:
    """Return the one of `candidates` that `name` means, or None and why there is none.

    Args:
        candidates: ids of the images with the key of `name`.
    """
    if not candidates:
        return None, "no image of this name is in the source"
    if name in candidates:
        return name, ""
    name = name.strip()
    fitting = [one for one in candidates if one.endswith(f"/{name}")]
    if not fitting:
        path = f"/{without_suffix(name)}"
        fitting = [one for one in candidates if f"/{without_suffix(one)}".endswith(path)]
    fitting = fitting or list(candidates)
    if len(fitting) == 1:
        return fitting[0], ""
    return None, f"{len(fitting)} images have this name: {', '.join(sorted(fitting)[:3])}"


def without_suffix(name: str) -> str:
    """Return a name without the ending of a picture's file."""
    return _IMAGE_SUFFIX.sub("", name)
