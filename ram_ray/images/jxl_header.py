"""Size and orientation in a JPEG XL file's header (ISO/IEC 18181-1, annex A and D).

The plugin decodes a file when it opens it, so limits come before that.
"""

_CONTAINER = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_STREAM = b"\xff\x0a"
_HEADER_BYTES = 32  # what is read here takes 12 at most

# Ratios of width to height that need no second number, from 1 up.
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def jxl_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height in px as stored; (0, 0): no stream, so that nothing is decoded."""
    header = _header(data)
    return (0, 0) if header is None else header[:2]


def jxl_turned(data: bytes) -> bool:
    """Tell whether the stream itself says how to turn it: the decoder has then done so."""
    header = _header(data)
    return header is not None and header[2] != 1


def _header(data: bytes) -> tuple[int, int, int] | None:
    """Return width, height, and the orientation, 1 to 8 as in EXIF."""
    stream = _stream_start(data)
    if not stream.startswith(_STREAM) or len(stream) < 4:
        return None
    bits = _Bits(stream[2:])
    small = bits.take(1)
    height = bits.side(small)
    ratio = bits.take(3)
    if ratio:
        over, under = _RATIOS[ratio - 1]
        width = height * over // under
    else:
        width = bits.side(small)
    all_default = bits.take(1)
    has_extra_fields = not all_default and bits.take(1)
    return width, height, bits.take(3) + 1 if has_extra_fields else 1


class _Bits:
    """Numbers of some bits each, the least significant bit of a byte first."""

    def __init__(self, data: bytes) -> None:
        self._rest = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self._rest & ((1 << count) - 1)
        self._rest >>= count
        return value

    def side(self, small: int) -> int:
        if small:
            return (self.take(5) + 1) * 8
        return self.take((9, 13, 18, 30)[self.take(2)]) + 1


def _stream_start(data: bytes) -> bytes:
    """Return the first bytes of the codestream, which may lie in boxes."""
    if not data.startswith(_CONTAINER):
        return bytes(data[:_HEADER_BYTES])
    at, found = 0, b""
    while at + 8 <= len(data) and len(found) < _HEADER_BYTES:
        size, kind, start = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + 8
        if size == 1:  # 64-bit size behind the type
            size, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        end = len(data) if size == 0 else at + size
        if end < start:
            break
        if kind == b"jxlc":
            return bytes(data[start : min(end, start + _HEADER_BYTES)])
        if kind == b"jxlp":  # parts in order, each behind its number
            found += data[start + 4 : min(end, start + 4 + _HEADER_BYTES)]
        at = end
    return found
