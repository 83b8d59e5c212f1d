"""What errors of Ray are told as."""

import pickle

import pytest

from ram_ray.errors import ConfigError, IncompleteRunError, UnreachableError
from ram_ray.runs.ray_data import cause, in_workers


def ray_errors() -> list[type[Exception]]:
    from ray import exceptions

    kinds = [kind for kind in vars(exceptions).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, exceptions.RayError)]


@pytest.mark.parametrize("kind", ray_errors(), ids=lambda kind: kind.__name__)
def test_an_error_without_a_text_is_told_by_its_meaning(kind: type[Exception]) -> None:
    silent = type(kind.__name__, (kind,), {"__str__": lambda self: " \n", "__init__": _bare})
    told = cause(silent())
    assert " " in told
    assert kind.__name__ not in told


def _bare(self: Exception) -> None:
    self.cause = None  # pyright: ignore[reportAttributeAccessIssue]


def test_a_failure_that_ray_carried_home_is_our_own_sentence() -> None:
    from ray.exceptions import RayTaskError

    inner = UnreachableError("Cannot read plan/shard-000000.parquet in s3://x: access is denied.")
    wrapped = RayTaskError("map", "Traceback ...\nram_ray.errors.UnreachableError: ...", inner)
    for error in (wrapped, wrapped.as_instanceof_cause(), pickle.loads(pickle.dumps(wrapped))):
        assert cause(error) == str(inner)


def test_the_first_line_of_a_store_s_answer_is_told() -> None:
    error = FileNotFoundError(
        "Object at location /x not found: gone\n\nDebug source:\nNotFound {\n}"
    )
    assert cause(error) == "Object at location /x not found: gone"


def test_what_a_worker_raises_is_raised_here(ray_session: None) -> None:
    def refuse() -> None:
        raise ConfigError("trusted is 'x', but none of its images was seen.")

    def break_down() -> None:
        raise ValueError("no such number")

    with pytest.raises(ConfigError, match=r"^trusted is 'x', but none of its images was seen.$"):
        in_workers(refuse, [()])
    with pytest.raises(IncompleteRunError, match=r"A worker failed \(no such number\)"):
        in_workers(break_down, [()])
