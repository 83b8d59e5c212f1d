"""Captioner: image tokens and tags to one sentence each, as the reference's `inference_tag2text`.

Shape legend: B images, T image tokens, E token width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ram_model.errors import CaptionError
from ram_model.networks.ram import Ram
from ram_model.networks.text_generation import CaptionOptions, write
from ram_model.tag_selection import Tags
from ram_model.wordpiece import WordPieceTokenizer

PROMPT = "a picture of "
"""What every caption begins with; it is cut off the result, letter by letter."""
TAG_SEPARATOR = " | "


class Captioner:
    """The caption side of a model, its word pieces, and how to decode."""

    def __init__(
        self, model: Ram, tokenizer: WordPieceTokenizer, options: CaptionOptions | None = None
    ) -> None:
        """Take parts that fit together; the model's weights are shared, not copied.

        Raises:
            CaptionError: the model has no caption side, or one of other word pieces.
            ValueError: `options` asks for longer texts than the model can write.
        """
        config = model.require_caption_head().config
        if tokenizer.vocab_size != config.vocab_size:
            raise CaptionError(
                f"The list holds {tokenizer.vocab_size - 2} word pieces, but this model was "
                f"trained with {config.vocab_size - 2}."
            )
        options = options or CaptionOptions()
        if options.max_length > config.num_positions:
            raise ValueError(
                f"max_length is {options.max_length}, but must be at most {config.num_positions}, "
                f"the longest text of this model."
            )
        if options.num_beams > config.vocab_size // 2:
            raise ValueError(
                f"num_beams is {options.num_beams}, but must be at most {config.vocab_size // 2}, "
                f"half of the word pieces."
            )
        self.options = options
        self._model = model
        self._tokenizer = tokenizer
        self._prompt = tokenizer.encode_prompt(PROMPT)

    def __call__(
        self, tokens_BTE: Tensor, tags: Sequence[Sequence[str]], *, num_wanted: int | None = None
    ) -> list[str]:
        """Return the texts of `write`."""
        return [text for text, _ in self.write(tokens_BTE, tags, num_wanted=num_wanted)]

    @torch.inference_mode()
    def write(
        self, tokens_BTE: Tensor, tags: Sequence[Sequence[str]], *, num_wanted: int | None = None
    ) -> list[tuple[str, float]]:
        """Return the caption of each image, and its confidence (`text_generation.Written`).

        The caption of an image does not depend on the others of its batch, but where two texts
        are as probable as each other within rounding.

        Args:
            tokens_BTE: the result of `Ram.encode_images`.
            tags: of each image, any words, in the order the model shall read them; about 20 are
                read, the rest is cut off (40 word pieces).
            num_wanted: only the first so many images are wanted, the others fill up the batch.

        Raises:
            ModelOutputError: the decoder returned NaN.
        """
        texts = [TAG_SEPARATOR.join(names) for names in tags]
        piece_ids, mask = (
            part.to(tokens_BTE.device) for part in self._tokenizer.encode_tags(texts)
        )
        memory_BRD = self._model.encode_tag_text(piece_ids, mask, tokens_BTE)
        decoder = self._model.require_caption_head().text_decoder
        written = write(
            decoder,
            memory_BRD,
            self._prompt,
            self.options,
            end_id=self._tokenizer.end_id,
            num_wanted=num_wanted,
        )
        return [
            (self._tokenizer.decode(text.pieces)[len(PROMPT) :], text.confidence)
            for text in written
        ]


def guide_words(
    found: Sequence[Tags], given: Sequence[Sequence[str] | None] | None
) -> list[Sequence[str]]:
    """Return the words that guide the caption of each image.

    Args:
        found: tags of each image; the reference reads them in ascending order of id.
        given: per image the words to use in their place, or None; may be shorter than `found`.

    Raises:
        ValueError: a text where a list of words belongs.
    """
    guides: list[Sequence[str]] = [
        [tags.names[position] for position in tags.tag_ids.argsort()] for tags in found
    ]
    for position, words in enumerate(given or ()):
        if isinstance(words, str):
            raise ValueError(f"caption_tags holds {words!r}, but must hold lists of words.")
        if words is not None:
            guides[position] = words
    return guides
