"""Parquet in memory is read in the calling thread."""

import subprocess
import sys

import pyarrow as pa
import pytest

from ram_ray.runs.plans import to_parquet
from ram_ray.storage.parquet import table_of

TABLE = pa.table({"a": [1, 2], "b": [["x"], []], "c": ["y", None]})


def test_whole_tables_and_columns_in_the_asked_order() -> None:
    data = to_parquet(TABLE)
    assert table_of(data) == TABLE
    assert table_of(data, columns=["c", "a"]) == TABLE.select(["c", "a"])
    with pytest.raises(pa.ArrowInvalid, match="no column d"):
        table_of(data, columns=["a", "d"])
    with pytest.raises(pa.ArrowInvalid):
        table_of(b"no table")


def test_no_thread_is_left_that_could_meet_the_end_of_the_interpreter() -> None:
    code = (
        "import os, sys\n"
        "from ram_ray.storage.parquet import table_of\n"
        "data = sys.stdin.buffer.read()\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "table_of(data)\n"
        "print(len(os.listdir('/proc/self/task')) - before)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=to_parquet(TABLE), capture_output=True, check=True)
    assert done.stdout.strip() == b"0"
