"""The record of a run, and the one place that decides whether a call is the same run.

run.json, engine.json   sorted JSON: the fields that decide its rows, and facts beside them
step.json               of an engine's step; the hash of its fields names its folder
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ram_ray.errors import ConfigError
from ram_ray.runs.fields import LATER_SETTINGS, WORDS, RecordFields
from ram_ray.storage.stores import Store, absolute_url

_MISSING = object()
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Difference:
    """The first field in which two calls are not the same run."""

    name: str
    there: Any
    here: Any

    def __str__(self) -> str:
        """Return `its threshold is 0.5, this call's is not given`: words and values for people."""
        name = WORDS.get(self.name, self.name)
        return f"its {name} is {_told(self.there)}, this call's is {_told(self.here)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What a call would write down about itself."""

    fields: RecordFields
    identity: Mapping[str, Any]
    """JSON values; places as the user wrote them."""
    facts: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Inputs that the run keeps a copy of, by key in the output."""

    def to_json(self) -> bytes:
        """Return the record as it is stored."""
        created_at = datetime.now(UTC).isoformat(timespec="seconds")
        return dump(self.wanted() | dict(self.facts) | {"created_at": created_at})

    def wanted(self) -> dict[str, Any]:
        """Return the identity as it is stored: places absolute, JSON values only."""
        places = {
            name: absolute_url(self.identity[name])
            for name in self.fields.places
            if self.identity[name] is not None
        }
        return json.loads(dump(dict(self.identity) | places))


def _told(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, str) and _SHA256.fullmatch(value):
        return f"{value[:12]}..."
    return repr(value) if not isinstance(value, list) or len(value) <= 8 else f"{len(value)} values"


def difference(
    there: Mapping[str, Any], here: Mapping[str, Any], names: Iterable[str]
) -> Difference | None:
    """Return the first of the named fields that differs; None: it is the same run."""
    for name in names:
        old, new = there.get(name, _MISSING), here.get(name, _MISSING)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found = difference(old, new, dict.fromkeys((*new, *old)))
            if found is not None:
                return Difference(f"{name}.{found.name}", found.there, found.here)
        elif old != new:
            return Difference(name, *(None if one is _MISSING else one for one in (old, new)))
    return None


def stored_fields(store: Store, kind: RecordFields) -> dict[str, Any] | None:
    """Return the record in an output, what older versions did not write filled in; None without.

    Raises:
        ConfigError: it is not one this version can read.
    """
    try:
        stored = json.loads(store.read(kind.key))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ConfigError(f"{store.url}/{kind.key} cannot be read by this version.") from error
    if not isinstance(stored, dict):
        raise ConfigError(f"{store.url}/{kind.key} cannot be read by this version.")
    for name, value in kind.absent.items():
        *outer, last = name.split(".")
        within: Any = stored
        for part in outer:
            within = within.get(part) if isinstance(within, dict) else None
        if isinstance(within, dict):
            within.setdefault(last, value)
    return stored


def check_record(store: Store, record: Record) -> dict[str, Any] | None:
    """Return the record in an output after checking that it is this call's; None without one.

    Raises:
        ConfigError: the output holds another run; names the first field that differs.
    """
    stored = stored_fields(store, record.fields)
    if stored is None:
        foreign = next(store.list("plan"), None) or next(store.list("commits"), None)
        if foreign:
            raise ConfigError(f"{store.url} holds {foreign} of an unknown run; choose another.")
        return None
    there = dict(stored)
    for name in record.fields.places:
        if there.get(name) is not None and there.get("command") == record.identity.get("command"):
            there[name] = _place(store, name, there[name])
    found = difference(there, record.wanted(), record.fields.identity)
    if found is not None:
        raise ConfigError(
            f"{store.url} holds another run: {found}; choose another output, or repeat the call "
            "as it was to resume."
        )
    unknown = sorted(set(stored) - {*record.fields.identity, *record.fields.facts})
    if unknown:
        raise ConfigError(
            f"{store.url}/{record.fields.key} cannot be read by this version: it says "
            f"{', '.join(unknown)}."
        )
    return stored


def agree_on_record(store: Store, record: Record) -> dict[str, Any]:
    """Return the record in an output, written now if there is none, and its files beside it.

    Raises:
        ConfigError: the output holds another run.
    """
    stored = check_record(store, record)
    if stored is None:
        data = record.to_json()
        if store.create(record.fields.key, data):
            stored = json.loads(data)
        else:  # another driver was first
            stored = agree_on_record(store, record)
    for key, data in record.files.items():
        if not store.exists(key):  # also where the first driver died between the two
            store.write(key, data)
    return stored


def _place(store: Store, name: str, url: str) -> str:
    """Return a stored place as it is compared.

    Raises:
        ConfigError: it is relative, as 0.1.0 wrote it: it may mean any folder.
    """
    if "://" not in url and not os.path.isabs(url):
        raise ConfigError(
            f"{store.url} holds a run of ram-ray 0.1.0 whose {name} is the relative path {url!r}, "
            "and nothing says of which folder; choose another output."
        )
    return absolute_url(url)


def fingerprint(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what makes a step the same step.

    Settings of LATER_SETTINGS that are as in 0.1.0 do not count.
    """
    settings = {
        name: value
        for name, value in fields["settings"].items()
        if name not in LATER_SETTINGS or value != LATER_SETTINGS[name]
    }
    text = json.dumps({**fields, "settings": settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def dump(fields: Mapping[str, Any]) -> bytes:
    """Return fields as sorted JSON."""
    return json.dumps(fields, indent=1, sort_keys=True).encode()
