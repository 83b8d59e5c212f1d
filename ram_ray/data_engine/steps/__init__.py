"""What every step is made with: its place in the output, rounds over its shards, its tables.

`step` says what a step is, `rounds` runs one, `counts` reads what it left, `tables` is how it lies.
"""

from ram_ray.data_engine.steps.counts import (
    COUNTS,
    counts_table,
    read_all_commits,
    read_table,
    sum_counts,
)
from ram_ray.data_engine.steps.rounds import CommitShards, run_tables, step_waves
from ram_ray.data_engine.steps.step import (
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

__all__ = [
    "COUNTS",
    "STEP_KEY",
    "CommitShards",
    "EngineRun",
    "OnProgress",
    "Step",
    "StepProgress",
    "StepsDone",
    "counts_table",
    "identify",
    "is_complete",
    "open_step",
    "read_all_commits",
    "read_table",
    "run_tables",
    "step_waves",
    "sum_counts",
]
