"""What a user is shown adds up: earlier calls, waves that are over, the wave under way."""

from ram_ray.console.progress import Progress
from ram_ray.runs.committer import CommitterProgress
from ram_ray.runs.plans import PlanSummary
from ram_ray.tagging.progress import RunProgress


def counts(images: int, quarantined: int, committed: int) -> CommitterProgress:
    return CommitterProgress(
        num_images=images, num_quarantined=quarantined, num_committed=committed
    )


def test_waves_add_up_and_a_shard_that_is_redone_takes_nothing_back() -> None:
    seen: list[Progress] = []
    report = RunProgress(seen.append, started=0.0)
    report.listed(100)
    report.start(PlanSummary(10, 100, 0, 0, 0.0), 10, {0, 1})
    report.wave([counts(25, 1, 1), counts(30, 2, 2)])
    report.wave_over([counts(20, 1, 2)])  # the second committer died
    report.round(range(6))  # two of its shards were committed
    report.wave([counts(40, 3, 3)])
    report.wave_over([counts(40, 3, 4)])
    shown = [
        (item.phase, item.images_done, item.quarantined, item.shards_committed) for item in seen
    ]
    assert shown == [
        ("listing", 100, 0, 0),
        ("tagging", 20, 0, 2),
        ("tagging", 75, 3, 5),
        ("committing", 75, 1, 4),
        ("tagging", 75, 1, 6),
        ("tagging", 100, 4, 9),
        ("committing", 100, 4, 10),
    ]
    assert {item.images_total for item in seen[1:]} == {100}


def test_the_committers_are_asked_at_intervals() -> None:
    report = RunProgress(None, started=0.0)
    assert report.wants_counts()
    report.wave([])
    assert not report.wants_counts()
