"""Text files as people's programs write them."""

from pathlib import Path

import pytest

from ram_model.errors import TextFileError
from ram_model.text_files import read_lines


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"\xef\xbb\xbfdog\r\npeople\r\n", ["dog", "people"]),
        ("dog\u2028wet\x0c\nfox".encode(), ["dog\u2028wet\x0c", "fox"]),
        (b"dog\n\n cat \n", ["dog", "", " cat "]),
        (b"", []),
    ],
)
def test_lines(tmp_path: Path, data: bytes, lines: list[str]) -> None:
    (tmp_path / "words.txt").write_bytes(data)
    assert read_lines(tmp_path / "words.txt") == lines


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("dog\n".encode("utf-16"), r"words\.txt is UTF-16 text; save it as UTF-8"),
        ("dog\n".encode("utf-32"), r"words\.txt is UTF-32 text; save it as UTF-8"),
        (b"dog\ncaf\xe9\n", r"words\.txt, line 2, is not UTF-8 \(byte 0xe9\)"),
    ],
)
def test_other_encodings_are_named(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "words.txt").write_bytes(data)
    with pytest.raises(TextFileError, match=message + "[^.]*$"):
        read_lines(tmp_path / "words.txt")
