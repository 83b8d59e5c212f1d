"""The trained model that ships in the package."""

import io
import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data as skimage_data

from ram_model import CaptionOptions, Ram, Tagger, Vocabulary, load_folder, save_folder
from ram_model.config import swin_tiny_test, variant
from ram_model.files.checkpoint import write_checksums
from ram_model.files.pretrained import PACKAGED
from ram_model.transforms import resize_for_inference
from ram_model.vocabulary import OFF
from ram_model.words.label_embeddings import embed_words, find_label_source

FOLDER = PACKAGED / "ram-mini"
MAX_BYTES, MAX_TAGGING_BYTES = 30_000_000, 16_000_000
FLOOR = 0.27  # the first ram-mini had .289 on these 300 photos; frequency prior .085


def test_folder_loads_and_is_small():
    loaded = load_folder(FOLDER)  # checks the checksums and every key and shape
    assert loaded.config.image_size_px == 192
    assert len(loaded.vocabulary) == loaded.config.num_tags > 900
    assert (FOLDER / "model.safetensors").stat().st_size < MAX_TAGGING_BYTES
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < MAX_BYTES


def test_card_and_licence_travel_with_the_weights():
    assert {"MODEL_CARD.md", "WEIGHTS_LICENSE"} <= {path.name for path in FOLDER.iterdir()}


def test_shown_are_at_least_800_everyday_words():
    vocabulary = load_folder(FOLDER).vocabulary
    assert (vocabulary.thresholds > 0).all()
    shown = {vocabulary.names[i] for i in np.flatnonzero(vocabulary.thresholds < OFF)}
    assert len(shown) >= 800
    assert {"dog", "cat", "pizza", "airplane", "kitchen", "snow"} < shown
    assert not {"container", "young", "wearing", "him"} & shown


def test_names_come_with_parents_kinds_and_chinese():
    vocabulary = load_folder(FOLDER).vocabulary
    (tabby,) = vocabulary.find("tabby cat")
    above = {vocabulary.names[parent] for parent in vocabulary.parents[tabby]}
    assert above == {"cat", "animal"}
    (kitchen,), (pizza,) = vocabulary.find("kitchen"), vocabulary.find("pizza")
    assert (vocabulary.kinds[kitchen], vocabulary.names_zh[pizza]) == ("scene", "披萨")


def test_a_folder_of_the_first_ram_mini_still_loads(tmp_path: Path):
    """Swin, no direct term: a config.json that does not know of these."""
    encoder = swin_tiny_test()
    config = replace(variant("mini", num_tags=2), image_encoder=encoder)
    model = Ram(config).eval()
    vocabulary = Vocabulary(names=("dog", "cat"), thresholds=np.full(2, 0.5, np.float32))
    save_folder(model, config, vocabulary, tmp_path)
    text = (tmp_path / "config.json").read_text()
    assert '"direct": false' in text
    (tmp_path / "config.json").write_text(text.replace('  "direct": false,\n', ""))
    write_checksums(tmp_path, ["config.json"])
    loaded = load_folder(tmp_path)
    assert loaded.config == config
    assert Tagger.load(tmp_path, score_floor=0.0).tag_image(Image.new("RGB", (9, 9))).names


@pytest.mark.parametrize(
    ("photo", "expected", "rank"), [("astronaut", "person", 3), ("chelsea", "cat", 3)]
)
def test_photo_of_another_source_ranks_what_is_there_high(photo, expected, rank):
    tagger = Tagger.load("ram-mini", score_floor=0.0, top_k=rank)
    assert not tagger.is_random
    tags = tagger.tag_image(Image.fromarray(getattr(skimage_data, photo)()))
    assert expected in tags.names


def test_any_word_is_a_tag_and_says_that_it_is_new():
    words = ["snow cone", "ferris wheel", "dog"]
    tagger = Tagger.load("ram-mini", tags=words, score_floor=0.0)
    assert "scored by their text alone: snow cone, ferris wheel" in tagger.notes[0]
    tags = tagger.tag_image(Image.fromarray(skimage_data.astronaut()))
    assert set(tags.names) == set(words)
    assert ((tags.scores > 0) & (tags.scores < 1)).all()
    assert tagger.vocabulary.thresholds[-1] == load_folder(FOLDER).config.open_set_threshold


def test_new_words_leave_the_known_ones_alone():
    photo = Image.fromarray(skimage_data.chelsea())
    alone = Tagger.load("ram-mini", tags=["dog"], score_floor=0.0).tag_image(photo)
    both = Tagger.load("ram-mini", tags=["dog", "forklift"], score_floor=0.0).tag_image(photo)
    score = dict(zip(both.names, both.scores, strict=True))["dog"]
    assert score == pytest.approx(alone.scores[0], abs=1e-5)


def test_words_near_in_meaning_get_near_labels():
    source = find_label_source(FOLDER)
    assert source is not None
    words = ["kayak", "canoe", "trumpet", "saxophone"]
    rows = embed_words(source, load_folder(FOLDER).config, words)
    kayak, canoe, trumpet, saxophone = (rows[word][0] for word in words)
    assert kayak @ canoe > 0.4 > kayak @ trumpet
    assert trumpet @ saxophone > 0.4 > canoe @ saxophone


def test_captions_are_sentences_and_do_not_depend_on_the_batch():
    photos = [skimage_data.astronaut(), skimage_data.chelsea(), skimage_data.coffee()]
    pixels = np.stack([resize_for_inference(Image.fromarray(p), 192) for p in photos])
    tagger = Tagger.load("ram-mini", captions=CaptionOptions(), batch_size=4)
    together = [tags.caption for tags in tagger(pixels)]
    assert together == [tagger(pixels[i : i + 1])[0].caption for i in range(3)]
    assert all(text and 4 <= len(text.split()) <= 30 for text in together)
    plain = Tagger.load("ram-mini", batch_size=4)(pixels)
    assert [tags.names for tags in plain] == [tags.names for tags in tagger(pixels)]


@pytest.mark.shared
def test_heldout_precision_is_what_the_card_says(shared: Path):
    tagger = Tagger.load("ram-mini", batch_size=50, score_floor=0.0)
    words = (shared / "data/labels/flickr8k_plain_words.txt").read_text().split()
    photos = heldout_photos(shared / "data/flickr8k_train/flickr8k-train-00011.tar", 300)
    pixels = np.stack([resize_for_inference(photo, 192) for photo, _ in photos])
    scores = np.zeros((len(photos), len(tagger.vocabulary)))
    for start in range(0, len(photos), 50):
        for row, tags in enumerate(tagger(pixels[start : start + 50]), start=start):
            scores[row, tags.tag_ids] = tags.scores
    values = []
    for word in words:
        truth = np.array([word in said or word + "s" in said for _, said in photos])
        if truth.sum() >= 10:
            values.append(word_precision(tagger, word, truth, scores))
    assert len(values) > 90  # of 300 photos
    assert np.mean(values) > FLOOR


def heldout_photos(tar_path: Path, count: int) -> list[tuple[Image.Image, set[str]]]:
    """Return the first photos of a tar, each with the words of its captions."""
    with tarfile.open(tar_path) as tar:
        members = [(member.name, tar.extractfile(member)) for member in tar]
        files = {name: file.read() for name, file in members if file is not None}
    stems = sorted(name.removesuffix(".jpg") for name in files if name.endswith(".jpg"))[:count]
    photos = [Image.open(io.BytesIO(files[stem + ".jpg"])).convert("RGB") for stem in stems]
    captions = [" ".join(json.loads(files[stem + ".json"])["captions"]) for stem in stems]
    words = [set(re.findall("[a-z]+", text.lower())) for text in captions]
    return list(zip(photos, words, strict=True))


def word_precision(tagger: Tagger, word: str, truth: np.ndarray, scores: np.ndarray) -> float:
    """Return the average precision; the share of positives where no tag covers the word."""
    names, aliases = tagger.vocabulary.names, tagger.vocabulary.aliases
    found = [names.index(word)] if word in names else []
    found += [i for i, a in enumerate(aliases) if {word, word + "s"} & {*a}]
    if not found:
        return float(truth.mean())
    ranked = truth[np.argsort(-scores[:, found[0]], kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float((precision * ranked).sum() / ranked.sum())
