"""Baselines on real files: red and blue photos, a run of a tiny model, a tiny CLIP."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pyarrow as pa
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from ram_model import Ram, Vocabulary, save_folder, variant
from ram_model.metrics import mean_average_precision
from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.evaluation.baselines import Baseline, linear_scores, measure_baselines
from ram_ray.evaluation.scored import ScoredImages, read_scored
from ram_ray.evaluation.truth import read_truth
from ram_ray.runs.commits import commit_shard
from ram_ray.runs.plans import PLAN
from ram_ray.runs.record import agree_on_record
from ram_ray.storage.stores import open_store
from ram_ray.tagging import tables as schema
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.model import identify_model
from ram_ray.tagging.record import tag_record
from tests.model.tiny_clip import tiny_clip

NAMES = ("red", "blue")
COUNT = 30


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("clip")
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    model = {"embed_dim": 512, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    config = {"model_cfg": model, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(tiny_clip().state_dict(), folder / "open_clip_model.safetensors")
    return str(folder)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> ScoredImages:
    """Half of the photos are red; the run's model guesses."""
    home = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    config = variant("tiny", num_tags=2)
    vocabulary = Vocabulary(names=NAMES, thresholds=np.array([0.5, 0.5]))
    model = save_folder(Ram(config), config, vocabulary, home / "tiny")
    (home / "in").mkdir()
    random = np.random.default_rng(0)
    rows = []
    for number in range(COUNT):
        colour = (200, 30, 30) if number % 2 else (30, 30, 200)
        noise = random.integers(-30, 30, (40, 60, 3))
        pixels = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
        path = home / "in" / f"{number:02}.png"
        Image.fromarray(pixels).save(path)
        rows.append({"image_id": path.name, "uri": str(path), "width": 60, "height": 40})
    options = TagConfig(
        source=str(home / "in"), output=str(home / "out"), model=str(model), score_floor=0.0
    )
    store = open_store(options.output, StoreConfig(), create=True)
    agree_on_record(store, tag_record(options, identify_model(options)))
    guessed = [
        row | {"tags": NAMES, "tag_ids": [0, 1], "scores": random.random(2).tolist()}
        for row in rows
    ]
    none = [None] * COUNT
    ids, uris = ([row[key] for row in rows] for key in ("image_id", "uri"))
    plan = pa.table([ids, uris, none, none, none, [9] * COUNT], schema=PLAN)
    tags = pa.Table.from_pylist(guessed, schema=schema.TAGS)
    commit_shard(store, 0, plan, tags, schema.QUARANTINE.empty_table())
    labels = home / "truth.jsonl"
    lines = [{"image_id": i, "present": [NAMES[1 - n % 2]]} for n, i in enumerate(ids)]
    labels.write_text("\n".join(map(json.dumps, lines)))
    return read_scored(store, read_truth(labels), "path")


def test_a_linear_head_learns_what_the_features_hold(
    scored: ScoredImages, clip_folder: str
) -> None:
    baselines = [Baseline.parse(f"linear={clip_folder}"), Baseline.parse("linear")]
    for found in measure_baselines(baselines, scored, StoreConfig(), num_draws=5):
        assert found["map"]["value"] > 0.95  # colours stand in features of random towers
        assert found["model_lead"]["value"] < -0.2  # the run guesses
        assert found["model_lead"]["interval"][1] < 0


def test_zero_shot_is_open_clips_own_cosine(scored: ScoredImages, clip_folder: str) -> None:
    (found,) = measure_baselines(
        [Baseline.parse(f"clip={clip_folder}")], scored, StoreConfig(), num_draws=2
    )
    clip = tiny_clip()
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    with torch.inference_mode():
        texts = []
        for name in NAMES:
            prompts = [template(name) for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
            prompts = [f"This is {p}" if p.startswith(("a", "the")) else p for p in prompts]
            text = clip.encode_text(tokenizer(prompts), normalize=True).mean(0)
            texts.append(text / text.norm())
        scores = []
        for uri in scored.uris:
            square = Image.open(uri).resize((48, 32), Image.Resampling.BICUBIC).crop((8, 0, 40, 32))
            pixels = torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1) / 255
            image = clip.encode_image(((pixels - 0.5) / 0.25)[None], normalize=True)
            scores.append((image @ torch.stack(texts).T)[0].numpy())
    # nearly: the run's decoder enlarges before CLIP's size is cut out
    expected = mean_average_precision(scored.labels, np.stack(scores))
    assert found["map"]["value"] == pytest.approx(expected, abs=0.1)


def test_no_image_is_scored_by_a_head_that_saw_its_label() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(60, 80)).astype(np.float32)  # enough to learn 60 by heart
    labels = random.integers(0, 2, (60, 1)).astype(np.int8)
    scores = linear_scores(features, labels, tuple(f"{i}.jpg" for i in range(60)))
    right = ((scores > 0) == (labels == 1)).mean()
    assert 0.25 < right < 0.75  # by heart it would be 1


def test_unverified_labels_teach_nothing() -> None:
    features = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
    labels = (features > 0).astype(np.int8)
    hidden = labels.copy()
    hidden[::2] = -1
    wrong = np.where(hidden == -1, 1 - labels, hidden).astype(np.int8)
    ids = tuple(f"{i}.jpg" for i in range(60))
    learned = linear_scores(features, hidden, ids)
    assert ((learned > 0) == (labels == 1)).mean() > 0.9
    assert not np.allclose(learned, linear_scores(features, wrong, ids), atol=0.5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("resnet", "must be clip=FOLDER, linear=FOLDER or linear"),
        ("clip", "must be clip=FOLDER"),
        ("clip=", "must be clip=FOLDER"),
        ("linear=/nowhere", "has no open_clip_config.json"),
    ],
)
def test_what_is_no_baseline_says_so(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Baseline.parse(text)


def test_an_image_that_is_gone_is_named(scored: ScoredImages) -> None:
    gone = replace(scored, uris=("/gone/away.png", *scored.uris[1:]))
    with pytest.raises(ConfigError, match=r"needs the run's images, but /gone/away\.png"):
        measure_baselines([Baseline("linear", None)], gone, StoreConfig(), num_draws=1)


def test_a_folder_without_weights_is_refused(scored: ScoredImages, clip_folder: str) -> None:
    folder = Path(clip_folder).with_name("empty")
    folder.mkdir()
    config = Path(clip_folder, "open_clip_config.json").read_text()
    (folder / "open_clip_config.json").write_text(config)
    with pytest.raises(ConfigError, match="open_clip cannot load"):
        measure_baselines([Baseline.parse(f"clip={folder}")], scored, StoreConfig())
