"""What every step is made with: its place in the output, rounds over its shards, its tables.

step    a call of the engine, its steps, and what makes a step the same step
rounds  rounds over the shards that are not committed
tables  the tables that steps hand to each other
counts  what every shard of a finished step leaves for the report
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
