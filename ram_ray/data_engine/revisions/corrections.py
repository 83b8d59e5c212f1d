"""A person's decisions: read from a CSV, and told which image and tag of a shard each means."""

import csv
import io
from collections import defaultdict
from typing import Any

import pyarrow as pa

from ram_model.errors import TextFileError
from ram_model.text_files import read_text
from ram_model.vocabulary import Vocabulary
from ram_ray.data_engine.plan.named_images import join_key
from ram_ray.errors import ConfigError

PROBLEMS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("tag", pa.string(), nullable=False),
        pa.field("code", pa.string(), nullable=False),
    ]
)
"""Corrections that could not be applied."""
UNKNOWN_IMAGE, UNKNOWN_TAG = "unknown_image", "unknown_tag"


def read_corrections(path: str | None) -> list[list[Any]]:
    """Return [image_id, tag, present] rows of a CSV with these columns.

    Raises:
        ConfigError: it cannot be read, a column is missing, or a row is neither 1 nor 0.
    """
    if path is None:
        return []
    try:
        text = read_text(path)
    except (OSError, TextFileError) as error:
        raise ConfigError(f"corrections {path} cannot be read: {error}.") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    wanted = ("image_id", "tag", "present")
    missing = [name for name in wanted if name not in (reader.fieldnames or ())]
    if missing:
        raise ConfigError(f"corrections {path} has no column {missing[0]}; it needs {wanted}.")
    rows: list[list[Any]] = []
    for row in reader:
        said = _PRESENT.get((row["present"] or "").strip().lower())
        if said is None or not row["image_id"] or not row["tag"]:
            raise ConfigError(
                f"corrections {path}, line {reader.line_num}: present is {row['present']!r}, but "
                "must be 1 or 0, beside an image_id and a tag."
            )
        rows.append([row["image_id"].strip(), row["tag"].strip(), said])
    return rows


_PRESENT = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def resolve_corrections(
    rows: list[list[Any]], image_ids: list[str], vocabulary: Vocabulary
) -> tuple[dict[str, dict[int, bool]], list[dict[str, Any]]]:
    """Return {image: {tag: present}} of a shard's corrections, and PROBLEMS of the others.

    An image is meant by its id, or by a name that only one image of the source has.
    """
    exact = set(image_ids)
    by_key: dict[str, list[str]] = defaultdict(list)
    for image_id in image_ids:
        by_key[join_key(image_id)].append(image_id)
    human: dict[str, dict[int, bool]] = defaultdict(dict)
    problems: list[dict[str, Any]] = []
    for name, tag, present in rows:
        like = by_key.get(join_key(name), [])
        image_id = name if name in exact else like[0] if len(like) == 1 else None
        tag_ids = vocabulary.find(tag)
        if image_id is None or not tag_ids:
            code = UNKNOWN_IMAGE if image_id is None else UNKNOWN_TAG
            problems.append({"image_id": name, "tag": tag, "code": code})
            continue
        human[image_id] |= {tag_id: present for tag_id in tag_ids}
    return dict(human), problems
