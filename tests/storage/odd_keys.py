"""Keys that real buckets hold and that are easily taken for other keys."""

ODD_KEYS: tuple[str, ...] = (
    "b.jpg", "/b.jpg", "//b.jpg", "b.jpg/", "a//b.jpg", "a/b.jpg", "a/b.jpg/", "a/./b.jpg",
    "a/../b.jpg", "..", "x.tar#0+1", "x.tar#0+1#", "x.tar", "q?#.jpg", "#.jpg", "per%25cent.jpg",
    "per%2Fcent.jpg", "plus+and space.jpg", " lead.jpg", "trail.jpg ", "z ü.jpg", "\U0001f600.jpg",
    "new\nline.jpg", "tab\t.jpg", "control\x01.jpg", "back\\slash.jpg", "k" * 1_020 + ".jpg",
)  # fmt: skip
"""27 of them; each object's content is its own key, so that a mix-up shows."""

NOT_FOR_MOTO = {"new\nline.jpg"}
"""moto's routes know no line ends in keys."""


def as_file(key: str) -> bool:
    """Tell whether a folder can hold a file of this name beside the others."""
    parts = key.split("/")
    odd = any(part in ("", ".", "..") for part in parts)
    return not odd and max(map(len, parts)) < 256 and key != "a/b.jpg/"
