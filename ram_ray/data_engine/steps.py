"""What every step is made with: its place in the output, rounds over its shards, its tables.

`engine_run` says what a step is, `step_rounds` runs one, `step_tables` reads what it left.
"""

from ram_ray.data_engine.engine_run import (
    STEP_KEY,
    EngineRun,
    OnProgress,
    Step,
    StepProgress,
    StepsDone,
    identify,
    is_complete,
    open_step,
)
from ram_ray.data_engine.step_rounds import (
    CommitShards,
    RunWave,
    cause,
    commit_shards,
    configure_ray_data,
    in_workers,
    run_rounds,
    run_tables,
)
from ram_ray.data_engine.step_tables import (
    COUNTS,
    counts_table,
    read_all_commits,
    read_table,
    sum_counts,
)

__all__ = [
    "COUNTS",
    "STEP_KEY",
    "CommitShards",
    "EngineRun",
    "OnProgress",
    "RunWave",
    "Step",
    "StepProgress",
    "StepsDone",
    "cause",
    "commit_shards",
    "configure_ray_data",
    "counts_table",
    "identify",
    "in_workers",
    "is_complete",
    "open_step",
    "read_all_commits",
    "read_table",
    "run_rounds",
    "run_tables",
    "sum_counts",
]
