import io

from ram_ray.models.download_progress import _PlainLines, describe, show_downloads


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_one_line_every_few_seconds_and_one_at_the_end() -> None:
    out, now = io.StringIO(), [100.0]
    lines = _PlainLines(out, clock=lambda: now[0])
    for second in range(21):
        now[0] = 100.0 + second
        lines.update("a.pth", 1_000_000_000 + second * 50_000_000, 2_000_000_000)
    now[0] += 1
    lines.update("b.json", 5_000, 5_000)
    assert out.getvalue().splitlines() == [
        "a.pth: 1.00 GB of 2.00 GB (50%)",  # resumed: not yet a speed
        "a.pth: 1.25 GB of 2.00 GB (62%), 50.00 MB/s, 15 s left",
        "a.pth: 1.50 GB of 2.00 GB (75%), 50.00 MB/s, 10 s left",
        "a.pth: 1.75 GB of 2.00 GB (88%), 50.00 MB/s, 5 s left",
        "a.pth: 2.00 GB of 2.00 GB (100%), 50.00 MB/s",
        "b.json: 5.0 kB of 5.0 kB (100%)",
    ]


def test_unknown_size_gives_no_share() -> None:
    assert describe("x", 2_500_000, None, 1e6) == "x: 2.50 MB, 1.00 MB/s"


def test_a_terminal_gets_bars_and_names_are_not_markup() -> None:
    out = _Terminal()
    with show_downloads(out) as on_bytes:
        on_bytes("[red]a.pth", 5, None)
        on_bytes("[red]a.pth", 10, 10)
    assert "[red]a.pth" in out.getvalue()
    assert "10/10 bytes" in out.getvalue()
