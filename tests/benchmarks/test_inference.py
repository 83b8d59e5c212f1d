import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BASELINE = """
def make(config, device):
    def run(images):
        assert images.shape == (2, config.image_size_px, config.image_size_px, 3)
        assert str(images.dtype) == "uint8"
    return run
"""


def test_prints_json_and_times_a_baseline_without_ray(tmp_path: Path) -> None:
    (tmp_path / "ours.py").write_text(BASELINE, encoding="utf-8")
    script = ROOT / "benchmarks" / "inference.py"
    options = ["--variant", "tiny", "--batch-sizes", "2", "--repeats", "1", "--turn-s", "0.01"]
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__'); assert 'ray' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(script), *options, "--baseline", "ours:make"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "model")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (figures,) = report["results"]
    assert (report["variant"], report["num_tags"], figures["batch_size"]) == ("tiny", 29, 2)
    assert figures["images_per_s"] > 0
    assert 0 < figures["flop_utilisation"] <= 1.5
    assert figures["ratio_to_baseline"] < 1  # the baseline does nothing


def test_folding_is_timed_by_part() -> None:
    script = ROOT / "benchmarks" / "inference.py"
    options = ["--variant", "tiny", "--batch-sizes", "1", "--repeats", "1", "--turn-s", "0.01"]
    done = subprocess.run(
        [sys.executable, str(script), *options, "--folding"],
        env={"PYTHONPATH": str(ROOT / "model")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (figures,) = json.loads(done.stdout)["results"]
    for part in ("network", "image_encoder", "tag_decoder"):
        times = figures[part]
        ratio = times["plain_ms_per_image"] / times["folded_ms_per_image"]
        assert 0 < times["gain"] == pytest.approx(ratio, rel=0.05)
