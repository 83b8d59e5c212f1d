import numpy as np
import pytest

from ram_model.vocabulary import Vocabulary
from ram_ray.data_engine.look.grounding_dino import GroundingConfig, GroundingDino
from ram_ray.data_engine.look.locators import check_regions
from ram_ray.errors import ConfigError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "dog", "brown", "bear", "cat"]
TAGS = Vocabulary(names=("dog", "brown bear", "cat"), thresholds=np.zeros(3, np.float32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny Grounding DINO with random weights, as `save_pretrained` writes it."""
    transformers = pytest.importorskip("transformers")
    path = tmp_path_factory.mktemp("grounding")
    (path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    text = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    backbone = transformers.SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=2,
        out_features=["stage2", "stage3", "stage4"],
    )
    config = transformers.GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=12,
        max_text_len=16,
        num_feature_levels=3,
    )
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(path)
    processor = transformers.GroundingDinoProcessor(
        transformers.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}),
        transformers.BertTokenizerFast(str(path / "vocab.txt")),
    )
    processor.save_pretrained(path)
    return path


@pytest.mark.filterwarnings("ignore")
def test_each_tag_gets_its_boxes_whatever_prompt_it_is_in(folder):
    config = GroundingConfig(min_score=0, tags_per_prompt=2, regions_per_tag=2)
    locator = GroundingDino(folder, TAGS, config)
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    found = locator.regions(image, [0, 1, 2])
    assert [region.tag_id for region in found] == [0, 0, 1, 1, 2, 2]
    good, problems = check_regions(found, [0, 1, 2])
    assert len(good) + len(problems) == 6
    assert [prompt.text for prompt in locator._prompts([0, 1, 2])] == ["dog. brown bear.", "cat."]


@pytest.mark.filterwarnings("ignore")
def test_a_prompt_longer_than_the_model_reads_is_cut(folder):
    many = Vocabulary(names=("brown bear",) * 12, thresholds=np.zeros(12, np.float32))
    locator = GroundingDino(folder, many, GroundingConfig(min_score=0))
    prompts = locator._prompts(list(range(12)))
    assert sum(len(prompt.tag_ids) for prompt in prompts) == 12
    assert all(locator._num_pieces(prompt.text) <= 16 for prompt in prompts)


def test_a_folder_without_a_model_says_so(tmp_path):
    with pytest.raises(ConfigError, match="no Grounding DINO in"):
        GroundingDino(tmp_path, TAGS)
