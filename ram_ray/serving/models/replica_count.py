"""How many replicas of a deployment this process can call now."""

from collections.abc import Sized
from typing import Protocol
from weakref import WeakValueDictionary


class Router(Protocol):
    """What is needed of Serve's routers."""

    @property
    def curr_replicas(self) -> Sized:
        """The replicas that are up."""
        ...


_routers: WeakValueDictionary[str, Router] = WeakValueDictionary()


def register(deployment: str, router: Router) -> None:
    """Remember the router of a deployment's calls, as long as it lives."""
    _routers[deployment] = router


def running_replicas(deployment: str) -> int:
    """Return how many replicas are up; 0 before the first is known."""
    router = _routers.get(deployment)
    return len(router.curr_replicas) if router else 0
