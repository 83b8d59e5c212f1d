"""Captions piece by piece: greedy, or the most probable of several beams.

The rules are those by which the reference decodes (recognize-anything, `ram/models/tag2text.py`,
through transformers 4.25), so that the same weights write the same pieces. Shape legend: B images,
K beams (1 before the first piece), N = B * K texts, R pieces of a tag text, D width, W word
pieces known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ram_model.errors import ModelOutputError
from ram_model.networks.caption_head import TextDecoder

Text = list[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionOptions:
    """How captions are written; defaults: the reference's `inference_tag2text`.

    Lengths count word pieces with the four of "[DEC] a picture of" and the final [SEP].
    """

    num_beams: int = 3
    """Texts kept at each step; 1: greedy."""
    min_length: int = 10
    """No text ends below this length, [SEP] not counted."""
    max_length: int = 50
    """Texts are cut at this length."""
    repetition_penalty: float = 1.0
    """From 1: pieces that a text already holds become this much less likely; 1: off."""
    tags: tuple[str, ...] | None = None
    """Words that guide every caption, known tags or not; None: the tags found in the image."""

    def __post_init__(self) -> None:
        for name, least in (("num_beams", 1), ("min_length", 0), ("repetition_penalty", 1)):
            value = getattr(self, name)
            if not (value >= least and math.isfinite(value)):
                raise ValueError(f"{name} is {value!r}, but must be at least {least}.")
        if isinstance(self.tags, str):
            raise ValueError(f"tags is {self.tags!r}, but must be a list of words.")
        if self.max_length <= max(self.min_length, 4):
            allowed = f"above min_length ({self.min_length}) and the 4 pieces of the prompt"
            raise ValueError(f"max_length is {self.max_length!r}, but must be {allowed}.")


@dataclass(frozen=True, slots=True)
class Written:
    """A text and how sure the decoder was of it."""

    pieces: Text
    """Prompt first, [SEP] last unless it was cut."""
    confidence: float
    """Mean probability of a written piece, 0..1: the geometric mean of those that the decoder gave
    each piece after the ones before it, [SEP] included; of beams, after the repetition penalty."""


def generate(
    decoder: TextDecoder,
    memory_BRD: Tensor,
    prompt: Sequence[int],
    options: CaptionOptions,
    *,
    end_id: int,
    num_wanted: int | None = None,
) -> list[Text]:
    """Return the piece ids that `write` does."""
    written = write(decoder, memory_BRD, prompt, options, end_id=end_id, num_wanted=num_wanted)
    return [text.pieces for text in written]


@torch.inference_mode()
def write(
    decoder: TextDecoder,
    memory_BRD: Tensor,
    prompt: Sequence[int],
    options: CaptionOptions,
    *,
    end_id: int,
    num_wanted: int | None = None,
) -> list[Written]:
    """Return one text per image.

    The shapes of a step depend on B and on the step alone: finished texts stay in the batch.

    Args:
        memory_BRD: from the tag encoder.
        prompt: piece ids that every text begins with.
        num_wanted: only the first so many images are wanted, the others fill up the batch; None:
            all.

    Raises:
        ModelOutputError: the decoder returned NaN.
    """
    wanted = len(memory_BRD) if num_wanted is None else num_wanted
    search = _beam_search if options.num_beams > 1 else _greedy_search
    return search(decoder, memory_BRD, list(prompt), options, end_id, wanted)


def _greedy_search(
    decoder: TextDecoder,
    memory_BRD: Tensor,
    prompt: Text,
    options: CaptionOptions,
    end_id: int,
    wanted: int,
) -> list[Written]:
    sums = [0.0] * len(memory_BRD)  # log-probabilities
    texts = [list(prompt) for _ in memory_BRD]
    unfinished = set(range(wanted))
    state = decoder.start(memory_BRD)
    step = torch.tensor(texts, device=memory_BRD.device)
    for length in range(len(prompt), options.max_length):
        logits_BW, state = decoder.extend(step, state)
        # unlike in beam search, the penalty works on logits, not on log-probabilities
        scores_BW = _adjust(logits_BW.float(), texts, length, options, end_id)
        step = scores_BW.argmax(dim=-1, keepdim=True)
        found = scores_BW.gather(1, step).flatten().tolist()
        sure = logits_BW.float().log_softmax(-1).gather(1, step).flatten().tolist()
        for image, piece in enumerate(step.flatten().tolist()):
            _check(found[image], image in unfinished)
            texts[image].append(piece)
            if image in unfinished:
                sums[image] += sure[image]
            if piece == end_id:
                unfinished.discard(image)
        if not unfinished:
            break
    whole = [_until(end_id, text) for text in texts[:wanted]]
    ways = zip(whole, sums[:wanted], strict=True)
    return [Written(text, math.exp(total / (len(text) - len(prompt)))) for text, total in ways]


def _beam_search(
    decoder: TextDecoder,
    memory_BRD: Tensor,
    prompt: Text,
    options: CaptionOptions,
    end_id: int,
    wanted: int,
) -> list[Written]:
    beams = [_Beams(options.num_beams, texts=[prompt], sums=[0.0]) for _ in memory_BRD]
    state = decoder.start(memory_BRD)
    step = torch.tensor([prompt] * len(beams), device=memory_BRD.device)
    for length in range(len(prompt), options.max_length):
        logits_NW, state = decoder.extend(step, state)
        texts = [text for image in beams for text in image.texts]
        scores_NW = _adjust(logits_NW.float().log_softmax(-1), texts, length, options, end_id)
        sums_N1 = scores_NW.new_tensor([s for image in beams for s in image.sums]).unsqueeze(1)
        candidates_BX = (scores_NW + sums_N1).view(len(beams), -1)
        best = candidates_BX.topk(2 * options.num_beams)  # half of them may be ends
        vocab_size = scores_NW.shape[-1]
        found = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        num_before = len(texts) // len(beams)
        rows: list[int] = []
        for number, (image, (sums, indices)) in enumerate(zip(beams, found, strict=True)):
            _check(sums[0], number < wanted)
            choices = [(s, *divmod(i, vocab_size)) for s, i in zip(sums, indices, strict=True)]
            rows += [number * num_before + parent for parent in image.advance(choices, end_id)]
        if all(image.done for image in beams[:wanted]):
            break
        state = state.take(torch.tensor(rows, device=memory_BRD.device))
        last = [[text[-1]] for image in beams for text in image.texts]
        step = torch.tensor(last, device=memory_BRD.device)
    chosen = [image.best() for image in beams[:wanted]]
    written = [text + [end_id] * (len(text) < options.max_length) for _, text in chosen]
    return [
        # a score is a sum over the pieces of the text, prompt included and [SEP] not
        Written(whole, math.exp(score * len(text) / (len(whole) - len(prompt))))
        for whole, (score, text) in zip(written, chosen, strict=True)
    ]


@dataclass(slots=True)
class _Beams:
    """The texts of one image: those still open, best first, and the best that have ended."""

    count: int
    texts: list[Text]
    sums: list[float]
    """Log-probability of each open text, penalties included."""
    ended: list[tuple[float, Text]] = field(default_factory=list)
    """Mean log-probability per piece, and the text without its end."""
    done: bool = False

    def advance(self, choices: list[tuple[float, int, int]], end_id: int) -> list[int]:
        """Take one step; return for each open text the position of the one it continues.

        Args:
            choices: sum, position of the continued text, and piece, best first.
        """
        length = len(self.texts[0])
        going_on: list[tuple[float, int, int]] = []
        for rank, (total, parent, piece) in enumerate(choices):
            if piece != end_id:
                going_on.append((total, parent, piece))
            elif rank < self.count and not self.done:  # an end of lower rank is dropped
                self._end(total / length, self.texts[parent])
        going_on = going_on[: self.count]
        self.texts = [[*self.texts[parent], piece] for _, parent, piece in going_on]
        self.sums = [total for total, _, _ in going_on]
        if len(self.ended) == self.count:
            worst = min(score for score, _ in self.ended)
            self.done = self.done or worst >= choices[0][0] / length
        return [parent for _, parent, _ in going_on]

    def best(self) -> tuple[float, Text]:
        """Return the best of `ended`; where none could end in time, or too few, open ones count."""
        if not self.done:
            for total, text in zip(self.sums, self.texts, strict=True):
                self._end(total / len(text), text)
        newest_first = reversed(self.ended)  # of equals, the reference takes the newest
        return max(newest_first, key=lambda entry: entry[0])

    def _end(self, score: float, text: Text) -> None:
        worst = min((other for other, _ in self.ended), default=-math.inf)
        if len(self.ended) < self.count or score > worst:
            self.ended.append((score, text))
        if len(self.ended) > self.count:
            self.ended.remove(min(self.ended, key=lambda entry: entry[0]))


def _adjust(
    scores_NW: Tensor, texts: list[Text], length: int, options: CaptionOptions, end_id: int
) -> Tensor:
    """Return the scores after the repetition penalty, without an end below the least length."""
    if options.repetition_penalty != 1:
        written = torch.tensor(texts, device=scores_NW.device)
        found = scores_NW.gather(1, written)
        penalty = options.repetition_penalty
        found = torch.where(found < 0, found * penalty, found / penalty)
        scores_NW = scores_NW.scatter(1, written, found)
    if length < options.min_length:
        scores_NW = scores_NW.clone()
        scores_NW[:, end_id] = -math.inf
    return scores_NW


def _check(score: float, wanted: bool) -> None:
    if wanted and not math.isfinite(score):
        raise ModelOutputError("The caption decoder returned numbers that are not finite.")


def _until(end_id: int, text: Text) -> Text:
    return text[: text.index(end_id) + 1] if end_id in text else text
