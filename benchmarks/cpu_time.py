"""CPU time of the processes of a measurement, by what they are."""

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterator

import psutil

_PARTS = {
    "ServeReplica:ram-ray:model": "model",
    "ServeReplica:ram-ray:ingress": "ingress",
    "decode_child": "decode",
    "bare_server": "bare",
    "ProxyActor": "fallback proxy",
    "HAProxyManager": "haproxy's manager",
    "/haproxy": "haproxy",
    "ServeController": "controller",
    "raylet": "raylet",
    "gcs_server": "gcs",
}
"""Part of a command line, and what the process is; the first that fits. Others: "other of Ray"."""


class CpuTime:
    """CPU seconds of this process and its descendants during some blocks."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def of(self, port: int, ports: Collection[int]) -> Iterator[None]:
        """Count what the block takes; the bare server only where `port` is its own.

        Args:
            port: of the server that is measured.
            ports: of all servers that are up. A bare server that waits its turn costs nothing;
                Ray's processes do, so they are left out of the bare server's figure.
        """
        before = _snapshot()
        yield
        is_bare = len(ports) > 1 and port == next(iter(ports))
        for pid, (part, seconds) in _snapshot().items():
            if part == "client" or not is_bare or part in ("bare", "decode"):
                self._seconds[part] += seconds - before.get(pid, (part, 0.0))[1]

    def row(self, num_requests: int) -> dict[str, object]:
        """Return milliseconds per request: all together, and by part."""
        parts = {part: 1000 * s / max(1, num_requests) for part, s in self._seconds.items()}
        shown = {part: round(ms, 1) for part, ms in parts.items() if ms >= 0.05}
        ordered = dict(sorted(shown.items(), key=lambda item: -item[1]))
        return {"cpu_ms": round(sum(parts.values()), 1), "cpu_ms_by_part": ordered}


def own_processes() -> list[psutil.Process]:
    """Return the descendants of this process, Ray's workers among them."""
    return psutil.Process().children(recursive=True)


def memory_mib(wanted: str) -> int:
    """Return the resident memory of own processes whose title holds `wanted`, in MiB."""
    total = 0
    for process in own_processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if wanted in title(process):
                total += process.memory_info().rss
    return total // 2**20


def title(process: psutil.Process) -> str:
    """Return a process's command line; "" when it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _snapshot() -> dict[int, tuple[str, float]]:
    found: dict[int, tuple[str, float]] = {}
    me = psutil.Process()
    for process in (me, *own_processes()):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            part = "client" if process.pid == me.pid else _part(title(process))
            found[process.pid] = part, times.user + times.system
    return found


def _part(command: str) -> str:
    return next((part for key, part in _PARTS.items() if key in command), "other of Ray")
