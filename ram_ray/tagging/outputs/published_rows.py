"""Every row that a finished run published, shard by shard: for commands that read all of it."""

from collections.abc import Iterator

import pyarrow as pa

from ram_ray.errors import ConfigError
from ram_ray.runs.commits import committed_shards, read_commits, read_published
from ram_ray.runs.plans import read_plan
from ram_ray.storage.stores import Store
from ram_ray.tagging.record import RunRecord, read_record
from ram_ray.tagging.retrying.retries import unfinished_retry


def read_finished_run(store: Store) -> tuple[RunRecord, int]:
    """Return the record of a run and its number of shards.

    Raises:
        ConfigError: there is no run, or it is not finished, or a retry of it is not.
    """
    found = read_committed_run(store)
    if unfinished_retry(store) is not None:
        raise ConfigError(
            f"{store.url} has an interrupted retry: run the same `ram-ray retry` again first."
        )
    return found


def read_committed_run(store: Store) -> tuple[RunRecord, int]:
    """Do as `read_finished_run`, also where a retry was interrupted.

    Raises:
        ConfigError: there is no run, or it is not finished.
    """
    plan, record = read_plan(store), read_record(store)
    if plan is None or record is None:
        raise ConfigError(f"{store.url} holds no run; give the OUTPUT of `ram-ray tag`.")
    missing = plan.shards - len(committed_shards(store))
    if missing > 0:
        raise ConfigError(
            f"{store.url} is not finished: {missing} of {plan.shards} shards are not committed; "
            "run the same `ram-ray tag` again first."
        )
    return record, plan.shards


def published_tags(store: Store, shards: int) -> Iterator[tuple[int, pa.Table]]:
    """Yield shard number and tags table, in order; bytes are checked against the commits.

    Raises:
        FileNotFoundError, ConservationError: a file is gone or changed; `ram-ray verify` names it.
    """
    for commit in read_commits(store, range(shards)):
        yield commit.shard, read_published(store, commit.file("tags"))
