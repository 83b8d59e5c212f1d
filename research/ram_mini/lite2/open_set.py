"""How well the recipe on Lite2 scores words that nothing taught it.

    python -m research.ram_mini.lite2.open_set --data ../shared/data --wheels WHEELS --cache CACHE \
        --vocabulary VOCABULARY --text model/ram_model/weights/ram-mini

The five sets of 20 tags of `benchmarks.open_set`, drawn by the same seeds from the first ram-mini's
tags. For each set they, their synonyms and all tags under them are taken out of tags and caption
words; the decoder is made anew, start and training. The removed tags are scored by their text
alone on tars 10 and 11. About five minutes of CPU time.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from benchmarks.open_set import NUM_SETS, TAGS_PER_SET, measure
from research.ram_mini.lite2.features import Features
from research.ram_mini.lite2.train import Lesson, Run, label_texts, lite2_config, score
from research.ram_mini.lite2.vocabulary import class_names, load_words
from research.ram_mini.open import embed
from research.ram_mini.package import LEAST_POSITIVES
from research.ram_mini.prepare import TagLine, read_tags
from research.ram_mini.words import target_matrix, without_meanings

STEPS = 150


def main(data: Path, wheels: Path, cache: Path, vocabulary: Path, text: Path) -> dict:
    """Make and score five models; return the figures, and which removed words are classes."""
    words, features = load_words(data, vocabulary), Features(cache)
    with np.load(cache / "targets.npz") as kept:
        soft, others, by_captions = kept["soft"], kept["others"].tolist(), kept["by_captions"]
    old, test = read_tags(), features.test_rows
    truth = target_matrix([features.words[row] for row in test], old)
    positives = truth.sum(0)
    eligible = [n for n, tag in enumerate(old) if tag.shown and positives[n] >= LEAST_POSITIVES]
    classes = set(class_names(data))
    texts = label_texts(text, words.names, others)
    lines = [TagLine(n, "object", frozenset({n})) for n in [*words.names, *others]]
    scores, truths, known = [], [], []
    for number in range(NUM_SETS):
        chosen = np.random.default_rng(number).choice(eligible, TAGS_PER_SET, replace=False)
        removed = [old[tag] for tag in chosen]
        ids = [tag for line in removed for tag in words.vocabulary.find(line.name)]
        under = set(np.flatnonzero(words.above[:, ids].any(1)).tolist())
        kept_rows = np.array([n for n in without_meanings(lines, removed) if n not in under])
        tags = kept_rows[kept_rows < len(words.names)]
        lesson = Lesson(features, soft[:, kept_rows], by_captions[tags])
        run = Run(lite2_config(len(tags)), texts[kept_rows], lesson, total_s=60)
        run.begin(wheels, words.class_tags[:, tags])
        for step in range(STEPS):
            run.follow_schedule(step / STEPS)
            run.take_step()
        model = run.averaged()
        rows = embed(text, [line.name for line in removed])
        with torch.inference_mode():
            parts = [score(model, features.batch(p), rows) for p in np.array_split(test, 20)]
        scores.append(torch.cat(parts).sigmoid().numpy())
        truths.append(truth[:, chosen].astype(np.float32))
        known.append([line.name for line in removed if line.name in classes])
        print(json.dumps({"set": [line.name for line in removed], "tags": len(tags)}), flush=True)
    return measure(scores, truths, np.arange(len(test))) | {"known_to_the_encoder": known}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--wheels", "--cache", "--vocabulary", "--text"):
        parser.add_argument(name, type=Path, required=True)
    a = parser.parse_args()
    print(json.dumps(main(a.data, a.wheels, a.cache, a.vocabulary, a.text), indent=2))
