from pathlib import Path

import pytest

from ram_model.errors import CaptionError
from ram_model.wordpiece import MAX_PIECES, WordPieceTokenizer
from tests.model.tiny_captions import PIECES, tokenizer


def _ids(*pieces: str) -> list[int]:
    return [PIECES.index(piece) for piece in pieces]


DEC, ENC = len(PIECES), len(PIECES) + 1


def test_tag_text_begins_with_enc_and_ends_with_sep() -> None:
    rows, mask = tokenizer().encode_tags(["red car | Running", ""])
    expected = _ids("red", "car", "|", "run", "##ning", "[SEP]")
    assert rows.shape == (2, MAX_PIECES)
    assert rows[0].tolist() == [ENC, *expected] + [0] * (MAX_PIECES - 7)
    assert rows[1].tolist() == [ENC, *_ids("[SEP]")] + [0] * (MAX_PIECES - 2)
    assert mask.sum(dim=1).tolist() == [7, 2]


def test_captions_are_padded_to_the_longest_and_cut_at_40() -> None:
    rows, mask = tokenizer().encode_captions(["a dog", "a red car"])
    assert rows.tolist() == [
        [DEC, *_ids("a", "dog", "[SEP]"), 0],
        [DEC, *_ids("a", "red", "car", "[SEP]")],
    ]
    assert mask.tolist() == [[True] * 4 + [False], [True] * 5]
    long, _ = tokenizer().encode_captions(["dog " * 60])
    assert long.shape == (1, MAX_PIECES)
    assert long[0, -2:].tolist() == _ids("dog", "[SEP]")


def test_accents_and_case_are_dropped_and_unknown_words_marked() -> None:
    assert tokenizer().split("DÓG, the zebra") == _ids("dog", "[UNK]", "the", "[UNK]")


def test_words_that_look_special_are_words() -> None:
    # the brackets, which this tiny list lacks, and the word between them
    assert tokenizer().split("[SEP] [DEC]") == _ids("[UNK]") * 6
    assert _ids("[SEP]")[0] not in tokenizer().split("[SEP]")


def test_decoding_joins_pieces_and_closes_up_punctuation() -> None:
    pieces = _ids("the", "dog", "'", "s", "car", "##s", ".", "[SEP]", "[PAD]")
    assert tokenizer().decode([DEC, *pieces]) == "the dog's cars."
    assert tokenizer().encode_prompt("a picture of ") == [DEC, *_ids("a", "picture", "of")]


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([piece for piece in PIECES if piece != "[SEP]"], r"\[SEP\] is missing"),
        (["!", *PIECES[1:], "[PAD]"], r"occurs twice"),
        ([PIECES[1], PIECES[0], *PIECES[2:]], r"\[PAD\] is not piece 0"),
    ],
)
def test_wrong_lists_are_refused(tmp_path: Path, pieces: list[str], message: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(pieces), encoding="utf-8")
    with pytest.raises(CaptionError, match=f"vocab.txt.*{message}"):
        WordPieceTokenizer.from_file(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaptionError, match=r"none\.txt cannot be read"):
        WordPieceTokenizer.from_file(tmp_path / "none.txt")
