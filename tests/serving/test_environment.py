"""What Serve's processes inherit, and what is changed in the file that Ray writes for HAProxy."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE

from ram_ray.serving import environment
from ram_ray.serving.environment import prepare_environment


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the variables of this process, a copy that the test may change."""
    mine = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "RAM_"))
    }
    monkeypatch.setattr(os, "environ", mine)
    return mine


def test_haproxy_stands_before_the_ingress_where_it_can(variables: dict[str, str]) -> None:
    prepare_environment("127.0.0.1")
    assert variables["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    ports = {variables[name] for name in environment._PORTS}
    assert len(ports) == 3
    assert Path(variables["RAY_SERVE_HAPROXY_SOCKET_PATH"]).parent.is_dir()
    assert os.access(variables["RAY_SERVE_HAPROXY_BINARY_PATH"], os.X_OK)
    binary = variables.pop("RAM_RAY_HAPROXY_BINARY")
    prepare_environment("127.0.0.1")  # with the script in place: it must not start itself
    assert variables["RAM_RAY_HAPROXY_BINARY"] == binary != environment._HAPROXY_SCRIPT


_HOLDER = """
import os, subprocess, sys, time
from ram_ray.serving.environment import prepare_environment
prepare_environment("127.0.0.1")
os.environ["RAM_RAY_HAPROXY_BINARY"] = sys.argv[1]
config = os.environ["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"]
open(config, "w").close()
started = subprocess.Popen([sys.argv[2], "-db", "-f", config], start_new_session=True)
print(os.path.dirname(config), started.pid, flush=True)
time.sleep(60)
"""


def test_a_killed_server_leaves_neither_folder_nor_haproxy(tmp_path: Path) -> None:
    stand_in = tmp_path / "haproxy"
    stand_in.write_text("#!/bin/sh\nsleep 60 &\nwait\n")
    stand_in.chmod(0o755)
    command = [sys.executable, "-c", _HOLDER, str(stand_in), environment._HAPROXY_SCRIPT]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RA")}
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ours)
    assert holder.stdout is not None
    folder, pid = holder.stdout.readline().split()
    haproxy = psutil.Process(int(pid))
    while str(stand_in) not in haproxy.cmdline():  # the script has not become it yet
        time.sleep(0.01)
    holder.kill()
    holder.communicate()
    haproxy.wait(timeout=20)
    deadline = time.monotonic() + 20
    while Path(folder).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_elsewhere_serves_own_proxy_does(variables: dict[str, str]) -> None:
    prepare_environment("192.0.2.1")
    assert "RAY_SERVE_ENABLE_HA_PROXY" not in variables
    assert variables["RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD"] == "0"


def test_what_is_set_already_stays(variables: dict[str, str]) -> None:
    variables["RAY_SERVE_ENABLE_HA_PROXY"] = "0"
    prepare_environment("127.0.0.1")
    assert variables["RAY_SERVE_ENABLE_HA_PROXY"] == "0"


def test_a_clusters_nodes_can_set_the_same() -> None:
    command = [sys.executable, "-m", "ram_ray.serving.environment"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    shell = subprocess.run(
        [
            "sh",
            "-c",
            lines + 'echo "$RAY_SERVE_ENABLE_HA_PROXY"; test -x "$RAM_RAY_HAPROXY_BINARY"',
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout == "1\n"


def test_rays_haproxy_file_is_closed_to_others(tmp_path: Path) -> None:
    template = HAPROXY_CONFIG_TEMPLATE.replace("{{ config.metrics_port }}", "9101")
    template = template.replace("{{ config.stats_port }}", "8404")
    template = template.replace("server {{ server.name }}", "server SERVE_REPLICA_1")
    written = tmp_path / "haproxy.cfg"
    written.write_text(template)
    wrapper = environment._HAPROXY_SCRIPT
    shown = subprocess.run(
        [wrapper, "-db", "-f", str(written), "-x"],
        env={"RAM_RAY_HAPROXY_BINARY": "/bin/echo", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == f"-db -f {written} -x\n"
    lines = [line.strip() for line in written.read_text().splitlines()]
    assert "bind 127.0.0.1:9101" in lines
    assert "bind 127.0.0.1:8404" in lines
    assert not any(line.startswith(("bind :", "bind *")) for line in lines)
    assert lines[lines.index("defaults") + 1] == "timeout queue 5s"
    assert any(line.startswith("http-error status 503") for line in lines)
    assert not any(line.startswith("errorfile 503") for line in lines)


_WRITTEN = """
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
frontend http_frontend
    bind 127.0.0.1:1
    acl is_http-app path_beg /
    use_backend http-app if is_http-app
    default_backend default_backend
backend default_backend
    http-request return status 404
backend http-app
    server SERVE_REPLICA::1 127.0.0.1:30000 check
    server SERVE_REPLICA::2 127.0.0.1:30001 check
    server FALLBACK 127.0.0.1:8500 check backup
"""


def test_haproxy_takes_what_is_changed(tmp_path: Path) -> None:
    binary = environment._find_haproxy()
    if binary is None:
        pytest.skip("NO HAPROXY ON THIS MACHINE: its settings are not checked")
    written = tmp_path / "haproxy.cfg"
    written.write_text(_WRITTEN)
    command = [environment._HAPROXY_SCRIPT, "-c", "-f", str(written)]
    given = {"RAM_RAY_HAPROXY_BINARY": binary, "PATH": os.environ["PATH"]}
    checked = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr
    lines = [line.strip() for line in written.read_text().splitlines()]
    told = lines.index("use_backend ram_ray_health if { path /healthz /readyz }")
    assert lines[told + 1] == "use_backend http-app if is_http-app"
    assert lines[lines.index("frontend http_frontend") + 1].startswith("stick-table")
    assert sum(line.endswith(" check maxconn 512") for line in lines) == 2
    assert lines[-2:] == [
        "server SERVE_REPLICA::1 127.0.0.1:30000 track http-app/SERVE_REPLICA::1",
        "server SERVE_REPLICA::2 127.0.0.1:30001 track http-app/SERVE_REPLICA::2",
    ]
