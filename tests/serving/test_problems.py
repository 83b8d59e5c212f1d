"""Every code has one status, and only bugs are a 500."""

from ram_ray.errors import ImageErrorCode
from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.problems import STATUS


def test_every_code_has_a_status() -> None:
    codes = [*RequestErrorCode, *ImageErrorCode]
    assert set(STATUS) == set(codes)
    assert len(STATUS) == len(codes), "a code of images and one of requests are the same word"


def test_only_a_bug_is_a_500() -> None:
    assert [code for code, status in STATUS.items() if status >= 500 and status != 503] == [
        RequestErrorCode.INTERNAL
    ]
