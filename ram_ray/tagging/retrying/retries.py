"""Retries of an output: which there were, and which one was interrupted.

retries/000001/retry.json   create-only: which quarantined images, how many, under which limits
retries/000001/run/         a run of its own over these images: plan, tags, quarantine, commits
retries/000001/commits/     one per shard of the output that the retry has changed
retries/000001/done.json    written last
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from ram_ray.errors import ConfigError
from ram_ray.runs.commits import Commit, read_commits, read_published
from ram_ray.storage.sources import SourceObject
from ram_ray.storage.stores import Store

_FILE = re.compile(r"retries/(\d{6})/(retry|done)\.json")


_BEFORE_0_2_0: dict[str, Any] = {"wide_grey": "clip", "formats": []}
"""Choices of decoding that 0.1.0 did not write down."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """One retry, as it was begun."""

    number: int
    """From 1."""
    error_codes: tuple[str, ...]
    """Which quarantined images; (): all of them."""
    decode: dict[str, Any]
    """Limits and choices of decoding that it uses (`DecodeConfig`)."""
    num_images: int
    begun_at: str

    @property
    def folder(self) -> str:
        """Where its files lie below the output."""
        return f"retries/{self.number:06d}"


def unfinished_retry(store: Store) -> Retry | None:
    """Return the retry that was begun and not finished; None when there is none.

    Raises:
        ConfigError: retry.json is not one this version can read.
    """
    begun, done = _numbers(store)
    if not begun - done:
        return None
    number = max(begun - done)
    key = f"retries/{number:06d}/retry.json"
    try:
        fields = json.loads(store.read(key))
        fields["decode"] = _BEFORE_0_2_0 | fields["decode"]
        return Retry(**fields | {"error_codes": tuple(fields["error_codes"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{store.url}/{key} cannot be read by this version.") from error


def begin_retry(
    store: Store, error_codes: tuple[str, ...], decode: dict[str, Any], num_images: int
) -> Retry:
    """Begin the next retry; the caller holds the output's lease.

    Raises:
        ConfigError: another driver has begun one at the same moment.
    """
    begun, _ = _numbers(store)
    retry = Retry(
        number=max(begun, default=0) + 1,
        error_codes=error_codes,
        decode=decode,
        num_images=num_images,
        begun_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    body = json.dumps(asdict(retry), indent=1).encode()
    key = f"{retry.folder}/retry.json"
    if not store.create(key, body):
        raise ConfigError(f"Another driver has just begun a retry of {store.url}.")
    return retry


def retry_remarks(store: Store) -> Counter[str]:
    """Return what was repaired in images that finished retries have tagged, or lost of them."""
    _, done = _numbers(store)
    counts: Counter[str] = Counter()
    for number in done:
        result = json.loads(store.read(f"retries/{number:06d}/done.json"))
        counts.update(result.get("remarks", {}))  # 0.1.0 did not count them
    return counts


def finish_retry(store: Store, retry: Retry, result: dict[str, Any]) -> None:
    """Note that every image of the retry has its row; drop what attempts that lost left."""
    for key in store.list(f"{retry.folder}/staging"):
        store.discard(key)
    store.remove_empty_folders(f"{retry.folder}/staging")
    store.write(f"{retry.folder}/done.json", json.dumps(result, indent=1).encode())


def quarantined_rows(store: Store, retry: Retry, shards: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield the rows of quarantine files that a retry wants, in order; one shard in memory.

    Raises:
        FileNotFoundError, ConservationError: a file is gone or not the one that was committed.
    """
    for commit in read_commits(store, shards, before=retry.number):
        if num_wanted(commit, retry.error_codes):
            table: pa.Table = read_published(store, commit.file("quarantine"))
            for row in table.to_pylist():
                if not retry.error_codes or row["error_code"] in retry.error_codes:
                    yield row


def num_wanted(commit: Commit, error_codes: tuple[str, ...]) -> int:
    """Return how many images of a shard are quarantined with one of these errors; (): with any."""
    if not error_codes:
        return commit.quarantined
    return sum(commit.quarantined_by_code.get(code, 0) for code in error_codes)


def source_object(row: dict[str, Any]) -> SourceObject:
    """Return what the plan of a retry holds of a quarantined image."""
    # One that was too large may be another file by now: size 0 lets the fetch decide.
    size_bytes = 0 if row["error_code"] == "too_large" else row["size_bytes"]
    return SourceObject(row["image_id"], row["uri"], None, size_bytes)


def _numbers(store: Store) -> tuple[set[int], set[int]]:
    """Return the retries that were begun, and those that are finished."""
    found: dict[str, set[int]] = {"retry": set(), "done": set()}
    for key in store.list("retries"):
        if match := _FILE.fullmatch(key):
            found[match[2]].add(int(match[1]))
    return found["retry"], found["done"]
