"""What is known about each (image, tag) that a caption names, in columns."""

from dataclasses import dataclass, fields

import numpy as np

from ram_model.config import KINDS

NO_RIVAL = -1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Evidence:
    """Parallel columns, one row per (caption, tag); NaN where there is nothing to say."""

    caption: np.ndarray
    """int64 [M], which caption named it: rows of one caption are judged knowing each other."""
    tag_id: np.ndarray
    """int32 [M]."""
    kind: np.ndarray
    """int8 [M], index into `ram_model.config.KINDS`."""
    whole: np.ndarray
    """float32 [M], 0..1, the tag's out-of-fold score on the whole image."""
    region: np.ndarray
    """float32 [M], 0..1, its score on its best region; NaN: nothing localised it."""
    rival: np.ndarray
    """float32 [M], 0..1, on the same region the best score of another tag of its kind; NaN."""
    rival_id: np.ndarray
    """int32 [M], that tag, or NO_RIVAL."""
    cluster_z: np.ndarray
    """float32 [M], `clustering.Verdict.z` of the region; NaN: not judged."""
    expected: np.ndarray
    """float32 [M], `expected_of` the image: how much a caption of it should say, at least 0."""

    def __post_init__(self) -> None:
        for column in fields(self):
            values = getattr(self, column.name)
            if values.shape != self.tag_id.shape:
                sizes = f"{column.name} is {values.shape}, but tag_id is {self.tag_id.shape}"
                raise ValueError(f"{sizes}: one row per (caption, tag).")
        for name in ("whole", "region", "rival"):
            values = getattr(self, name)
            known = values[~np.isnan(values)]
            if not ((known >= 0) & (known <= 1)).all():
                raise ValueError(f"{name} must be between 0 and 1, or NaN.")
        if np.isnan(self.whole).any():
            raise ValueError("whole holds NaN, but every image has a score of every tag.")
        if not (self.expected >= 0).all():
            raise ValueError("expected must be at least 0.")

    def __len__(self) -> int:
        return len(self.tag_id)

    def where(self, chosen: np.ndarray) -> "Evidence":
        """Return the rows of a mask or of row numbers."""
        return Evidence(**{c.name: getattr(self, c.name)[chosen] for c in fields(self)})

    @classmethod
    def join(cls, parts: "list[Evidence]") -> "Evidence":
        """Return the rows of all parts, in order.

        Raises:
            ValueError: no parts.
        """
        if not parts:
            raise ValueError("parts is empty, but must hold at least one Evidence.")
        names = [column.name for column in fields(cls)]
        return cls(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})


def expected_of(scores: np.ndarray) -> np.ndarray:
    """Return float32 [...], how much the model expects a caption to say, in nats.

    It is -log of the chance that a caption names none of the tags, if they were independent.

    Args:
        scores: float [..., T], 0..1, on the whole image; tags that are left out count as 0.
    """
    certain = 0.997  # one tag that the model is sure of must not outweigh all others
    return -np.log1p(-np.minimum(scores.astype(np.float64), certain)).sum(-1).astype(np.float32)


def strongest_rivals(
    scores: np.ndarray, tag_ids: np.ndarray, kinds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best score of another tag of the same kind, float32 [R], and that tag, int32 [R].

    Args:
        scores: float [R, T], of all tags on each region.
        tag_ids: int [R], the tag each region was found for.
        kinds: int [T], of all tags, index into KINDS.
    """
    rows = np.arange(len(tag_ids))
    comparable = kinds[None, :] == kinds[tag_ids][:, None]
    comparable[rows, tag_ids] = False
    others = np.where(comparable, scores, -1.0)
    best = others.argmax(axis=1) if len(tag_ids) else np.zeros(0, np.int64)
    found = others[rows, best]
    alone = found < 0
    rival = np.where(alone, np.nan, found).astype(np.float32)
    return rival, np.where(alone, NO_RIVAL, best).astype(np.int32)


def kind_codes(kinds: "tuple[str, ...] | list[str]") -> np.ndarray:
    """Return int8 [T], the index of each kind in KINDS."""
    return np.array([KINDS.index(kind) for kind in kinds], np.int8)
