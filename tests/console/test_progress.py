"""What a run says on the way."""

import io
import os
import re
import select

import pytest

from ram_ray.console.progress import (
    BAR_WIDTH,
    Progress,
    RateMeter,
    describe,
    format_duration,
    show_progress,
)


def moment(elapsed_s, done, *, phase="tagging", total=1000, quarantined=0, committed=0):
    return Progress(
        phase=phase,
        images_done=done,
        images_total=total,
        quarantined=quarantined,
        shards_committed=committed,
        shards_total=10,
        elapsed_s=elapsed_s,
    )


def test_resumed_images_do_not_inflate_the_rate():
    meter = RateMeter()
    assert meter.update(moment(1.0, 900)) is None
    assert meter.update(moment(11.0, 920)) == pytest.approx(2.0)


def test_rate_follows_the_last_half_minute():
    meter = RateMeter()
    for second in range(100):
        meter.update(moment(float(second), second * 100))
    rate = None
    for second in range(100, 200):
        rate = meter.update(moment(float(second), 9_900 + (second - 99)))
    assert rate == pytest.approx(1.0)


def test_committing_does_not_start_the_rate_anew_but_the_end_of_listing_does():
    meter = RateMeter()
    meter.update(moment(0.0, 0, phase="listing"))
    meter.update(moment(1.0, 5_000, phase="listing"))
    assert meter.update(moment(2.0, 0)) is None
    assert meter.update(moment(4.0, 20)) == pytest.approx(10.0)
    assert meter.update(moment(6.0, 40, phase="committing")) == pytest.approx(10.0)


def test_a_line_has_counts_rate_and_time_left():
    line = describe(moment(1.0, 250, quarantined=3, committed=2), 25.0)
    assert line == (
        "tagging: 250 of 1,000 images (25%), 3 quarantined, 25 images/s, 30 s left, "
        "2/10 shards committed"
    )
    assert describe(moment(1.0, 12_345, phase="listing"), 9.0) == "listing: 12,345 images found"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"),
     (273_600, "3 d 4 h")],
)  # fmt: skip
def test_durations_read_like_sentences(seconds, text):
    assert format_duration(seconds) == text


def test_without_a_terminal_there_is_a_line_every_five_seconds_and_the_last_state():
    stream = io.StringIO()
    with show_progress(stream) as on_progress:
        on_progress(moment(0.0, 100, phase="listing"))
        for tenth in range(1, 121):
            on_progress(moment(tenth / 10, tenth, phase="tagging"))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "listing: 100 images found"
    assert [line.split(" of ")[0] for line in lines[1:]] == [
        "tagging: 1", "tagging: 51", "tagging: 101", "tagging: 120",
    ]  # fmt: skip


def read_all(controller: int) -> str:
    """Return all a terminal was sent; the kernel hands it out in pieces."""
    written = b""
    while select.select([controller], [], [], 0.5)[0]:
        written += os.read(controller, 65_536)
    return written.decode()


def test_on_a_terminal_there_is_a_bar_in_place(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    controller, terminal = os.openpty()
    with open(terminal, "w") as stream:
        assert stream.isatty()
        with show_progress(stream) as on_progress:
            on_progress(moment(1.0, 0))
            on_progress(moment(2.0, 500, phase="committing"))
        written = read_all(controller)
    os.close(controller)
    assert "500 of 1,000 images (50%)" in written
    assert "\x1b[2K" in written  # lines are drawn over, not added


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_bar_stays_on_terminals_of_any_width(monkeypatch, columns):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    controller, terminal = os.openpty()
    with open(terminal, "w") as stream:
        with show_progress(stream) as on_progress:
            on_progress(moment(1.0, 0, total=1_000_000))
            on_progress(moment(2.0, 250_000, total=1_000_000, quarantined=12_345, committed=2))
        written = read_all(controller)
    os.close(controller)
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).splitlines()[-1]
    assert last.count("\u2501") + last.count("\u2578") + last.count("\u257a") == BAR_WIDTH
    assert "250,000 of 1,000,000" in last


def test_the_listing_bar_is_full_when_tagging_begins(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    controller, terminal = os.openpty()
    with open(terminal, "w") as stream, show_progress(stream) as on_progress:
        on_progress(moment(1.0, 85, phase="listing"))
        on_progress(moment(2.0, 0))
        bars = on_progress.__self__._bar.tasks  # pyright: ignore[reportFunctionMemberAccess]
        assert [(bar.completed, bar.total) for bar in bars] == [(85, 85), (0, 1000)]
    os.close(controller)
