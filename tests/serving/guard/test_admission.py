"""What is accepted is bounded, and what would come too late is refused."""

import pytest

from ram_ray.serving.config import LimitConfig
from ram_ray.serving.guard.admission import Admission
from ram_ray.serving.problems import Problem


def code_of(refused: "pytest.ExceptionInfo[Problem]") -> tuple[str, int]:
    return refused.value.code.value, int((refused.value.headers or {})["Retry-After"])


def test_images_are_bounded() -> None:
    admission = Admission(LimitConfig(max_pending_images=4, max_images_per_request=4))
    with admission.images(3, "a"):
        with pytest.raises(Problem) as refused, admission.images(2, "b"):
            pass
        assert code_of(refused) == ("overloaded", 1)
        with admission.images(1, "b"), pytest.raises(Problem):
            admission.check("c")
    assert admission.pending_images == 0
    admission.check("a")


def test_a_client_may_have_as_many_images_as_stay_free() -> None:
    admission = Admission(LimitConfig(max_pending_images=12, max_images_per_request=12))
    with admission.images(5, "a"), admission.images(1, "a"):  # half of the room
        with pytest.raises(Problem) as refused:
            admission.check("a")
        assert (refused.value.code, refused.value.status_code) == ("rate_limited", 429)
        admission.check("b")
        with admission.images(6, "b"):  # its first request may be as large as the room
            pass
    with admission.images(12, "a"):
        pass


def test_work_that_would_come_too_late_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("ram_ray.serving.guard.admission.monotonic", lambda: now)
    admission = Admission(LimitConfig(max_wait_s=10, max_pending_images=100))

    def answer(seconds: float) -> None:
        nonlocal now
        with admission.images(1, "a"):
            now += seconds

    with admission.images(1, "a"):  # something is always waiting
        for _ in range(7):
            answer(12.0)
        answer(0.1)  # one quick answer shows that the server is not that slow
        admission.check("b")
        for _ in range(7):
            answer(12.0)
            admission.check("b")
        answer(12.0)
        with pytest.raises(Problem) as refused:
            admission.check("b")
        assert code_of(refused) == ("overloaded", 2)
    admission.check("b")  # nothing waits any more


def test_a_long_queue_of_slow_work_is_refused_before_its_first_late_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("ram_ray.serving.guard.admission.monotonic", lambda: now)
    admission = Admission(LimitConfig(max_wait_s=10, max_pending_images=1_000))
    with admission.images(32, "c"):
        for _ in range(8):  # one a second
            with admission.images(1, "a"):
                now += 1.0
        with pytest.raises(Problem) as refused:
            admission.check("b")  # 32 images at that pace: 32 s
        assert code_of(refused) == ("overloaded", 22)
    with admission.images(16, "c"):  # few images: the pace is that of their coming
        for _ in range(8):
            with admission.images(1, "a"):
                now += 1.0
        admission.check("b")


def test_failed_requests_give_their_room_back() -> None:
    admission = Admission(LimitConfig())
    with pytest.raises(RuntimeError), admission.images(2, "a"):
        raise RuntimeError
    assert admission.pending_images == 0
