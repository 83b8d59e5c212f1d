"""Words, gaps and places, whatever the script."""

import numpy as np

from ram_ray.labels.parser.tokens import FOREIGN, fold, tokenize


def words_of(caption: str) -> list[str]:
    tokens = tokenize([caption])
    texts = [tokens.segments[index] for index in tokens.segment.tolist()]
    return [text for text in texts if text[0].isalnum() or text[0] in f"'-{FOREIGN}"]


def test_words_keep_hyphens_and_apostrophes() -> None:
    assert words_of("A T-shirt, the girl's hat.") == ["a", "t-shirt", "the", "girl's", "hat"]


def test_folding_keeps_every_character_in_its_place() -> None:
    for caption in (
        "caf\u00e9 \u2019s",
        "dog \U0001f436 cat",
        "\u72ac\u304c\u8d70\u308b",
        "\u0130x",
        "\ufb01sh",
    ):
        folded = fold(caption)
        assert folded.isascii()
        assert len(folded) == len(caption)


def test_accents_fold_and_other_scripts_match_nothing() -> None:
    assert fold("Caf\u00e9") == "cafe"
    assert set(fold("\u0441\u043e\u0431\u0430\u043a\u0430")) == {FOREIGN}


def test_emoji_part_words() -> None:
    assert words_of("dog\U0001f436cat") == ["dog", "cat"]


def test_places_count_characters_of_each_caption() -> None:
    captions = ["", "\U0001f436 a dog", "two cats"]
    tokens = tokenize(captions)
    texts = [tokens.segments[index] for index in tokens.segment.tolist()]
    places = dict(zip(texts, tokens.start.tolist(), strict=True))
    start = np.array([places["dog"], places["cats"]])
    caption = tokens.caption_of(start)
    assert caption.tolist() == [1, 2]
    assert (start - tokens.caption_start[caption]).tolist() == [4, 4]


def test_no_name_runs_from_one_caption_into_the_next() -> None:
    tokens = tokenize(["a hot", "dog"])
    between = [tokens.segments[index] for index in tokens.segment.tolist()]
    assert between == ["a", " ", "hot", "\n", "dog", "\n"]
