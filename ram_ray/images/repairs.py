"""Files that lack nothing of their pixels, though Pillow refuses them, made whole."""

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import JpegImagePlugin

# Bits that stand in for missing ones: any two differ within three bits, and none is a marker.
_PADDINGS = tuple(bytes([byte]) * 64 for byte in (0x00, 0xFE, 0xAA, 0x55, 0xC3, 0x6D))

_JPEG_END = b"\xff\xd9"
_SOF_BASELINE = (0xC0, 0xC1)  # ITU-T T.81, table B.1: sequential DCT, Huffman coded
_DHT, _SOS, _DRI = 0xC4, 0xDA, 0xDD
_SOF_OTHERS = tuple(range(0xC2, 0xD0))  # arithmetic coding, too
_RST0, _RST7 = 0xD0, 0xD7

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_HOLD_PIXELS = (b"tRNS", b"fdAT")
"""Ancillary chunks that count: the transparent colour, and the later pictures of an APNG."""


def with_end_marker(data: bytes) -> bytes | None:
    """Return a baseline JPEG that lacks its end marker and nothing else, with one; None: not that.

    What is missing shows without a Huffman decoder of ours: bits that differ are put behind the
    last byte. Where a block needs a bit from there, it differs, too. The last byte itself must be
    needed, or zeros behind the pixels (a download that was allocated, never finished) would pass.
    """
    scan = _single_scan(data)
    if scan is None:
        return None
    body = data[:-1] if data.endswith(b"\xff") else data  # half a marker
    if len(body) <= scan.start or not _is_whole(body, scan):
        return None
    shorter = body[:-2] if body.endswith(b"\xff\x00") else body[:-1]
    if len(shorter) < scan.start or _is_whole(shorter, scan):
        return None
    return body + _JPEG_END


def without_bad_chunks(data: bytes) -> bytes | None:
    """Return a PNG without the chunks whose checksum is wrong and that hold no pixels.

    None: there is none, or the chunks are cut. Those that hold pixels stay as they are: Pillow
    refuses them.
    """
    kept, end, kind = [data[: len(_PNG_MAGIC)]], len(_PNG_MAGIC), b""
    for kind, start, end in _chunks(data):
        if not _is_bad_and_beside_pixels(data, kind, start, end):
            kept.append(data[start:end])
    repaired = b"".join(kept)
    return repaired if kind == b"IEND" and len(repaired) < end else None


def has_bad_chunk(data: bytes) -> bool:
    """Tell whether `without_bad_chunks` would leave something out; pixels are not summed up."""
    return any(_is_bad_and_beside_pixels(data, *chunk) for chunk in _chunks(data))


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of a PNG's whole chunks: length, kind, data, CRC of these two."""
    at = len(_PNG_MAGIC)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if end > len(data) or not kind.isalpha():
            return
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end


def _is_bad_and_beside_pixels(data: bytes, kind: bytes, start: int, end: int) -> bool:
    if kind[:1].isupper() or kind in _HOLD_PIXELS:  # PNG 5.4: upper case is critical
        return False
    checksum = int.from_bytes(data[end - 4 : end], "big")
    return zlib.crc32(memoryview(data)[start + 4 : end - 4]) != checksum


@dataclass(frozen=True, slots=True)
class _Scan:
    start: int
    """Where its entropy-coded bytes begin."""
    header: bytes
    """All before, changed so that every block and every bit shows."""
    next_restart: int | None
    """The marker that comes next, if restart intervals are used."""


def _single_scan(data: bytes) -> _Scan | None:
    """Read the headers; None unless baseline with one scan of all components and no end."""
    at, header, components, restarts = 2, [data[:2]], 0, False
    while at + 4 <= len(data) and data[at] == 0xFF:
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if kind == 0xFF:  # a fill byte
            at += 1
            continue
        body = data[at + 4 : at + 2 + length]
        if kind in _SOF_BASELINE and not components and _is_frame(body):
            components, body = body[5], _whole_blocks(body)
        elif kind == _DHT:
            body = _every_code(body)
            if body is None:
                return None
        elif kind == _DRI:
            restarts = any(body)
        elif kind in _SOF_OTHERS:
            return None
        header.append(data[at : at + 2] + (len(body) + 2).to_bytes(2, "big") + body)
        at += 2 + length
        if length < 2 or at > len(data):  # T.81, B.1.1.4: the length counts itself
            return None
        if kind == _SOS:
            last = _last_restart(data, at)
            if not components or body[:1] != bytes([components]) or last is None:
                return None
            following = _RST0 if last == 0 else _RST0 + (last - _RST0 + 1) % 8
            return _Scan(at, b"".join(header), following if restarts else None)
    return None


def _is_frame(body: bytes) -> bool:
    return len(body) >= 9 and len(body) == 6 + 3 * body[5]


def _whole_blocks(frame: bytes) -> bytes:
    """Return a frame header whose size takes in the blocks that the picture's edges cut away."""
    sampling = frame[7::3]
    high, wide = max(one & 15 for one in sampling), max(one >> 4 for one in sampling)
    sizes = b""
    for place, factor in ((1, high), (3, wide)):
        unit = 8 * max(1, factor if len(sampling) > 1 else 1)  # T.81, A.2: one component, one block
        size = int.from_bytes(frame[place : place + 2], "big")
        sizes += min(-(-size // unit) * unit, 65535).to_bytes(2, "big")
    return frame[:1] + sizes + frame[5:]


def _every_code(tables: bytes) -> bytes | None:
    """Return Huffman tables with one more symbol each, behind their last; None if one is cut short.

    A flat picture's tables may have a single code, of the bit 0: libjpeg reads a 1 alike, so that
    its last bits might be missing and nothing would show.
    """
    at, changed = 0, b""
    while at + 17 <= len(tables):
        counts = bytearray(tables[at + 1 : at + 17])
        symbols = tables[at + 17 : at + 17 + sum(counts)]
        if len(symbols) < sum(counts):
            return None
        at += 17 + len(symbols)
        changed += tables[at - 17 - len(symbols) : at - 16 - len(symbols)]
        longest = max(
            (place for place, count in enumerate(counts) if count), default=15
        )  # an empty table stays
        if longest < 15:  # a code of ones only is none (T.81, C): one bit longer there is another
            counts[longest + 1] = 1
            symbols += b"\x05" if symbols[-1] != 5 else b"\x06"  # a number of so many bits
        changed += counts + symbols
    return changed


def _last_restart(data: bytes, start: int) -> int | None:
    """Return the last restart marker in a scan, 0 without one; None where another marker is."""
    last, at = 0, start
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        kind = data[at + 1]
        if _RST0 <= kind <= _RST7:
            last = kind
        elif kind not in (0x00, 0xFF):
            return None
        at += 1 if kind == 0xFF else 2
    return last


def _is_whole(body: bytes, scan: _Scan) -> bool:
    """Tell whether no block of a scan needs a bit behind `body`."""
    probe = scan.header + body[scan.start :]
    tails = list(_PADDINGS)
    if scan.next_restart is not None:  # without it, libjpeg would fill up the next interval alike
        tails += [bytes([0xFF, scan.next_restart]) + padding for padding in _PADDINGS]
    first: bytes | None = None
    for tail in tails:
        pixels = _pixels(probe + tail + _JPEG_END)
        if pixels is None or (first is not None and pixels != first):
            return False
        first = pixels
    return True


def _pixels(jpeg: bytes) -> bytes | None:
    try:
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(jpeg), "")
        return image.tobytes()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  whatever is wrong with it, it is not whole
        return None
