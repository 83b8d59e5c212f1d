"""`ram-ray serve`: the HTTP API and the page."""

import signal
from typing import Annotated

from ram_ray.cli import flags
from ram_ray.cli.flags import Given, command, fields_of
from ram_ray.options import build_config, merge_settings
from ram_ray.serving.config import ServeConfig

_FLAGS = {
    "Models": "models thresholds",
    "Which tags": "text_encoder",
    "Who may call": "host port access.api_keys_file access.allow_anyone limits.images_per_s "
    "urls.hosts",
    "Resources": "device precision batch_size replicas.min_replicas replicas.max_replicas "
    "replicas.gpus_per_replica address",
}


@command
def serve(
    *,
    given: Annotated[Given, fields_of(ServeConfig, _FLAGS)],
    config: flags.ConfigFile = None,
    settings: flags.Settings = None,
) -> None:
    """Serve tags over HTTP, and a page to try them, until stopped."""
    merged = merge_settings(given, config_file=config, settings=settings or ())

    from ram_ray.serving.server import check_server, run_server

    serve_config = build_config(ServeConfig, merged)
    check_server(serve_config)
    print(f"Starting {', '.join(serve_config.models)} ...", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run_server(serve_config, on_ready=_say_ready)


def _say_ready(address: str) -> None:
    print(f"Serving on {address}  (API: {address}/openapi.json; stop with Ctrl-C)", flush=True)
