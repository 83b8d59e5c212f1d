"""Images as dense rows, for `generate`: scores, what captions name, what the model wrote."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ram_ray.config import StoreConfig
from ram_ray.data_engine.plan.image_plan import read_images
from ram_ray.data_engine.steps import read_table
from ram_ray.labels.parser.caption_parser import CaptionParser
from ram_ray.storage.stores import open_store

Beside = Literal["first", "all"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """Dense rows of some images."""

    image_ids: list[str]
    scores: np.ndarray
    """float32 [N, T], 0 below the floor."""
    first: np.ndarray
    """bool [N, T], what the first caption names."""
    named: np.ndarray
    """bool [N, T], what any caption names."""
    agreement: np.ndarray
    """int8 [N, T], what the other captions name: 1 or 0; -1 without other captions."""
    written: np.ndarray
    """bool [N, T], what the generated caption names."""

    @classmethod
    def join(cls, samples: "list[Sample]") -> "Sample":
        """Return the images of all samples, in order."""
        columns = ("scores", "first", "named", "agreement", "written")
        return cls(
            image_ids=[image_id for sample in samples for image_id in sample.image_ids],
            **{name: np.concatenate([getattr(one, name) for one in samples]) for name in columns},
        )


def read_sample(
    config: StoreConfig,
    output: str,
    parsed_url: str,
    seen_url: str,
    shard: int,
    parser: CaptionParser | None,
    *,
    num_tags: int,
    beside: Beside = "all",
) -> Sample:
    """Return the images of one shard that were seen, as dense rows.

    Args:
        parser: reads the generated captions; None: nothing is written.
        beside: the captions of an image that its generated caption is read beside.
    """
    seen = read_table(open_store(seen_url, config), "scores", shard).to_pylist()
    mentions = read_table(open_store(parsed_url, config), "mentions", shard).to_pylist()
    named_by: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in mentions:
        named_by[row["image_id"]].append(row)
    size = (len(seen), num_tags)
    scores, agreement = np.zeros(size, np.float32), np.full(size, -1, np.int8)
    first, named, written = (np.zeros(size, bool) for _ in range(3))
    first_numbers: list[int | None] = []
    for at, image in enumerate(seen):
        scores[at, image["tag_ids"]] = image["scores"]
        rows = named_by[image["image_id"]]
        # Captions count from the first that names anything: an empty one witnesses nothing.
        numbers = sorted({number for row in rows for number in row["captions"]})
        first_numbers.append(numbers[0] if numbers else None)
        if len(numbers) > 1:
            agreement[at] = 0
        for row in rows:
            named[at, row["tag_id"]] = True
            first[at, row["tag_id"]] = numbers[0] in row["captions"]
            if len(numbers) > 1 and any(number != numbers[0] for number in row["captions"]):
                agreement[at, row["tag_id"]] = 1
    if parser is not None:
        plan = read_images(open_store(output, config), shard, ["image_id", "captions"])
        captions = dict(zip(*(plan[name].to_pylist() for name in plan.column_names), strict=True))
        said = [captions[image["image_id"]] for image in seen]
        if beside == "first":
            said = [
                [] if number is None else [texts[number]]
                for texts, number in zip(said, first_numbers, strict=True)
            ]
        for at, tag_ids in enumerate(read_beside(parser, [i["caption"] for i in seen], said)):
            written[at, tag_ids] = True
    return Sample(
        image_ids=[image["image_id"] for image in seen],
        scores=scores,
        first=first,
        named=named,
        agreement=agreement,
        written=written,
    )


def read_beside(
    parser: CaptionParser, generated: list[str | None], captions: list[list[str]]
) -> list[list[int]]:
    """Return the tags of each generated caption, read beside the image's other captions.

    Captions of one image settle together what one of them alone leaves open (`widen`).

    Args:
        generated: one text per image; None counts as empty.
        captions: the other captions of each image.
    """
    texts, numbers = [text or "" for text in generated], list(range(len(generated)))
    for at, others in enumerate(captions):
        texts += others
        numbers += [at] * len(others)
    return parser.parse(texts, numbers)["tag_ids"].slice(0, len(generated)).to_pylist()
