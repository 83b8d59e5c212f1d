"""How well the recipe on Lite2 scores words that nothing taught it.

    python -m research.ram_mini.lite2.open_set --data ../shared/data --cache CACHE \
        --vocabulary VOCABULARY --text model/ram_model/weights/ram-mini --run RUN

The five sets of 20 tags of `benchmarks.open_set`, drawn by the same seeds from the first ram-mini's
tags. For each set they, their synonyms and all tags under them are taken out of tags and caption
words before classifiers are packed and text is learned. The removed tags are scored by their text
alone on tars 10 and 11. Twice: on the published encoder, which never had these words but where its
classes have them; and on the trained one, whose training had them.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.open_set import NUM_SETS, TAGS_PER_SET, measure
from research.ram_mini.lite2.features import PUBLISHED, TUNED, Features
from research.ram_mini.lite2.pack import Linear, pack
from research.ram_mini.lite2.vocabulary import Words, class_names, load_words
from research.ram_mini.open import embed
from research.ram_mini.package import LEAST_POSITIVES
from research.ram_mini.prepare import TagLine, read_tags
from research.ram_mini.words import target_matrix, without_meanings


def main(data: Path, cache: Path, vocabulary: Path, text: Path, run: Path) -> dict:
    """Make and score ten models; return the figures, and which removed words are classes."""
    words = load_words(data, vocabulary)
    with np.load(cache / "targets.npz") as kept:
        others = kept["others"].tolist()
    names = [*words.names, *others]
    texts = embed(text, names)
    published = Linear(*torch.load(run / "linear.pt", weights_only=True))
    tuned = torch.load(run / "tuned.pt", weights_only=True)
    trained = Linear(tuned["head.weight"], tuned["head.bias"])
    result: dict[str, object] = {}
    for which, tokens, linear in (
        ("published", PUBLISHED, published),
        ("trained", TUNED, trained),
    ):
        result[which] = _figures(words, Features(cache, tokens), linear, names, texts, text)
        print(json.dumps({which: result[which]}), flush=True)
    classes = set(class_names(data))
    removed = [[line.name for line in lines] for lines in _removed(Features(cache))[0]]
    return result | {"known_to_the_encoder": [[n for n in own if n in classes] for own in removed]}


def _removed(features: Features) -> tuple[list[list[TagLine]], list[np.ndarray]]:
    """Return the five sets of tags, and what captions of tars 10 and 11 say of them."""
    old, test = read_tags(), features.test_rows
    truth = target_matrix([features.words[row] for row in test], old)
    positives = truth.sum(0)
    eligible = [n for n, tag in enumerate(old) if tag.shown and positives[n] >= LEAST_POSITIVES]
    chosen = [
        np.random.default_rng(number).choice(eligible, TAGS_PER_SET, replace=False)
        for number in range(NUM_SETS)
    ]
    truths = [truth[:, own].astype(np.float32) for own in chosen]
    return [[old[tag] for tag in own] for own in chosen], truths


def _figures(
    words: Words,
    features: Features,
    linear: Linear,
    names: list[str],
    texts: Tensor,
    text: Path,
) -> dict:
    """Return the figures of five models, packed without the words of a set."""
    sets, truths = _removed(features)
    lines = [TagLine(n, "object", frozenset({n})) for n in names]
    pooled = features.pooled(features.train_rows)
    test = features.pooled(features.test_rows)
    scores = []
    for removed in sets:
        ids = [tag for line in removed for tag in words.vocabulary.find(line.name)]
        under = set(np.flatnonzero(words.above[:, ids].any(1)).tolist())
        kept = np.array([n for n in without_meanings(lines, removed) if n not in under])
        count = int((kept < len(words.names)).sum())
        model = pack(
            Linear(linear.weight[kept], linear.bias[kept]), pooled, texts[kept], num_tags=count
        )
        rows = embed(text, [line.name for line in removed])
        with torch.inference_mode():
            tokens = model.image_projection(test).unsqueeze(1)
            queries = F.relu(model.label_projection(rows)).unsqueeze(0)
            scores.append(model.decode_tags(tokens, queries).sigmoid().numpy())
    return measure(scores, truths, np.arange(len(test)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--cache", "--vocabulary", "--text", "--run"):
        parser.add_argument(name, type=Path, required=True)
    a = parser.parse_args()
    print(json.dumps(main(a.data, a.cache, a.vocabulary, a.text, a.run), indent=2))
