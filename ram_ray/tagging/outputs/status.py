"""How far a run is, told from its files alone: from any machine that can read OUTPUT."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.runs.commits import Commit, committed_shards, read_commits
from ram_ray.runs.leases import Holder, lease_holder
from ram_ray.runs.plan_files import rows_planned_so_far
from ram_ray.runs.plans import read_plan
from ram_ray.storage.stores import Store, open_store
from ram_ray.tagging.outputs.run_output import spread
from ram_ray.tagging.record import read_record
from ram_ray.tagging.retrying.retries import unfinished_retry

RECENT_COMMITS = 32
"""The rate is that of the latest ones: what was slow hours ago says nothing of what is left."""
MAX_COMMITS_READ = 2_000
"""Of more, quarantine is estimated from so many, evenly spread: a billion images have 100,000."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStatus:
    """What the files of an output say."""

    state: str
    """"planning", "running", "stopped", "finished", or "unknown": a driver elsewhere may run."""
    planned: int | None
    """Images; None while the source is being listed."""
    listed: int | None
    """Images in the plan's shards that are written so far; None where that is not known."""
    shards: int | None
    done: int
    """Images of committed shards: exact."""
    committed: int
    """Shards."""
    quarantined: int
    """Among `done`; estimated where `quarantine_estimated`."""
    quarantined_by_code: dict[str, int]
    quarantine_estimated: bool
    first_commit: str | None
    """ISO 8601, UTC."""
    last_commit: str | None
    idle_s: float | None
    """Since the last commit, by the clock of this machine."""
    images_per_s: float | None
    """Between the first and the last of the latest commits; None with fewer than two moments."""
    left_s: float | None
    """Of what is not committed, at that rate."""
    driver: str | None
    """Who holds the lease."""
    retrying: bool
    """A retry of quarantined images has begun and not ended."""


def read_status(output: str, store: StoreConfig | None = None) -> RunStatus:
    """Read how far a run of `ram-ray tag` is; writes nothing.

    Raises:
        ConfigError: there is no run and no plan in the making.
        UnreachableError: the output cannot be read.
    """
    opened = open_store(output, store or StoreConfig())
    plan, record = read_plan(opened), read_record(opened)
    listed = plan.rows if plan else rows_planned_so_far(opened)
    holder = lease_holder(opened)
    if plan is None and record is None and listed is None and holder is None:
        raise ConfigError(f"{opened.url} holds no run; give the OUTPUT of `ram-ray tag`.")
    committed = sorted(committed_shards(opened))
    commits = list(read_commits(opened, spread(committed, at_most=MAX_COMMITS_READ)))
    done = plan.rows_in(committed, record.shard_rows) if plan and record else 0
    codes = _codes(commits, done)
    rate = _rate(opened, committed)
    moments = sorted(commit.committed_at for commit in commits)
    return RunStatus(
        state=_state(plan is not None and len(committed) >= plan.shards, plan is None, holder),
        planned=plan.rows if plan else None,
        listed=listed,
        shards=plan.shards if plan else None,
        done=done,
        committed=len(committed),
        quarantined=sum(codes.values()),
        quarantined_by_code=codes,
        quarantine_estimated=len(commits) < len(committed),
        first_commit=moments[0] if moments else None,
        last_commit=moments[-1] if moments else None,
        idle_s=_seconds_since(moments[-1]) if moments else None,
        images_per_s=rate,
        left_s=(plan.rows - done) / rate if plan and rate else None,
        driver=_driver(holder),
        retrying=unfinished_retry(opened) is not None,
    )


def _seconds_since(moment: str) -> float:
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())


def _codes(commits: list[Commit], done: int) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for commit in commits:
        counts.update(commit.quarantined_by_code)
    seen = sum(commit.rows for commit in commits)
    scale = done / seen if seen and done > seen else 1.0
    return {code: round(count * scale) for code, count in counts.most_common()}


def _rate(store: Store, committed: list[int]) -> float | None:
    """Return images/s over the latest commits: shards are taken on in their order."""
    latest = sorted(
        read_commits(store, committed[-RECENT_COMMITS:]), key=lambda one: one.committed_at
    )
    if len(latest) < 2:
        return None
    first, last = (datetime.fromisoformat(latest[end].committed_at) for end in (0, -1))
    seconds = (last - first).total_seconds()
    images = sum(commit.rows for commit in latest[1:])  # those of the first came before it
    return images / seconds if seconds > 0 else None


def _state(finished: bool, planning: bool, holder: Holder | None) -> str:
    if finished:
        return "finished"
    if holder is None or holder.alive is False:
        return "stopped"
    if holder.alive is None:
        return "unknown"
    return "planning" if planning else "running"


def _driver(holder: Holder | None) -> str | None:
    if holder is None:
        return None
    owner = holder.owner
    return f"process {owner.pid} on {owner.host}, since {owner.taken_at}"
