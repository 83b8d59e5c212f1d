"""The application over models in this process: as an ASGI app, and behind a real HTTP server."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ram_ray.serving.app import create_app
from ram_ray.serving.config import ServeConfig
from ram_ray.serving.models.local_backend import LocalBackend

HOST = "http://127.0.0.1:8000"


@contextmanager
def client_of(config: ServeConfig) -> Iterator[TestClient]:
    """Give a client of an application of its own."""
    app = create_app(config, LocalBackend(config))
    with TestClient(app, base_url=HOST, client=("127.0.0.1", 50_000)) as client:
        yield client


@contextmanager
def http_server(app: FastAPI) -> Iterator[int]:
    """Serve the app over real HTTP; give the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="session")
def app() -> FastAPI:
    """Return one application with the default limits; its lifespan has not begun."""
    config = ServeConfig(device="cpu")
    return create_app(config, LocalBackend(config))


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    """Return a client of the application with default limits."""
    with client_of(ServeConfig(device="cpu")) as client:
        yield client


@pytest.fixture(scope="session")
def port(app: FastAPI) -> Iterator[int]:
    """Return the port of a real HTTP server on loopback."""
    with http_server(app) as port:
        yield port
