"""What the driver knows of workers that come and go."""

from ram_ray.training.notes import MAX_FRUITLESS_STARTS, RunNotes, recomputed


def test_steps_done_again_are_those_beyond_the_next_start() -> None:
    notes = RunNotes()
    for first, reached in ((0, 7), (4, 9), (8, 12)):
        notes.begin()
        notes.start(2, first)
        notes.reach(reached, {"step": reached})
    assert recomputed(notes.attempts) == (7 - 4) + (9 - 8)
    assert notes.snapshot()["line"] == {"step": 12}


def test_an_error_that_returns_ends_the_run_but_deaths_between_steps_do_not() -> None:
    notes = RunNotes()
    for step in range(20):
        notes.begin()
        notes.start(1, step)
        notes.reach(step + 1, {})
    assert notes.failure is None
    for _ in range(MAX_FRUITLESS_STARTS + 1):
        assert notes.failure is None
        notes.begin()
        notes.error("RuntimeError: no such kernel")
    assert notes.failure is not None
    assert "5 times without doing a step; the last error: RuntimeError" in notes.failure[0]
