"""Train a model as a Ray job: argv -> config -> one call; the result is one line of JSON.

    ray job submit --address http://HEAD:8265 --entrypoint-num-cpus 1 -- \\
        python -m jobs.train train.yaml --set max_workers=8

Settings are those of `ram-ray train`; the job joins the cluster it runs on.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from ram_ray.exit_codes import DONE, exit_on_error
from ram_ray.options import build_config, merge_settings
from ram_ray.training.config import TrainConfig
from ram_ray.training.pipeline import train


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code (README, "Exit codes")."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("config", metavar="CONFIG.yaml", help="settings of the run")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--local", action="store_true", help="on this machine, without a cluster")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args(argv)
    with exit_on_error(debug=options.debug):
        given = {} if options.local else {"address": "auto"}
        merged = merge_settings(given, config_file=options.config, settings=options.settings)
        result = train(build_config(TrainConfig, merged), on_progress=_print_line)
        print(json.dumps(asdict(result)))
    return DONE


def _print_line(line: dict) -> None:
    print(json.dumps(line), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
