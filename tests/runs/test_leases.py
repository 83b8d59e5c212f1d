"""One driver at a time; a dead one's lease is taken over."""

import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import DiskFullError, LeaseHeldError
from ram_ray.runs.leases import Owner, _this_process, take_lease
from ram_ray.storage.stores import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path), StoreConfig())


def held_by(store: Store, owner: Owner) -> None:
    store.create("leases/run/000001.json", json.dumps(asdict(owner)).encode())
    store.write("leases/run/000001.beat", b"beat 0")


def test_a_second_driver_is_refused_and_told_who_holds_it(store: Store) -> None:
    lease = take_lease(store)
    with pytest.raises(LeaseHeldError, match=r"process \d+ on .* is working on"):
        take_lease(store)
    lease.release()


def test_a_released_lease_is_free_at_once(store: Store) -> None:
    take_lease(store).release()
    take_lease(store).release()
    epochs = sorted(key for key in store.list("leases") if key.endswith(".json"))
    assert epochs == ["leases/run/000001.json", "leases/run/000002.json"]


def test_on_a_full_disk_a_lease_is_given_back_too(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise DiskFullError("The disk is full.")

    lease = take_lease(store)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", full)
        lease.release()
    take_lease(store).release()


def test_the_lease_of_a_killed_process_is_taken_over_at_once(store: Store) -> None:
    code = (
        "import os, sys\n"
        "from ram_ray.config import StoreConfig\n"
        "from ram_ray.runs.leases import take_lease\n"
        "from ram_ray.storage.stores import open_store\n"
        "take_lease(open_store(sys.argv[1], StoreConfig()))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, store.url], check=False)
    started = time.monotonic()
    take_lease(store, ttl_s=60).release()
    assert time.monotonic() - started < 30


def test_a_pid_that_another_process_has_now_does_not_hold_the_lease(store: Store) -> None:
    held_by(store, replace(_this_process(), process_started=1.0))
    take_lease(store, ttl_s=60).release()
    assert store.exists("leases/run/000002.json")


def test_a_clock_that_is_set_does_not_make_a_living_owner_dead(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_by(store, _this_process())
    created, booted = psutil.Process.create_time, psutil.boot_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: created(self) + 3_600)
    monkeypatch.setattr(psutil, "boot_time", lambda: booted() + 3_600)
    with pytest.raises(LeaseHeldError):
        take_lease(store)


def test_a_silent_owner_elsewhere_loses_the_lease_after_the_ttl(store: Store) -> None:
    held_by(store, replace(_this_process(), host="elsewhere"))
    started = time.monotonic()
    take_lease(store, ttl_s=0.5).release()
    assert time.monotonic() - started >= 0.5


def test_a_beating_owner_elsewhere_keeps_the_lease(store: Store, tmp_path: Path) -> None:
    held_by(store, replace(_this_process(), host="elsewhere"))
    code = (
        "import sys, time\n"
        "for n in range(200):\n"
        "    open(sys.argv[1], 'w').write(f'beat {n}')\n"
        "    time.sleep(0.05)\n"
    )
    beat = subprocess.Popen([sys.executable, "-c", code, tmp_path / "leases/run/000001.beat"])
    try:
        with pytest.raises(LeaseHeldError, match="elsewhere"):
            take_lease(store, ttl_s=5)
    finally:
        beat.kill()
        beat.wait()


def test_an_owner_that_was_overtaken_notices(store: Store) -> None:
    lease = take_lease(store, beat_s=0.05)
    store.create("leases/run/000002.json", b"{}")
    deadline = time.monotonic() + 10
    while not lease.lost and time.monotonic() < deadline:
        time.sleep(0.05)
    assert lease.lost
    lease.release()
    assert store.read("leases/run/000001.beat") != b"released"
