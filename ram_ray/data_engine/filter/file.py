"""A fitted filter as a JSON file, so that every process of a run decides with the same numbers."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from ram_ray.data_engine.config import FilterConfig
from ram_ray.data_engine.filter.fit import Filter
from ram_ray.data_engine.filter.promises import Promise
from ram_ray.data_engine.filter.suspicion import Scale, Usual


def filter_to_json(judge: Filter) -> bytes:
    """Return the filter as JSON; numbers keep all their digits."""
    return json.dumps(asdict(judge), default=_plain).encode()


def filter_from_json(data: bytes) -> Filter:
    """Return what `filter_to_json` wrote, equal to the last bit."""
    fields: dict[str, Any] = json.loads(data)
    config = fields.pop("config")
    config["rules"] = tuple(config["rules"])
    usual = fields.pop("usual")
    scales = {
        name: Scale(**{part: np.array(values) for part, values in usual[name].items()})
        for name in ("whole", "region", "margin")
    }
    arrays = {name: np.array(fields.pop(name)) for name in ("centre", "weights")}
    return Filter(
        config=FilterConfig(**config),
        usual=Usual(**scales, rate=np.array(usual["rate"])),
        promise=Promise(**fields.pop("promise")),
        **arrays,
        **fields,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return dict(value)
