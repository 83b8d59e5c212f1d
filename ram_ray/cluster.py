"""Join or start Ray, see what it has, and decide what runs where."""

import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ram_ray import __version__
from ram_ray.config import Device, Resources
from ram_ray.errors import ConfigError, UnreachableError

LOCAL_OBJECT_STORE_BYTES = 1024 * 2**20
"""Upper bound of a laptop's object store: only resized chunks live there, a few at a time."""
CONNECT_TIMEOUT_S = 10.0
"""To a cluster's head; it is near its driver, or a tunnel to it is."""
WORKER_TIMEOUT_S = 120.0
"""For a cluster's first worker to start and import ram-ray from a slow disk."""
CPU_BATCH = 16
GPU_BATCH = 64
"""Images per model call where none is asked for."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What runs where: Ray resources are bookkeeping, `threads` is what the CPU really does."""

    device: Device
    """"cpu", or "auto": a GPU share is reserved, the process takes it if it sees one."""
    num_taggers: int
    gpus_per_tagger: float
    cpus_per_tagger: float
    threads_per_tagger: int
    num_decoders: int | None
    """None: as many as the cluster has, or can grow, CPUs for."""
    cpus_per_decoder: float
    batch_size: int
    notes: tuple[str, ...]
    """What the user should hear, e.g. that there is no GPU."""


@contextmanager
def ray_session(address: str | None, *, with_dashboard: bool = False) -> Iterator[None]:
    """Use the Ray this process has, or join `address`, or start one that ends with the block.

    Args:
        address: as of `ray.init`; None: a local Ray.
        with_dashboard: start the local Ray's dashboard too, which holds its job server.

    Raises:
        UnreachableError: there is no cluster at `address`.
    """
    if not address:
        # Ray's ports bind to loopback: the name is Ray's, for machines that cannot be in clusters.
        # It is read when ray is imported.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    if address:
        _check_address(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's core reports as an error how Ray Data passes constructor arguments, once per pool.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Without this Ray hides the GPUs from a process that asked for none, for the next one too.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray's workers run at nice 15: on a laptop that does something else they get 3 % of a core.
    os.environ.setdefault("RAY_worker_niceness", "0")
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        with _stderr_held_back():
            if address:
                ray.init(address=address, **quiet)  # pyright: ignore[reportArgumentType]
            else:
                # A bare init would join whatever cluster this machine happens to run.
                ray.init(
                    address="local",
                    include_dashboard=with_dashboard,
                    object_store_memory=LOCAL_OBJECT_STORE_BYTES,
                    **quiet,  # pyright: ignore[reportArgumentType]
                )
    except Exception as error:  # a bare Exception is what Ray raises when its start takes too long
        raise _no_ray(address, error) from error
    try:
        if address:
            _check_nodes(address)
        yield
    finally:
        ray.shutdown()


def _no_ray(address: str | None, error: Exception) -> UnreachableError:
    """Return in one sentence why there is no Ray, and what to do about it."""
    where = f"the Ray cluster at {address}" if address else "a local Ray"
    reason = " ".join(str(error).split()) or type(error).__name__
    if "AF_UNIX" in reason or "path too long" in reason.lower():
        folder = tempfile.gettempdir()
        return UnreachableError(
            f"Cannot start {where}: the temporary folder {folder} is too long a path for its "
            "sockets; set TMPDIR to a short one, such as /tmp."
        )
    if "timed out" in reason:
        reason += " The machine may be overloaded: run the same command again."
    return UnreachableError(f"Cannot reach {where}: {reason}")


def _check_address(address: str) -> None:
    """Knock first: Ray itself waits for minutes where nobody listens.

    Raises:
        UnreachableError: nobody answers at host:port; other forms, such as "auto", are Ray's.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise UnreachableError(
            f"Cannot reach the Ray cluster at {address}: {error.strerror or error}."
        ) from error


def _check_nodes(address: str) -> None:
    """Ask a worker of the cluster for its ram-ray: without it, Ray would retry actors for ever.

    Raises:
        ConfigError: it has none, or another version.
    """
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    # Sent by name, not by value, so that the worker must import it; on the head if need be.
    ask = ray.remote(_installed_version).options(num_cpus=0, max_retries=0)
    try:
        version = ray.get(ask.remote(), timeout=WORKER_TIMEOUT_S)
    except GetTimeoutError as error:
        raise UnreachableError(f"The Ray cluster at {address} starts no worker.") from error
    except RayError as error:
        raise ConfigError(
            f"The workers of the Ray cluster at {address} cannot import ram_ray and ram_model; "
            "install the wheel on every node (cluster.yaml shows how)."
        ) from error
    if version != __version__:
        raise ConfigError(
            f"The Ray cluster at {address} has ram-ray {version}, this is {__version__}; install "
            "the same version."
        )


def _installed_version() -> str:
    import ram_model
    import ram_ray

    del ram_model
    return ram_ray.__version__


@contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Keep what Ray says at its start, partly from C++, off the terminal unless it fails."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)


def place(config: Resources) -> Placement:
    """Decide devices, processes and batch from the cluster's resources and the configuration.

    Raises:
        ConfigError: `--device cuda` or a GPU share without such GPUs, or more taggers than shares.
    """
    import ray

    have = ray.cluster_resources()
    cpus, gpus = have.get("CPU", 0.0), have.get("GPU", 0.0)
    nodes = sum(1 for node in ray.nodes() if node["Alive"])
    share = config.gpus_per_tagger or 1.0
    shares = int(gpus / share)
    # An autoscaling cluster may have no GPU yet: asking for a number of taggers brings them.
    expects_gpus = config.device == "cuda" and config.address and config.num_taggers
    if config.device == "cpu" or (shares == 0 and not expects_gpus):
        if config.device == "cuda" or config.gpus_per_tagger is not None:
            asked = (
                "device is 'cuda'" if config.device == "cuda" else f"gpus_per_tagger is {share:g}"
            )
            raise ConfigError(
                f"{asked}, but Ray has {gpus:g} GPUs and a tagger needs {share:g}; use --device "
                "cpu alone, or on a cluster that scales up from nothing --device cuda and "
                "--num-taggers."
            )
        return _place_on_cpus(config, cpus, nodes)
    return _place_on_gpus(config, cpus, share, shares)


def _place_on_cpus(config: Resources, cpus: float, nodes: int) -> Placement:
    num_taggers = config.num_taggers or max(1, nodes)
    note = () if config.device == "cpu" else ("No GPU found: tagging on the CPU.",)
    return Placement(
        device="cpu",
        num_taggers=num_taggers,
        gpus_per_tagger=0.0,
        cpus_per_tagger=min(0.5, cpus / (4 * num_taggers)),
        threads_per_tagger=max(1, int(cpus) // num_taggers),
        num_decoders=config.num_decoders or max(1, int(cpus) // 2),
        cpus_per_decoder=0.5,
        batch_size=config.batch_size or CPU_BATCH,
        notes=note,
    )


def _place_on_gpus(config: Resources, cpus: float, share: float, shares: int) -> Placement:
    num_taggers = config.num_taggers or shares
    if shares and num_taggers > shares and not config.address:
        raise ConfigError(
            f"num_taggers is {num_taggers}, but {share:g} GPUs each leave room for {shares}."
        )
    # Decoding is the first bottleneck beside a fast GPU: it gets every CPU that is left, and on a
    # cluster, which may grow, every CPU that comes.
    cpus_per_decoder = 0.9 if cpus > 4 or config.address else 0.5
    free = cpus - 0.25 * num_taggers - 0.5
    fitting = None if config.address else max(1, int(free / cpus_per_decoder))
    return Placement(
        device=config.device,
        num_taggers=num_taggers,
        gpus_per_tagger=share,
        cpus_per_tagger=0.25,
        threads_per_tagger=1,
        num_decoders=config.num_decoders or fitting,
        cpus_per_decoder=cpus_per_decoder,
        batch_size=config.batch_size or GPU_BATCH,
        notes=(),
    )
