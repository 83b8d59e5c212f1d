"""What a user is told of pictures that were repaired, or of which something was lost."""

from collections.abc import Mapping


def remark_notes(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Return a sentence for each remark that was made.

    Args:
        counts: pictures by the value of a `ram_ray.images.remarks.Remark`.
    """
    return tuple(
        f"{count:,} {_PICTURE if count == 1 else _PICTURES} {texts[count != 1]}."
        for name, texts in _TEXTS.items()
        if (count := counts.get(name, 0))
    )


_PICTURE, _PICTURES = "picture", "pictures"
_TEXTS = {
    "no_end_marker": ("lacked its end marker", "lacked their end marker"),
    "bad_checksum": (
        "had a wrong checksum in a part that holds no pixels",
        "had wrong checksums in parts that hold no pixels",
    ),
    "wide_grey_clipped": (
        "is 16-bit grey and was clipped: --wide-grey scale",
        "are 16-bit grey and were clipped: --wide-grey scale",
    ),
    "changed_since_listed": (
        "was replaced after it was listed; its new content is tagged",
        "were replaced after they were listed; their new content is tagged",
    ),
}
"""By remark: for one picture, and for several."""
