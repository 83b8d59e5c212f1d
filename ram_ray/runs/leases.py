"""One driver per run: a lease that a second driver meets, and that dies with its owner.

    leases/run/000001.json   create-only: who holds epoch 1
    leases/run/000001.beat   rewritten by the owner alone, every BEAT_S; "released" at the end

The lease saves work; that nothing is written twice rests on the commits, not on it.
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from ram_ray.errors import DiskFullError, LeaseHeldError, UnreachableError
from ram_ray.storage.stores import Store

BEAT_S = 10.0
"""Time between heartbeats."""
TTL_S = 60.0
"""A beat unchanged this long, on the rival's own clock, is a dead owner's."""

_RELEASED = b"released"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lease: enough to tell, on the same machine, whether that process still lives."""

    token: str
    host: str
    boot_id: str
    pid: int
    process_started: float
    """Seconds after boot: a clock that is set does not change it."""
    taken_at: str


class Lease:
    """A held lease; a thread keeps it alive until `release`."""

    def __init__(self, store: Store, epoch: int, owner: Owner, beat_s: float) -> None:
        self._store = store
        self._lease_key = f"{_epoch_key(epoch)}.json"
        self._beat_key = f"{_epoch_key(epoch)}.beat"
        self._next_key = f"{_epoch_key(epoch + 1)}.json"
        self._owner = owner
        self._beat_s = beat_s
        self._stop = threading.Event()
        self._lost = False
        self._thread = threading.Thread(target=self._keep_alive, name="lease", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Tell whether another driver has taken over."""
        return self._lost

    def keep(self) -> None:
        """Stop where another driver has taken over.

        Raises:
            LeaseHeldError: it has.
        """
        if self._lost:
            raise LeaseHeldError(f"Another driver has taken over {self._store.url}; stopping here.")

    def release(self) -> None:
        """Give the lease back, so that the next driver need not wait.

        Where that cannot be written, the work is not undone for it: on a full disk the lease is
        removed, else the next driver waits until it has run out.
        """
        self._stop.set()
        self._thread.join()
        if self._lost:
            return
        try:
            self._store.write(self._beat_key, _RELEASED)
        except DiskFullError:
            self._store.delete(self._lease_key)
            self._store.delete(self._beat_key)
        except UnreachableError as error:
            _log.warning("The lease could not be given back: %s", error)

    def _keep_alive(self) -> None:
        count = 0
        while not self._stop.wait(self._beat_s):
            count += 1
            try:
                if self._store.exists(self._next_key):
                    self._lost = True
                    _log.error("Another driver has taken over this output; stopping here.")
                    return
                self._store.write(self._beat_key, f"{self._owner.token} {count}".encode())
            except UnreachableError as error:
                _log.warning("Heartbeat failed: %s", error)


def take_lease(store: Store, *, beat_s: float = BEAT_S, ttl_s: float = TTL_S) -> Lease:
    """Take the run's lease, waiting up to `ttl_s` where it cannot be told whether its owner lives.

    Raises:
        LeaseHeldError: another driver is at work on this output.
    """
    epochs = [int(Path(key).stem) for key in store.list("leases/run") if key.endswith(".json")]
    latest = max(epochs, default=0)
    if latest:
        _wait_until_free(store, latest, ttl_s)
    owner = _this_process()
    body = json.dumps(asdict(owner)).encode()
    key = f"{_epoch_key(latest + 1)}.json"
    if not store.create(key, body):
        raise LeaseHeldError(f"Another driver has just started on {store.url}.")
    store.write(f"{_epoch_key(latest + 1)}.beat", f"{owner.token} 0".encode())
    return Lease(store, latest + 1, owner, beat_s)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has taken a lease last and has not given it back."""

    owner: Owner
    alive: bool | None
    """Whether that process lives; None where it is on another machine, which cannot be seen."""


def lease_holder(store: Store) -> Holder | None:
    """Return who works on an output, as its files say; None: nobody, or it was given back."""
    epochs = [int(Path(key).stem) for key in store.list("leases/run") if key.endswith(".json")]
    if not epochs or _read_beat(store, max(epochs)) == _RELEASED:
        return None
    owner = Owner(**json.loads(store.read(f"{_epoch_key(max(epochs))}.json")))
    return Holder(owner, _alive_here(owner))


def _wait_until_free(store: Store, epoch: int, ttl_s: float) -> None:
    owner = Owner(**json.loads(store.read(f"{_epoch_key(epoch)}.json")))
    first = _read_beat(store, epoch)
    if first == _RELEASED:
        return
    refusal = LeaseHeldError(
        f"Another driver (process {owner.pid} on {owner.host}, since {owner.taken_at}) "
        f"is working on {store.url}; wait for it, or stop it first."
    )
    alive = _alive_here(owner)
    if alive is False:
        return
    if alive:
        raise refusal
    _log.warning("Waiting up to %g s to see whether the driver on %s lives.", ttl_s, owner.host)
    deadline = time.monotonic() + ttl_s
    while time.monotonic() < deadline:
        time.sleep(min(2.0, ttl_s / 10))
        beat = _read_beat(store, epoch)
        if beat == _RELEASED:
            return
        if beat != first:
            raise refusal


def _read_beat(store: Store, epoch: int) -> bytes:
    try:
        return store.read(f"{_epoch_key(epoch)}.beat")
    except FileNotFoundError:  # taken, but not one beat yet
        return b""


def _alive_here(owner: Owner) -> bool | None:
    """Tell whether the owner runs on this machine; None where that cannot be seen from here."""
    if (owner.host, owner.boot_id) != (socket.gethostname(), _boot_id()):
        return None
    try:
        process = psutil.Process(owner.pid)
        same = abs(_started(process) - owner.process_started) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _started(process: psutil.Process) -> float:
    return process.create_time() - psutil.boot_time()


def _this_process() -> Owner:
    return Owner(
        token=uuid.uuid4().hex,
        host=socket.gethostname(),
        boot_id=_boot_id(),
        pid=os.getpid(),
        process_started=_started(psutil.Process()),
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else str(psutil.boot_time())


def _epoch_key(epoch: int) -> str:
    return f"leases/run/{epoch:06d}"
