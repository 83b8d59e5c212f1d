import json

import pytest

from benchmarks import captions


def test_prints_every_contender_and_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    arguments: str = "--variant tiny --batch-size 2 --beams 1,2 --max-length 11 --repeats 1"
    captions.main([*arguments.split()])
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["results"]) == 4
    assert all(turn["wall_s"] > 0 for turn in printed["results"].values())
    assert len(printed["ratios"]) == 2
