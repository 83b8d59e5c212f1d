"""Chunks in flight, and the one that runs alone."""

import threading

from ram_ray.workers.turns import Turns

WAIT_S = 20


def start(
    turns: Turns, *, alone: bool
) -> tuple[threading.Event, threading.Event, threading.Thread]:
    """Begin a chunk in a thread; return its "has begun", its "may end" and the thread."""
    begun, may_end = threading.Event(), threading.Event()

    def run() -> None:
        with turns.chunk(alone=alone):
            begun.set()
            assert may_end.wait(WAIT_S)

    thread = threading.Thread(target=run)
    thread.start()
    return begun, may_end, thread


def test_chunks_fly_together_and_a_deadly_one_alone() -> None:
    turns = Turns()
    first, end_first, one = start(turns, alone=False)
    second, end_second, two = start(turns, alone=False)
    assert first.wait(WAIT_S)
    assert second.wait(WAIT_S)
    deadly, end_deadly, three = start(turns, alone=True)
    end_first.set()
    one.join()
    assert not deadly.is_set()  # the second is in flight
    end_second.set()
    assert deadly.wait(WAIT_S)
    later, end_later, four = start(turns, alone=False)
    assert not later.is_set()
    end_deadly.set()
    assert later.wait(WAIT_S)
    end_later.set()
    for thread in (two, three, four):
        thread.join()


def test_an_error_gives_the_turn_back() -> None:
    turns = Turns()
    for _ in range(2):
        try:
            with turns.chunk(alone=True):
                raise ValueError
        except ValueError:
            continue
    begun, may_end, thread = start(turns, alone=False)
    assert begun.wait(WAIT_S)
    may_end.set()
    thread.join()
