import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_both_forms_agree_and_are_timed() -> None:
    script = ROOT / "benchmarks" / "ram_plus_labels.py"
    options = ["--num-tags", "20", "--batch-sizes", "2", "--repeats", "1"]
    done = subprocess.run(
        [sys.executable, str(script), *options],
        env={"PYTHONPATH": str(ROOT / "model")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (figures,) = report["results"]
    assert (report["num_tags"], report["descriptions_per_tag"]) == (20, 51)
    assert 0 <= figures["max_difference"] < 1e-5
    assert figures["batched_ms_per_image"] > 0
    assert figures["time_ratio_loop_to_batched"] > 0
    assert {"batched_peak_mb_per_call", "loop_peak_mb_per_call"} <= set(figures)
