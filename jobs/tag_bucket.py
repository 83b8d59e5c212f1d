"""Tag a bucket as a Ray job: argv -> config -> one call; the summary is one line of JSON.

    ray job submit --address http://HEAD:8265 --entrypoint-num-cpus 1 -- \\
        python -m jobs.tag_bucket s3://photos/2026 s3://tags/2026 --set top_k=10

Options are those of `ram-ray tag --set` and `--config`; the job joins the cluster it runs on.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from ram_ray.console.progress import show_progress
from ram_ray.exit_codes import exit_on_error, of_run
from ram_ray.options import merge_settings
from ram_ray.tagging.config import tag_config
from ram_ray.tagging.pipeline import tag_bucket


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code (README, "Exit codes")."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source", help="folder or s3://bucket/prefix")
    parser.add_argument("output", help="folder or s3:// prefix of the results")
    parser.add_argument("--config", metavar="FILE.yaml", help="options from a file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args(argv)
    with exit_on_error(debug=options.debug):
        given = {"source": options.source, "output": options.output, "address": "auto"}
        merged = merge_settings(given, config_file=options.config, settings=options.settings)
        config = tag_config(merged)
        with show_progress() as on_progress:
            summary = tag_bucket(config, on_progress=on_progress)
        print(json.dumps(asdict(summary)))
    return of_run(summary.error_rate, config.max_error_rate)


if __name__ == "__main__":
    sys.exit(main())
