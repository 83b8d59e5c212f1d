"""Rounds of the data engine as a Ray job: engine -> train -> engine; the last line is JSON.

    ray job submit --address http://HEAD:8265 --entrypoint-num-cpus 1 -- \\
        python -m jobs.run_data_engine engine.yaml --train train.yaml --rounds 2

`engine.yaml` holds the options of `ram-ray engine run`, `train.yaml` those of `ram-ray train`
without data, labels, vocabulary and output, which the rounds decide.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ram_ray.data_engine.config import engine_config
from ram_ray.data_engine.terminal import step_progress
from ram_ray.data_engine.training_rounds import run_rounds
from ram_ray.exit_codes import DONE, exit_on_error
from ram_ray.options import build_config, merge_settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code (README, "Exit codes")."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("config", help="YAML file of engine options")
    parser.add_argument("--train", required=True, metavar="FILE.yaml", help="training options")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folds", type=int, default=3, help="models trained between two rounds")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--address", default="auto", help="Ray cluster; empty: a local Ray")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args(argv)
    address = options.address or None
    with exit_on_error(debug=options.debug):
        given = {"address": address} if address else {}
        config = engine_config(given, config_file=options.config, settings=options.settings)
        with step_progress() as on_progress:
            result = run_rounds(
                config,
                lambda settings: train_model(options.train, settings | given),
                rounds=options.rounds,
                folds=options.folds,
                on_progress=on_progress,
            )
        print(json.dumps(asdict(result)))
    return DONE


def train_model(config_file: str, settings: dict[str, Any]) -> str:
    """Train one model; return its folder."""
    from ram_ray.training.config import TrainConfig
    from ram_ray.training.pipeline import train

    merged = merge_settings(settings, config_file=config_file)
    return train(build_config(TrainConfig, merged)).model


if __name__ == "__main__":
    sys.exit(main())
