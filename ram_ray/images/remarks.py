"""What a picture that decodes had against it: told in a run's summary, never silent."""

from enum import StrEnum


class Remark(StrEnum):
    """What was repaired in a picture, or lost of it."""

    NO_END_MARKER = "no_end_marker"
    """A JPEG that lacks its end marker and nothing else."""
    BAD_CHECKSUM = "bad_checksum"
    """A PNG with a wrong checksum in a chunk that holds no pixels."""
    WIDE_GREY_CLIPPED = "wide_grey_clipped"
    """16-bit grey above 255, clipped as the reference does."""
    CHANGED = "changed_since_listed"
    """Not of decoding: the object was replaced after it was listed; these are its new bytes."""


def to_bits(remarks: tuple[Remark, ...]) -> int:
    """Return remarks as one byte of the decoder process's answer."""
    return sum(1 << at for at, remark in enumerate(Remark) if remark in remarks)


def from_bits(bits: int) -> tuple[Remark, ...]:
    """Return what `to_bits` was given, in the order of `Remark`."""
    return tuple(remark for at, remark in enumerate(Remark) if bits >> at & 1)
