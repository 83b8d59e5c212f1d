"""Which tags an image gets, decided on the device that holds the scores.

Shape legend: N images, C tags that the model decides on.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ram_model.errors import ModelOutputError
from ram_model.vocabulary import OFF


@dataclass(frozen=True, slots=True, eq=False)
class Tags:
    """The tags of one image, three parallel columns sorted by falling score, and its caption."""

    tag_ids: np.ndarray
    """int32 [k], ids of the vocabulary; equal scores in ascending order of id."""
    scores: np.ndarray
    """float32 [k], sigmoid, 0..1."""
    names: list[str]
    caption: str | None = None
    """One sentence about the image; None where none was asked for."""
    caption_confidence: float | None = None
    """Mean probability of the caption's word pieces, 0..1."""

    def __len__(self) -> int:
        return len(self.names)


class TagSelection(nn.Module):
    """Logits to the sparse tags of each image; only those leave the device."""

    thresholds: Tensor
    tag_ids: Tensor

    def __init__(
        self,
        *,
        tag_ids: list[int],
        thresholds: np.ndarray,
        names: tuple[str, ...],
        top_k: int | None,
        score_floor: float | None,
    ) -> None:
        """Store the rules.

        Args:
            tag_ids: vocabulary id of each column, ascending.
            thresholds: float32 [C]; 1.0 switches a tag off, the floor included.
            names: of the whole vocabulary, by id.
            top_k: at most this many per image; None: no limit.
            score_floor: also keep scores from here up; None: above their thresholds only.
        """
        super().__init__()
        self.names = names
        self.top_k = top_k
        self.score_floor = score_floor
        self.register_buffer("thresholds", torch.from_numpy(thresholds.copy()))
        self.register_buffer("tag_ids", torch.tensor(tag_ids, dtype=torch.int32))

    def forward(self, logits_NC: Tensor) -> list[Tags]:
        """Return the tags of each image.

        Raises:
            ModelOutputError: a logit is NaN or infinite.
        """
        scores_NC = logits_NC.float().sigmoid()
        keep_NC = scores_NC > self.thresholds
        if self.score_floor is not None:
            keep_NC |= (scores_NC >= self.score_floor) & (self.thresholds < OFF)
        rows, columns = keep_NC.nonzero(as_tuple=True)  # by row, then by ascending id
        rows, columns, scores = _sort_in_rows(rows, columns, scores_NC[rows, columns])
        counts_N = keep_NC.sum(dim=1)
        if self.top_k is not None:
            starts_N = counts_N.cumsum(0) - counts_N
            rank = torch.arange(len(rows), device=rows.device) - starts_N[rows]
            best = rank < self.top_k
            columns, scores = columns[best], scores[best]
            counts_N = counts_N.clamp(max=self.top_k)
        broken = (~logits_NC.isfinite()).sum()
        return self._unpack(broken, counts_N, self.tag_ids[columns], scores)

    def _unpack(
        self, broken: Tensor, counts_N: Tensor, tag_ids: Tensor, scores: Tensor
    ) -> list[Tags]:
        # one transfer for everything: the scores travel as the bits of int32
        head = torch.cat([broken.view(1), counts_N]).int()
        packed = torch.cat([head, tag_ids, scores.view(torch.int32)]).cpu().numpy()
        num_broken, counts, rest = packed[0], packed[1 : 1 + len(counts_N)], packed[len(head) :]
        if num_broken:
            raise ModelOutputError(f"The model returned {num_broken} logits that are not finite.")
        ids, values = rest[: len(tag_ids)], rest[len(tag_ids) :].view(np.float32)
        ends = counts.cumsum()
        return [
            Tags(ids[start:end], values[start:end], [self.names[i] for i in ids[start:end]])
            for start, end in zip(ends - counts, ends, strict=True)
        ]


def _sort_in_rows(rows: Tensor, columns: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the entries by row, in a row by falling score, on equal scores by column."""
    order = scores.argsort(descending=True, stable=True)
    order = order[rows[order].argsort(stable=True)]
    return rows[order], columns[order], scores[order]
