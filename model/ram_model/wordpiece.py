"""BERT's word pieces, from a vocabulary file: no network, no model hub.

The file is the `vocab.txt` of bert-base-uncased, one piece a line; a model folder keeps it as
`word_pieces.txt`. Captions are written with two pieces after its last: [DEC], then [ENC].
Splitting is done by the library `tokenizers` (BERT's own rules: lower case, accents dropped).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import Tensor

from ram_model.errors import CaptionError, TextFileError
from ram_model.networks.bert import PAD_ID
from ram_model.text_files import read_lines

WORD_PIECES_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
"""Of the vocab.txt of bert-base-uncased, which every released caption model uses."""

# Of the reference (recognize-anything, `ram/models/tag2text.py`): longest tag text and caption.
MAX_PIECES = 40

_UNKNOWN, _START, _END = "[UNK]", "[CLS]", "[SEP]"
_SPECIAL = ("[PAD]", _UNKNOWN, _START, _END, "[MASK]")
# What BERT's decoding closes up, in this order.
_CLOSED_UP = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


class WordPieceTokenizer:
    """Text to piece ids and back, for one word-piece list."""

    def __init__(self, pieces: Sequence[str]) -> None:
        """Take the pieces in order of their ids.

        Raises:
            CaptionError: a special piece is missing or a piece occurs twice.
        """
        ids = {piece: number for number, piece in enumerate(pieces)}
        missing = [piece for piece in _SPECIAL if piece not in ids]
        if missing or ids["[PAD]"] != PAD_ID or len(ids) != len(pieces):
            reason = f"{missing[0]} is missing" if missing else f"[PAD] is not piece {PAD_ID}"
            reason = "a piece occurs twice" if len(ids) != len(pieces) else reason
            raise CaptionError(f"This is not BERT's list of word pieces: {reason}.")
        self.vocab_size = len(pieces) + 2
        self.decoder_id, self.encoder_id = len(pieces), len(pieces) + 1
        """[DEC] begins a caption, [ENC] a tag text."""
        self.end_id = ids[_END]
        self._pieces = [*pieces, "[DEC]", "[ENC]"]
        self._special = {ids[piece] for piece in _SPECIAL} | {self.decoder_id, self.encoder_id}
        self._tokenizer = Tokenizer(WordPiece(ids, unk_token=_UNKNOWN))
        self._tokenizer.normalizer = BertNormalizer(lowercase=True)
        self._tokenizer.pre_tokenizer = BertPreTokenizer()

    @classmethod
    def from_file(cls, path: str | Path) -> "WordPieceTokenizer":
        """Return the tokenizer of a UTF-8 file with one piece a line.

        Raises:
            CaptionError: it cannot be read, or is no such list.
        """
        try:
            pieces = read_lines(path)
        except (OSError, TextFileError) as error:
            raise CaptionError(f"The word pieces {path} cannot be read: {error}.") from error
        try:
            return cls(pieces)
        except CaptionError as error:
            raise CaptionError(f"{path}: {error}") from error

    def encode_tags(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return piece ids and mask, int64 and bool [B, 40], of the tags of each image as text.

        [ENC] first, [SEP] last, padding after it; longer texts are cut.
        """
        return self._rows(texts, self.encoder_id, MAX_PIECES)

    def encode_captions(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return piece ids and mask, int64 and bool [B, L], L from the longest, at most 40.

        [DEC] first, [SEP] last, padding after it; longer captions are cut.
        """
        longest = max((len(self.split(caption)) for caption in captions), default=0)
        return self._rows(captions, self.decoder_id, min(MAX_PIECES, longest + 2))

    def encode_prompt(self, text: str) -> list[int]:
        """Return the piece ids of the beginning of a caption, [DEC] first, no [SEP]."""
        return [self.decoder_id, *self.split(text)]

    def split(self, text: str) -> list[int]:
        """Return the piece ids of a text alone; "[SEP]" and the like are words as any other."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, piece_ids: Sequence[int]) -> str:
        """Return the text of pieces, the special ones left out."""
        words = [self._pieces[number] for number in piece_ids if number not in self._special]
        text = " ".join(words).replace(" ##", "").strip()
        for spaced in _CLOSED_UP:
            text = text.replace(spaced, spaced.strip())
        return text

    def _rows(self, texts: Sequence[str], first: int, length: int) -> tuple[Tensor, Tensor]:
        rows = torch.full((len(texts), length), PAD_ID, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            piece_ids = [first, *self.split(text)[: length - 2], self.end_id]
            row[: len(piece_ids)] = torch.tensor(piece_ids)
        return rows, rows != PAD_ID
