"""`ram-ray serve`: the application on this machine's Ray, or on a cluster's, until stopped."""

import asyncio
import logging
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from ram_model.files.pretrained import BUNDLED, find_model_folder
from ram_ray.cluster import ray_session
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.serving.config import ServeConfig, check_access
from ram_ray.serving.ending import serve_until_signal
from ram_ray.serving.environment import end_haproxy, prepare_environment
from ram_ray.serving.guard.access import load_keys
from ram_ray.serving.log import relayed_log, set_up_log

if TYPE_CHECKING:
    from ram_ray.serving.models.model_deployment import ModelServer

APP_NAME = "ram-ray"
_READY_TIMEOUT_S, _READY_PERIOD_S = 60.0, 0.1


def serve(config: ServeConfig, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Check the configuration, then serve until SIGINT or SIGTERM.

    Args:
        on_ready: called with the server's address once requests are answered.

    Raises:
        ConfigError: as `check_server`.
        UnreachableError: no Ray, or a model process that does not start.
    """
    check_server(config)
    run_server(config, on_ready=on_ready or (lambda address: None))


def run_server(config: ServeConfig, *, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; then answer what was accepted, and end (ending.py).

    Args:
        config: what to serve; `check_server` has passed it.
        on_ready: called with the server's address once requests are answered.

    Raises:
        UnreachableError: no Ray, or a model process that does not start.
    """
    address = address_of(config)
    set_up_log(config.log_level)
    with running_server(config):
        asyncio.run(serve_until_signal(config.limits, lambda: on_ready(address), APP_NAME))


def check_server(config: ServeConfig) -> None:
    """Find out what would keep the server from starting, before anything starts.

    Raises:
        ConfigError: others can reach the address and there are no keys; the port is taken; no
            such model.
    """
    check_access(config, load_keys(config.access))
    if config.address is None:  # a cluster has its own files and ports
        check_models(config)
        check_port(config)


@contextmanager
def running_server(
    config: ServeConfig, model_class: "type[ModelServer] | None" = None
) -> Iterator[None]:
    """Serve for the length of the block.

    Args:
        config: what to serve.
        model_class: another model deployment, for measurements; None: the real one.

    Raises:
        UnreachableError: no Ray, or a model process that does not start.
    """
    if config.address is None:  # a cluster's nodes have their own
        prepare_environment(config.host)
    import ray

    # A Ray of our own ends with us: nothing is left for Serve to put in order, which takes 10 s.
    is_ray_ours = config.address is None and not ray.is_initialized()
    with (
        relayed_log() if config.address is None else nullcontext(),
        ray_session(config.address, with_dashboard=config.jobs.enabled),
    ):
        # imported here: Serve reads its environment at import
        from ray import serve

        from ram_ray.serving.deployment import application
        from ram_ray.serving.models.model_deployment import ModelServer

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        limits = config.limits
        serve.start(
            http_options={
                "host": config.host,
                "port": config.port,
                # our own limits answer first, in our own words
                "request_timeout_s": limits.body_timeout_s + limits.request_timeout_s + 5,
            }
        )
        try:
            serve.run(
                application(config, model_class or ModelServer), name=APP_NAME, route_prefix="/"
            )
        except RuntimeError as error:
            serve.shutdown()
            raise UnreachableError(f"The server did not start: {_last_line(error)}") from error
        try:
            if config.address is None:  # a cluster's proxies may be out of this machine's reach
                _wait_until_ready(address_of(config))
            yield
        finally:
            if not is_ray_ours:
                serve.shutdown()
    if is_ray_ours:
        end_haproxy()


def check_models(config: ServeConfig) -> None:
    """Find out early, without loading weights, whether the models exist.

    Raises:
        ConfigError: neither a known name nor a model folder, or one not fetched yet.
    """
    for name in config.models:
        try:
            if name not in BUNDLED:
                find_model_folder(name)
        except ValueError as error:  # ram_model's errors are ValueErrors, each one sentence
            raise ConfigError(str(error)) from error


def check_port(config: ServeConfig) -> None:
    """Raise ConfigError when the address cannot be listened on."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {config.host} port {config.port}: {error.strerror or error}; "
            "choose another with --host and --port."
        ) from error


def address_of(config: ServeConfig) -> str:
    """Return the address to open on this machine."""
    host = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host
    return f"http://[{host}]:{config.port}" if ":" in host else f"http://{host}:{config.port}"


def _wait_until_ready(address: str) -> None:
    """Wait for an ingress that sees a model process; Serve's word for it comes a moment earlier.

    Raises:
        UnreachableError: none within `_READY_TIMEOUT_S`.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by a proxy
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while True:
        try:
            with opener.open(f"{address}/readyz", timeout=_READY_TIMEOUT_S):
                return
        except OSError as error:  # refused, or an HTTP error status
            if time.monotonic() > deadline:
                raise UnreachableError(f"The server did not get ready: {error}.") from error
            time.sleep(_READY_PERIOD_S)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
