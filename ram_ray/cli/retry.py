"""`ram-ray retry`: the quarantined images of a finished run once more."""

import dataclasses
import json
from typing import Annotated

import typer

from ram_ray import exit_codes
from ram_ray.cli import flags


def retry(
    context: typer.Context,
    output: flags.ExistingOutput,
    error: Annotated[
        list[str] | None,
        typer.Option(
            "--error",
            metavar="CODE",
            help="Only images with this error code; repeatable (default: all).",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Where the run's model is now, if not where it was.", show_default=False),
    ] = None,
    text_encoder: flags.TextEncoder = None,
    descriptions: flags.Descriptions = None,
    max_error_rate: flags.MaxErrorRate = None,
    endpoint_url: flags.EndpointUrl = None,
    region: flags.Region = None,
    anonymous: flags.Anonymous = None,
    device: flags.Device = None,
    num_taggers: flags.NumTaggers = None,
    num_decoders: flags.NumDecoders = None,
    gpus_per_tagger: flags.GpusPerTagger = None,
    address: flags.Address = None,
    config: flags.ConfigFile = None,
    settings: flags.Settings = None,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Try the quarantined images of OUTPUT again, with the run's own model and options.

    Each keeps one row: tagged now, or quarantined with the error of this time. Limits may differ:
    `--set decode.max_image_pixels=400000000`. Interrupted: run the same command again.
    """
    with exit_codes.exit_on_error(debug=debug):
        from ram_ray.console.progress import show_progress
        from ram_ray.options import build_config, merge_settings
        from ram_ray.tagging import terminal
        from ram_ray.tagging.retrying.config import RetryConfig
        from ram_ray.tagging.retrying.pipeline import retry_quarantined

        given = flags.given_settings(context.params)
        merged = merge_settings(given, config_file=config, settings=settings or ())
        loaded = build_config(RetryConfig, merged)
        with show_progress() as on_progress:
            summary = retry_quarantined(loaded, on_progress=on_progress)
        if as_json:
            print(json.dumps(dataclasses.asdict(summary)))
        else:
            terminal.print_retry(summary)
        code = exit_codes.of_run(summary.error_rate, loaded.max_error_rate)
    raise typer.Exit(code)
