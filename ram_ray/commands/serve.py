"""`ram-ray serve`: the HTTP API and the page."""

import signal
from typing import Annotated

import typer

from ram_ray import exit_codes, flags
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


def serve(
    context: typer.Context,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME|FOLDER",
            rich_help_panel=_MODELS,
            help="Model name or folder; repeatable, the first is the default (ram-mini).",
            show_default=False,
        ),
    ] = None,
    thresholds: Annotated[
        list[str] | None,
        typer.Option(
            "--thresholds",
            metavar="TAG=X",
            rich_help_panel=_MODELS,
            help="Threshold of a tag over the default model's own; repeatable.",
            show_default=False,
        ),
    ] = None,
    text_encoder: flags.TextEncoder = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to listen on (default: 127.0.0.1).",
            rich_help_panel=_DOOR,
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port (default: 8000).",
            rich_help_panel=_DOOR,
            min=1,
            max=65535,
            show_default=False,
        ),
    ] = None,
    api_keys: Annotated[
        str | None,
        typer.Option(
            "--api-keys",
            metavar="FILE",
            rich_help_panel=_DOOR,
            help="Only callers with one of these keys, `name:secret` a line.",
            show_default=False,
        ),
    ] = None,
    allow_anyone: Annotated[
        bool | None,
        typer.Option(
            "--allow-anyone",
            rich_help_panel=_DOOR,
            help="Let everybody in on an address that others can reach.",
            show_default=False,
        ),
    ] = None,
    images_per_s: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_DOOR, help="Most images per second of one key.", show_default=False
        ),
    ] = None,
    url_host: Annotated[
        list[str] | None,
        typer.Option(
            "--url-host",
            metavar="HOST",
            rich_help_panel=_DOOR,
            help="Take images by URL from this host, e.g. *.example.org; repeatable.",
            show_default=False,
        ),
    ] = None,
    device: flags.Device = None,
    precision: flags.Precision = None,
    batch_size: flags.BatchSize = None,
    min_replicas: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=_SIZE,
            help="Model processes at least (default: 1); 0: none while idle.",
            show_default=False,
        ),
    ] = None,
    max_replicas: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=_SIZE,
            help="Model processes at most (default: 1).",
            show_default=False,
        ),
    ] = None,
    gpus_per_replica: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_SIZE,
            help="GPU share of a model process (default: 0).",
            show_default=False,
        ),
    ] = None,
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
