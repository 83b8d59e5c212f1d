"""What a user should hear before hours of training: what gets lost, what nothing teaches."""

from collections import Counter

import pyarrow as pa

from ram_model.files.caption_files import CAPTION_WEIGHTS
from ram_model.files.pretrained import find_model_folder
from ram_model.vocabulary import Vocabulary
from ram_model.words.label_embeddings import TEXT_ENCODER
from ram_ray.storage.sources import PassedOver
from ram_ray.training.config import TrainConfig

SHOWN = 5
"""Names in a sentence; the others are counted."""


def left_behind(config: TrainConfig) -> tuple[str, ...]:
    """Return what the trained model will not have of the one that it starts from."""
    if config.from_model is None:
        return ()
    folder = find_model_folder(config.from_model)
    said: list[str] = []
    if (folder / CAPTION_WEIGHTS).is_file() and config.caption_weight == 0:
        said.append(
            f"The trained model writes no captions, as {config.from_model} does: its caption side "
            "is not trained (--captions FILE and --set caption_weight=1 train it)."
        )
    if (folder / TEXT_ENCODER).is_dir():
        said.append(
            f"The trained model takes no words but its own tags: the text encoder of "
            f"{config.from_model} is not kept (`tag --set text_encoder=PATH` names one)."
        )
    return tuple(said)


def without_positives(samples: pa.Table, vocabulary: Vocabulary | None) -> tuple[str, ...]:
    """Return a sentence about tags that no image shows, which can only learn to stay silent.

    Args:
        samples: with the column `tag_ids`; a score of 0 there shows nothing.
        vocabulary: the tags that are trained; None: a CLIP, which has none.
    """
    if vocabulary is None:
        return ()
    shown: Counter[int] = Counter()
    for batch in samples.select(["tag_ids", "scores"]).to_batches():
        for ids, scores in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            shown.update(tag for tag, score in zip(ids, scores, strict=True) if score > 0)
    silent = [name for tag, name in enumerate(vocabulary.names) if not shown[tag]]
    if not silent:
        return ()
    more = f" and {len(silent) - SHOWN:,} more" if len(silent) > SHOWN else ""
    names = ", ".join(silent[:SHOWN]) + more
    return (
        f"{len(silent):,} of {len(vocabulary):,} tags have no image that shows them and can only "
        f"learn to stay silent: {names}.",
    )


def passed_over(passed: PassedOver) -> tuple[str, ...]:
    """Return sentences about what was passed over while images were listed."""
    return tuple(
        f"{count:,} {why} passed over, such as {passed.examples[why]}."
        for why, count in passed.counts.items()
    )
