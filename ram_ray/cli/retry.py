"""`ram-ray retry`: the quarantined images of a finished run once more."""

import dataclasses
from typing import Annotated

from ram_ray import exit_codes
from ram_ray.cli import flags
from ram_ray.cli.flags import Given, command, fields_of
from ram_ray.console.json_output import print_json
from ram_ray.options import build_config, merge_settings
from ram_ray.tagging.retrying.config import RetryConfig

_FLAGS = {
    None: "error model",
    "Which tags": "text_encoder descriptions max_error_rate",
    "Which images": "store.endpoint_url store.region store.anonymous",
    "Resources": "device num_taggers num_decoders gpus_per_tagger address",
}


@command
def retry(
    *,
    output: flags.ExistingOutput,
    given: Annotated[Given, fields_of(RetryConfig, _FLAGS)],
    config: flags.ConfigFile = None,
    settings: flags.Settings = None,
    as_json: flags.Json = False,
) -> int:
    """Try the quarantined images of OUTPUT again, with the run's own model and options.

    Each keeps one row: tagged now, or quarantined with the error of this time. Limits may differ:
    `--set decode.max_image_pixels=400000000`. Interrupted: run the same command again.
    """
    from ram_ray.console.progress import show_progress
    from ram_ray.tagging import terminal
    from ram_ray.tagging.retrying.pipeline import retry_quarantined

    asked = {"output": output, **given}
    merged = merge_settings(asked, config_file=config, settings=settings or ())
    loaded = build_config(RetryConfig, merged)
    with show_progress() as on_progress:
        summary = retry_quarantined(loaded, on_progress=on_progress)
    if as_json:
        print_json(dataclasses.asdict(summary))
    else:
        terminal.print_retry(summary)
    return exit_codes.of_run(summary.error_rate, loaded.max_error_rate)
