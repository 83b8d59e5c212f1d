"""Text files as people's programs write them: UTF-8 with or without a mark, any line ending.

Lines end at a newline only: U+2028 and form feeds stand inside captions and names.
"""

import codecs
from pathlib import Path

from ram_model.errors import TextFileError

_OTHER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def read_text(path: str | Path) -> str:
    """Return the text of a file, without its byte order mark.

    Raises:
        TextFileError: it is not UTF-8; names the file and the line.
        OSError: it cannot be opened.
    """
    return decode_text(Path(path).read_bytes(), str(path))


def read_lines(path: str | Path) -> list[str]:
    """Return the lines of a file, without line endings; a newline at the end adds no line.

    Raises:
        TextFileError, OSError: as `read_text`.
    """
    return split_lines(read_text(path))


def split_lines(text: str) -> list[str]:
    """Split at newlines only, and drop the carriage returns before them."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def decode_text(data: bytes, name: str) -> str:
    """Return bytes as text.

    Raises:
        TextFileError: they are not UTF-8; `name` and the line stand in the sentence.
    """
    other = other_encoding(data)
    if other is not None:
        raise TextFileError(f"{name} is {other} text; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TextFileError(
            f"{name}, line {line}, is not UTF-8 (byte 0x{data[error.start]:02x}); save it as UTF-8"
        ) from error


def other_encoding(data: bytes) -> str | None:
    """Return the encoding that a byte order mark names, where it is not UTF-8."""
    return next((name for mark, name in _OTHER_MARKS.items() if data.startswith(mark)), None)
