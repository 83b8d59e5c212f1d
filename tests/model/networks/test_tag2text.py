from pathlib import Path

import numpy as np
import pytest
import torch

from ram_model import Ram, Tag2Text, Tagger, tag2text_vocabulary
from ram_model.config import variant
from ram_model.networks.tag2text import DELETED_IDS, THRESHOLDS_BY_ID
from ram_model.vocabulary import OFF
from tests.model.tiny_captions import NAMES, VOCABULARY, captioning_model, pixels


def test_label_queries_are_the_embeddings_as_they_are() -> None:
    model = Tag2Text(variant("tiny", kind="tag2text", num_tags=5))
    assert torch.equal(model.label_queries()[0], model.label_embeddings)
    assert (model.label_queries() < 0).any()  # RAM's go through a ReLU
    assert model.label_embeddings.requires_grad


def test_configurations_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="kind is 'tag2text', but must be 'ram' for Ram"):
        Ram(variant("tiny", kind="tag2text"))
    with pytest.raises(ValueError, match="kind is 'ram', but must be 'tag2text' for Tag2Text"):
        Tag2Text(variant("tiny"))


def test_every_tag_has_a_classifier_of_its_own() -> None:
    model = Tag2Text(variant("tiny", kind="tag2text", num_tags=5)).eval()
    states = torch.randn(2, 5, 64)
    logits = model.classifier(states).squeeze(-1)
    weight, bias = model.classifier.weight[0], model.classifier.bias[0]
    for tag_id in range(5):
        expected = states[:, tag_id] @ weight[tag_id] + bias[tag_id]
        assert torch.allclose(logits[:, tag_id], expected, atol=1e-6)


def test_subsets_score_as_in_the_full_model() -> None:
    model = captioning_model()
    images = torch.randn(2, 3, 128, 128)
    with torch.inference_mode():
        full = model(images)
        part = model.select_tags([4, 1])(images)
    assert (part - full[:, [4, 1]]).abs().max() <= 1e-5


def test_new_words_are_refused() -> None:
    with pytest.raises(ValueError, match="takes no others"):
        captioning_model().append_tags([torch.ones(1, 64)])


def test_tags_of_one_name_are_found_by_id_and_by_name() -> None:
    assert VOCABULARY.tag_ids_of(["run"]) == [1, 3]
    by_name = Tagger(captioning_model(), VOCABULARY, tags=["run"], threshold=0.0, batch_size=1)
    assert sorted(by_name(pixels(1))[0].tag_ids.tolist()) == [1, 3]
    one = Tagger(captioning_model(), VOCABULARY, tags=["#3"], threshold=0.0, batch_size=1)
    assert one(pixels(1))[0].tag_ids.tolist() == [3]
    assert one(pixels(1))[0].names == [NAMES[3]]


def test_vocabulary_of_another_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tags.txt"
    path.write_text("dog\ncat\n", encoding="utf-8")
    with pytest.raises(ValueError, match="holds 2 tags, but must hold 3429"):
        tag2text_vocabulary(path)


@pytest.mark.shared
def test_published_vocabulary(shared: Path) -> None:
    vocabulary = tag2text_vocabulary(shared / "data/labels/ram/tag2text_ori_tag_list.txt")
    assert len(vocabulary) == 3429
    assert len(set(vocabulary.names)) == 3313
    high = {vocabulary.names[tag_id]: value for tag_id, value in THRESHOLDS_BY_ID.items()}
    assert high == {"person": 0.7, "man": 0.7, "woman": 0.7}
    deleted = [vocabulary.names[tag_id] for tag_id in DELETED_IDS]
    assert deleted == ["quarter", "back", "two", "three", "four", "five", "one"]
    values, counts = np.unique(vocabulary.thresholds, return_counts=True)
    assert values.tolist() == pytest.approx([0.68, 0.7, OFF])
    assert counts.tolist() == [3429 - 10, 3, 7]
    repeated = [name for name in set(vocabulary.names) if vocabulary.names.count(name) > 1]
    assert len(repeated) == 114
    for name in repeated:
        assert [vocabulary.names[i] for i in vocabulary.find(name)] == [name] * (
            vocabulary.names.count(name)
        )
