"""Tag2Text: tags with learnt labels, and captions guided by them (arXiv 2303.05657).

Shape legend as in `ram_model.networks.ram`; here label_dim is the decoder's width D.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from ram_model.config import NUM_TAG2TEXT_TAGS, Kind, RamConfig
from ram_model.networks.ram import Ram
from ram_model.vocabulary import OFF, Vocabulary, read_lines

# Of the reference (recognize-anything, `ram/models/tag2text.py` and `inference_tag2text.py`).
THRESHOLD = 0.68
THRESHOLDS_BY_ID = {2701: 0.7, 2828: 0.7, 1167: 0.7}  # person, man, woman
DELETED_IDS = (127, 2961, 3351, 3265, 3338, 3355, 3359)  # quarter, back, and the numerals


class Tag2Text(Ram):
    """RAM's forerunner: the tag decoder reads the encoder's tokens, each tag has its own weights.

    Differences from RAM: no projection of image or labels, no ReLU on the label queries, and one
    weight vector and bias per tag instead of one for all.
    """

    kind: ClassVar[Kind] = "tag2text"

    def __init__(self, config: RamConfig) -> None:
        """Build the model with random weights; as `Ram`."""
        super().__init__(config)
        self.image_projection = nn.Identity()
        self.label_projection = nn.Identity()
        nn.init.normal_(self.label_embeddings)  # of an nn.Embedding, which the reference uses
        self.classifier = TagClassifier(config.num_tags, config.label_dim)

    def label_queries(self, tokens_BTE: Tensor | None = None) -> Tensor:
        """Return the label queries, [1, C, D]: the label embeddings as they are."""
        return self.label_embeddings.unsqueeze(0)

    def select_tags(self, tag_ids: Sequence[int]) -> Self:
        """Return a model of only these tags; as `Ram.select_tags`."""
        subset = super().select_tags(tag_ids)
        subset.classifier = self.classifier.select(tag_ids)
        return subset

    def append_tags(self, labels: Sequence[Tensor]) -> Self:
        """Refuse: a tag's classifier is learnt with its label.

        Raises:
            ValueError: always.
        """
        raise ValueError("Tag2Text has learnt its tags and takes no others.")


class TagClassifier(nn.Module):
    """One weight vector and bias per tag; shapes as in the official checkpoint."""

    def __init__(self, num_tags: int, width: int) -> None:
        super().__init__()
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(1, num_tags, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(1, num_tags).uniform_(-bound, bound))

    def forward(self, states_BCD: Tensor) -> Tensor:
        """Return logits [B, C, 1]."""
        return ((self.weight * states_BCD).sum(-1) + self.bias).unsqueeze(-1)

    def select(self, tag_ids: Sequence[int]) -> "TagClassifier":
        """Return the classifier of these tags only."""
        with torch.device("meta"):
            other = TagClassifier(len(tag_ids), self.weight.shape[-1])
        other.weight = nn.Parameter(self.weight.detach()[:, list(tag_ids)])
        other.bias = nn.Parameter(self.bias.detach()[:, list(tag_ids)])
        return other


def tag2text_vocabulary(names: str | Path) -> Vocabulary:
    """Return the vocabulary of the published tag list, with the reference's thresholds.

    Names that occur twice (a noun and a verb, mostly) are tags of their own, told apart by id.
    The tags that the reference deletes from results are switched off: threshold 1.0.

    Args:
        names: UTF-8 file, one tag a line, 3429 of them.

    Raises:
        ValueError: another number of tags.
    """
    tags = read_lines(names)
    if len(tags) != NUM_TAG2TEXT_TAGS:
        raise ValueError(f"{names} holds {len(tags)} tags, but must hold {NUM_TAG2TEXT_TAGS}.")
    thresholds = np.full(NUM_TAG2TEXT_TAGS, THRESHOLD, dtype=np.float32)
    for tag_id, threshold in THRESHOLDS_BY_ID.items():
        thresholds[tag_id] = threshold
    thresholds[list(DELETED_IDS)] = OFF
    return Vocabulary(names=tuple(tags), thresholds=thresholds)
