"""A fitted filter as a JSON file, so that every process of a run decides with the same numbers."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from ram_ray.data_engine.filtering import Filter, FilterConfig, Scale


def filter_to_json(judge: Filter) -> bytes:
    """Return the filter as JSON; numbers keep all their digits."""
    return json.dumps(asdict(judge), default=_plain).encode()


def filter_from_json(data: bytes) -> Filter:
    """Return what `filter_to_json` wrote, equal to the last bit."""
    fields: dict[str, Any] = json.loads(data)
    config = fields.pop("config")
    config["rules"] = tuple(config["rules"])
    scales = tuple(
        Scale(**{name: np.array(values) for name, values in scale.items()})
        for scale in fields.pop("scales")
    )
    arrays = {name: np.array(fields.pop(name)) for name in ("centre", "weights")}
    return Filter(config=FilterConfig(**config), scales=scales, **arrays, **fields)  # pyright: ignore[reportArgumentType]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return dict(value)
