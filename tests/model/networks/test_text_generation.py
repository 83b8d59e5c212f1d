import itertools
import math
from typing import cast

import pytest
import torch
from torch import Tensor

from ram_model.errors import ModelOutputError
from ram_model.networks.caption_head import DecoderState, TextDecoder
from ram_model.networks.text_generation import CaptionOptions, _Beams, generate, write

END = 3
PROMPT = [0, 1]
NUM_PIECES = 6


class _Bigrams:
    """A decoder whose next piece depends on the last one and on the image alone."""

    def __init__(self, table_BWW: Tensor) -> None:
        self.table_BWW = table_BWW

    def start(self, memory_BRD: Tensor) -> DecoderState:
        return DecoderState(memory=())

    def extend(self, piece_ids_NL: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        images = torch.arange(len(self.table_BWW)).repeat_interleave(
            len(piece_ids_NL) // len(self.table_BWW)
        )
        return self.table_BWW[images, piece_ids_NL[:, -1]], state


def _generate(table_BWW: Tensor, options: CaptionOptions, **more: int) -> list[list[int]]:
    decoder = cast(TextDecoder, _Bigrams(table_BWW))
    memory = torch.zeros(len(table_BWW), 1, 1)
    return generate(decoder, memory, PROMPT, options, end_id=END, **more)


def _tables(count: int = 3, seed: int = 0) -> Tensor:
    return (
        torch.randn(count, NUM_PIECES, NUM_PIECES, generator=torch.Generator().manual_seed(seed))
        * 2
    )


def _best_by_hand(table_WW: Tensor, options: CaptionOptions) -> list[int]:
    """Go through all texts; the best mean log-probability, [SEP] counted in the sum only."""
    log_probs = table_WW.log_softmax(-1)
    best, best_score = [], -float("inf")
    for length in range(1, options.max_length - len(PROMPT) + 1):
        for tail in itertools.product(range(NUM_PIECES), repeat=length):
            ended = tail[-1] == END
            size = len(PROMPT) + length - ended
            if END in tail[:-1] or (ended and size < options.min_length):
                continue
            if not ended and size < options.max_length:
                continue
            steps = itertools.pairwise([PROMPT[-1], *tail])
            score = sum(log_probs[a, b].item() for a, b in steps) / size
            if score > best_score:
                best, best_score = [*PROMPT, *tail], score
    return best


@pytest.mark.parametrize("min_length", [0, 4])
def test_with_enough_beams_the_best_of_all_texts_is_found(min_length: int) -> None:
    # wide enough that no text is ever lost, and too wide to stop early
    options = CaptionOptions(num_beams=250, min_length=min_length, max_length=5)
    tables = _tables()
    wide = torch.full((3, 500, 500), -1e4)  # pieces that never come: 2 * beams must exist
    wide[:, :NUM_PIECES, :NUM_PIECES] = tables
    assert _generate(wide, options) == [_best_by_hand(table, options) for table in tables]


def test_greedy_takes_the_best_piece_each_time() -> None:
    table = torch.zeros(1, NUM_PIECES, NUM_PIECES)
    table[0, 1, 4] = table[0, 4, 2] = table[0, 2, END] = 1.0
    options = CaptionOptions(num_beams=1, min_length=0, max_length=9)
    assert _generate(table, options) == [[0, 1, 4, 2, END]]
    shortest = CaptionOptions(num_beams=1, min_length=6, max_length=9)
    (text,) = _generate(table, shortest)
    assert END not in text[:6]


@pytest.mark.parametrize("num_beams", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_no_text_is_longer_or_shorter_than_asked(num_beams: int, seed: int) -> None:
    options = CaptionOptions(num_beams=num_beams, min_length=5, max_length=8)
    for text in _generate(_tables(4, seed), options):
        assert text[:2] == PROMPT
        assert len(text) <= 8
        assert END not in text[:5]
        assert END not in text[:-1]
        assert len(text) == 8 or text[-1] == END


@pytest.mark.parametrize("num_beams", [1, 3])
def test_repetition_penalty_makes_written_pieces_less_likely(num_beams: int) -> None:
    table = torch.zeros(1, NUM_PIECES, NUM_PIECES)
    table[0, :, 4], table[0, :, 2] = 1.0, 0.5  # piece 4 again and again
    options = CaptionOptions(num_beams=num_beams, min_length=7, max_length=8)
    assert _generate(table, options)[0][2:7] == [4] * 5
    punished = CaptionOptions(
        num_beams=num_beams, min_length=7, max_length=8, repetition_penalty=50.0
    )
    text = _generate(table, punished)[0][2:7]
    assert len(set(text)) >= 2


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_batch_is_its_images_one_by_one(num_beams: int) -> None:
    options = CaptionOptions(num_beams=num_beams, min_length=4, max_length=12)
    tables = _tables(8, seed=1)
    alone = [_generate(table[None], options)[0] for table in tables]
    assert _generate(tables, options) == alone
    assert _generate(tables, options, num_wanted=3) == alone[:3]


@pytest.mark.parametrize("num_beams", [1, 3])
def test_nan_is_an_error_for_wanted_images_only(num_beams: int) -> None:
    options = CaptionOptions(num_beams=num_beams, min_length=4, max_length=12)
    tables = _tables(2)
    expected = _generate(tables, options)[:1]
    tables[1] = float("nan")
    assert _generate(tables, options, num_wanted=1) == expected
    with pytest.raises(ModelOutputError, match="not finite"):
        _generate(tables, options)


def _beams() -> _Beams:
    return _Beams(2, texts=[[0, 1, 2, 4], [0, 1, 4, 2]], sums=[-1.0, -2.0])


def test_an_end_below_the_first_ranks_is_dropped() -> None:
    beams = _beams()
    assert beams.advance([(-2.0, 0, 4), (-3.0, 1, 4), (-3.5, 1, END), (-4.0, 0, 2)], END) == [0, 1]
    assert beams.ended == []
    assert beams.texts == [[0, 1, 2, 4, 4], [0, 1, 4, 2, 4]]
    assert beams.sums == [-2.0, -3.0]


def test_an_ended_text_scores_by_its_length_without_the_end() -> None:
    beams = _beams()
    beams.advance([(-3.0, 1, END), (-3.5, 0, 4), (-4.0, 0, 2), (-5.0, 1, 1)], END)
    assert beams.ended == [(-3.0 / 4, [0, 1, 4, 2])]
    assert not beams.done


@pytest.mark.parametrize(("best", "done"), [(-3.9, False), (-4.0, True), (-4.9, True)])
def test_done_when_no_open_text_can_beat_the_worst_ended(best: float, done: bool) -> None:
    # the bound is the best candidate over the present length, 4: pieces to come do not count
    beams = _beams()
    beams.ended = [(-0.5, [0, 1, 2]), (-1.0, [0, 1, 4])]
    beams.advance([(best, 0, 4), (best - 1, 0, 2), (best - 2, 1, 4), (best - 3, 1, 1)], END)
    assert beams.done is done


def test_only_the_best_ended_texts_are_kept_and_of_equals_the_newest_wins() -> None:
    beams = _beams()
    beams.ended = [(-0.5, [0, 1, 2]), (-9.0, [0, 1, 4])]
    beams.advance([(-2.0, 0, END), (-3.0, 0, 4), (-4.0, 1, 4), (-5.0, 1, 1)], END)
    assert beams.ended == [(-0.5, [0, 1, 2]), (-0.5, [0, 1, 2, 4])]
    assert beams.done
    assert beams.best() == (-0.5, [0, 1, 2, 4])


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("max_length", [5, 12])
def test_confidence_is_the_mean_probability_of_the_pieces(num_beams: int, max_length: int) -> None:
    options = CaptionOptions(num_beams=num_beams, min_length=0, max_length=max_length)
    tables = _tables(6)
    decoder = cast(TextDecoder, _Bigrams(tables))
    written = write(decoder, torch.zeros(6, 1, 1), PROMPT, options, end_id=END)
    for table, text in zip(tables.log_softmax(-1), written, strict=True):
        steps = list(itertools.pairwise(text.pieces))[len(PROMPT) - 1 :]
        mean = sum(table[a, b].item() for a, b in steps) / len(steps)
        assert text.confidence == pytest.approx(math.exp(mean), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_beams": 0}, "num_beams is 0, but must be at least 1"),
        ({"min_length": -1}, "min_length is -1, but must be at least 0"),
        ({"max_length": 10}, r"max_length is 10, but must be above min_length \(10\)"),
        ({"min_length": 0, "max_length": 4}, "max_length is 4"),
        ({"tags": "dog"}, "tags is 'dog', but must be a list of words"),
        ({"repetition_penalty": 0.9}, "repetition_penalty is 0.9, but must be at least 1"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty is nan"),
    ],
)
def test_wrong_options_are_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CaptionOptions(**change)
