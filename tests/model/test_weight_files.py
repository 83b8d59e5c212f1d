import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ram_model import weight_files
from ram_model.weight_files import write_weights


def test_everybody_may_read_what_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_weights({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o777 == 0o640


def test_type_and_layout(tmp_path: Path) -> None:
    state = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.ones(1, dtype=torch.float64)}
    write_weights(state, tmp_path / "x", dtype=torch.float16)
    loaded = load_file(tmp_path / "x")
    assert loaded["a"].dtype == loaded["b"].dtype == torch.float16
    assert loaded["a"].tolist() == state["a"].tolist()
    write_weights(state, tmp_path / "x")
    assert load_file(tmp_path / "x")["b"].dtype == torch.float64


def test_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("No space left on device")

    write_weights({"a": torch.ones(2)}, tmp_path / "x")
    monkeypatch.setattr(weight_files, "save_file", full)
    with pytest.raises(OSError, match="x cannot be written: No space left"):
        write_weights({"a": torch.zeros(2)}, tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert load_file(tmp_path / "x")["a"].tolist() == [1, 1]
    with pytest.raises(FileNotFoundError):
        write_weights({"a": torch.zeros(2)}, tmp_path / "no" / "x")
