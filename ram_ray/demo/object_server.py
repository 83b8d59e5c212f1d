"""An S3 server for the demo: moto on the loopback address, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ram_ray.demo.photos import INSTALL_ADVICE
from ram_ray.errors import ConfigError, UnreachableError

# Set while the server runs, so that nothing of the user's account can be reached by accident.
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "demo",
    "AWS_SECRET_ACCESS_KEY": "demo",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}
_REMOVED = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


@contextmanager
def local_s3() -> Iterator[str]:
    """Yield the address of an empty S3 server; it ends with the block, or with this process.

    The environment holds made-up credentials meanwhile, for this process and its children.

    Raises:
        ConfigError: moto is not installed.
        UnreachableError: the server did not start.
    """
    if find_spec("moto") is None or find_spec("flask") is None:
        raise ConfigError(INSTALL_ADVICE)
    with _demo_environment():
        server = subprocess.Popen(
            [sys.executable, "-m", "ram_ray.demo.object_server"],
            cwd=Path(__file__).parents[2],  # found there also in a checkout that is not installed
            stdin=subprocess.PIPE,  # closed when this process ends, however it ends
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            yield _address(server)
        finally:
            server.terminate()
            server.wait()
            for pipe in (server.stdin, server.stdout):
                if pipe is not None:
                    pipe.close()


def serve() -> None:
    """Serve S3 on a free port, print the address, and end when stdin closes."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(f"http://{host}:{port}", flush=True)
    sys.stdin.read()
    os._exit(0)  # requests still in flight do not matter any more


def _address(server: "subprocess.Popen[str]") -> str:
    assert server.stdout is not None
    line = server.stdout.readline().strip()
    if not line.startswith("http://"):
        raise UnreachableError(
            "The demo's S3 server did not start; `python -m ram_ray.demo.object_server` says why."
        )
    return line


@contextmanager
def _demo_environment() -> Iterator[None]:
    names = (*_ENVIRONMENT, *_REMOVED)
    before = {name: os.environ.get(name) for name in names}
    for name in _REMOVED:
        os.environ.pop(name, None)
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


if __name__ == "__main__":
    serve()
