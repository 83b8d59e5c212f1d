"""How `ram-ray serve` ends: not ready at once, an answer for everything accepted, then no more.

Serve's own shutdown ends its proxies first, and with them every open request.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from typing import Any

from ram_ray.serving.config import LimitConfig
from ram_ray.serving.log import note

_log = logging.getLogger(__name__)

_PERIOD_S = 0.1
_ANSWER_S = 5.0
"""For the ingress processes to say how much they still have."""
_LAST_CALL_S = 1.0
"""For a call under way when a second signal comes; it takes milliseconds."""
_LAST_BYTES_S = 0.2
"""From an ingress process through the proxy to the client."""


async def serve_until_signal(limits: LimitConfig, on_ready: Callable[[], None], app: str) -> None:
    """Return after SIGINT or SIGTERM, once what was accepted is answered, or at a second signal.

    Args:
        limits: `drain_s` at least passes; `body_timeout_s + request_timeout_s` is the most.
        on_ready: called once a signal would be heard.
        app: name of the application on Serve.
    """
    from ray import serve

    signals: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signals.put_nowait, None)
    try:
        ingresses = serve.get_app_handle(app)
        await _ask(ingresses, "num_accepted")  # connects: the signal itself must not wait for that
        on_ready()
        await signals.get()
        hurry = asyncio.Event()
        draining = asyncio.create_task(_drain(ingresses, limits, hurry))
        again = asyncio.create_task(signals.get())
        await asyncio.wait((draining, again), return_when=asyncio.FIRST_COMPLETED)
        again.cancel()
        hurry.set()
        # Serve answers a call that is left alone when its loop is gone, with tracebacks.
        await asyncio.wait((draining,), timeout=_LAST_CALL_S)
        draining.cancel()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _drain(ingresses: Any, limits: LimitConfig, hurry: asyncio.Event) -> None:
    """Tell every ingress process to take no new work; return when none has any left, or `hurry`."""
    started = time.monotonic()
    note("drain", state="begun", drain_s=limits.drain_s)
    longest = max(limits.drain_s, limits.body_timeout_s + limits.request_timeout_s)
    while True:
        num_accepted = await _ask(ingresses, "drain")  # also those that started meanwhile
        elapsed = time.monotonic() - started
        if (num_accepted == 0 and elapsed >= limits.drain_s) or elapsed > longest:
            break
        if hurry.is_set():
            break
        await asyncio.sleep(_PERIOD_S)
    note("drain", state="ended", unanswered=num_accepted, seconds=round(elapsed, 1))
    await asyncio.sleep(_LAST_BYTES_S)


async def _ask(ingresses: Any, method: str) -> int:
    """Return the sum of what the ingress processes answer; those that died have nothing left."""
    from ray.exceptions import RayError
    from ray.serve.exceptions import DeploymentUnavailableError

    try:
        answers = await ingresses.broadcast(method).results_async(
            timeout_s=_ANSWER_S, return_exceptions=True
        )
    except TimeoutError:
        return 1  # busy: asked again
    except (DeploymentUnavailableError, RayError) as error:
        _log.warning("No ingress process answers: %s", error)
        return 0
    return sum(answer for answer in answers if isinstance(answer, int))
