"""The jobs that give ram-mini text queries and captions, without their data."""

from dataclasses import replace

import numpy as np
import torch

from ram_model import Ram, variant
from ram_model.captioning import PROMPT, Captioner
from ram_model.wordpiece import WordPieceTokenizer
from research.ram_mini.caption import learn_word_pieces, plain, with_caption_head
from research.ram_mini.cider import most_central
from research.ram_mini.open import fit_projection, offsets, with_labels
from research.ram_mini.prepare import TagLine
from research.ram_mini.train_text_tower import plural, present_participle
from research.ram_mini.widen import decode
from research.ram_mini.words import caption_labels, target_matrix, without_meanings

TAGS = [
    TagLine("dog", "object", frozenset({"dog", "dogs", "puppy"})),
    TagLine("car", "object", frozenset({"car", "cars"})),
    TagLine("jumping", "action", frozenset({"jump", "jumps", "jumping"})),
]


def small_model(num_tags: int) -> Ram:
    torch.manual_seed(0)
    config = variant("mini", num_tags=num_tags)
    return Ram(replace(config, tag_decoder=replace(config.tag_decoder, dropout=0.0))).eval()


def test_known_tags_keep_their_scores_when_queries_become_text() -> None:
    old = small_model(5)
    texts = torch.nn.functional.normalize(torch.randn(5, 512), dim=1)
    tokens = torch.randn(2, 16, old.config.image_encoder.width)
    before = decode(old, tokens)
    queries = old.label_projection(old.label_embeddings).detach()
    old.label_projection = fit_projection(texts, queries)
    opened = with_labels(old, texts + offsets(old.label_projection, texts, queries))
    assert torch.allclose(decode(opened, tokens), before, atol=1e-4)
    assert not opened.config.train_labels


def test_frequent_words_that_are_no_tag_become_labels_with_their_plural() -> None:
    words = [{"puppy", "balls", "the"}] * 6 + [{"ball", "cars", "kite"}] * 6
    labels = caption_labels(words, TAGS)
    assert [label.name for label in labels] == ["ball"]  # 12 times; the others 6, or known
    targets = target_matrix(words, [*TAGS, *labels])
    assert targets[0].tolist() == [True, False, False, True]
    assert targets[-1].tolist() == [False, True, False, True]


def test_synonyms_and_other_forms_go_with_a_removed_tag() -> None:
    names = ("auto", "automobile", "jumped", "sky", "hound")
    labels = [*TAGS, *(TagLine(name, "other", frozenset({name})) for name in names)]
    kept = [labels[at].name for at in without_meanings(labels, TAGS[1:])]
    assert kept == ["dog", "sky", "hound"]


def test_word_forms() -> None:
    assert [plural(w) for w in ("dog", "box", "city", "toy")] == ["dogs", "boxes", "cities", "toys"]
    forms = [present_participle(w) for w in ("run", "ride", "lie", "see", "walk")]
    assert forms == ["running", "riding", "lying", "seeing", "walking"]


def test_captions_are_compared_and_written_plainly(tmp_path) -> None:
    assert plain(' A "big" Dog runs . ') == "a big dog runs"
    assert most_central(["a cat", "a dog runs", "a dog runs fast"]) == 1
    pieces = learn_word_pieces(["A dog runs ."] * 5)
    assert pieces[0] == "[PAD]"
    tokenizer = WordPieceTokenizer(pieces)
    model = with_caption_head(small_model(3), tokenizer)
    assert {n.partition(".")[0] for n, p in model.named_parameters() if p.requires_grad} == {
        "caption_head"
    }
    tokens = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 17, 512))).float()
    texts = Captioner(model.eval(), tokenizer)(tokens, [["dog"]])
    assert tokenizer.decode(tokenizer.split(PROMPT)) == PROMPT.strip()
    assert len(texts) == 1
