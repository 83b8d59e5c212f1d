"""`ram-ray serve`: the HTTP API and the page."""

import signal
from typing import Annotated, Any

import typer

from ram_ray import exit_codes
from ram_ray.cli import flags
from ram_ray.options import build_config, merge_settings

_DOOR, _MODELS, _SIZE = "Who may call", "Models", "Resources"

# Flags by another name than their field of ServeConfig.
_FIELDS = {
    "model": "models",
    "api_keys": "access.api_keys_file",
    "allow_anyone": "access.allow_anyone",
    "images_per_s": "limits.images_per_s",
    "url_host": "urls.hosts",
    "min_replicas": "replicas.min_replicas",
    "max_replicas": "replicas.max_replicas",
    "gpus_per_replica": "replicas.gpus_per_replica",
}


def _option(*names: str, help: str, panel: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=False, **more)


Models = Annotated[
    list[str] | None,
    _option(
        "--model",
        metavar="NAME|FOLDER",
        panel=_MODELS,
        help="Model name or folder; repeatable, the first is the default (ram-mini).",
    ),
]
Thresholds = Annotated[
    list[str] | None,
    _option(
        "--thresholds",
        metavar="TAG=X",
        panel=_MODELS,
        help="Threshold of a tag over the default model's own; repeatable.",
    ),
]
Host = Annotated[
    str | None, _option("--host", panel=_DOOR, help="Address to listen on (default: 127.0.0.1).")
]
Port = Annotated[
    int | None, _option("--port", panel=_DOOR, help="Port (default: 8000).", min=1, max=65535)
]
ApiKeys = Annotated[
    str | None,
    _option(
        "--api-keys",
        metavar="FILE",
        panel=_DOOR,
        help="Only callers with one of these keys, `name:secret` a line.",
    ),
]
AllowAnyone = Annotated[
    bool | None,
    _option(
        "--allow-anyone", panel=_DOOR, help="Let everybody in on an address that others can reach."
    ),
]
ImagesPerS = Annotated[
    float | None,
    _option("--images-per-s", panel=_DOOR, help="Most images per second of one key."),
]
UrlHosts = Annotated[
    list[str] | None,
    _option(
        "--url-host",
        metavar="HOST",
        panel=_DOOR,
        help="Take images by URL from this host, e.g. *.example.org; repeatable.",
    ),
]
MinReplicas = Annotated[
    int | None,
    _option(
        "--min-replicas",
        panel=_SIZE,
        help="Model processes at least (default: 1); 0: none while idle.",
    ),
]
MaxReplicas = Annotated[
    int | None,
    _option("--max-replicas", panel=_SIZE, help="Model processes at most (default: 1)."),
]
GpusPerReplica = Annotated[
    float | None,
    _option("--gpus-per-replica", panel=_SIZE, help="GPU share of a model process (default: 0)."),
]


def serve(
    context: typer.Context,
    model: Models = None,
    thresholds: Thresholds = None,
    text_encoder: flags.TextEncoder = None,
    host: Host = None,
    port: Port = None,
    api_keys: ApiKeys = None,
    allow_anyone: AllowAnyone = None,
    images_per_s: ImagesPerS = None,
    url_host: UrlHosts = None,
    device: flags.Device = None,
    precision: flags.Precision = None,
    batch_size: flags.BatchSize = None,
    min_replicas: MinReplicas = None,
    max_replicas: MaxReplicas = None,
    gpus_per_replica: GpusPerReplica = None,
    address: flags.Address = None,
    config: flags.ConfigFile = None,
    settings: flags.Settings = None,
    debug: flags.Debug = False,
) -> None:
    """Serve tags over HTTP, and a page to try them, until stopped."""
    with exit_codes.exit_on_error(debug=debug):
        given = flags.given_settings(context.params)
        given = {_FIELDS.get(name, name): value for name, value in given.items()}
        merged = merge_settings(given, config_file=config, settings=settings or ())

        from ram_ray.serving.config import ServeConfig
        from ram_ray.serving.server import check_server, run_server

        serve_config = build_config(ServeConfig, merged)
        check_server(serve_config)
        print(f"Starting {', '.join(serve_config.models)} ...", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        run_server(serve_config, on_ready=_say_ready)


def _say_ready(address: str) -> None:
    print(f"Serving on {address}  (API: {address}/openapi.json; stop with Ctrl-C)", flush=True)
