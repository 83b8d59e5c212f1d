import collections
import pickle
from pathlib import Path

import pytest
import torch

from ram_model.errors import CheckpointError
from ram_model.files.checkpoint import read_official
from ram_model.tensors_only import Skipped, load_tensors_only

STATE = collections.OrderedDict(weight=torch.arange(6.0).view(2, 3), count=torch.tensor(7))


class YamlMap(dict):
    """Like the configuration objects of YAML libraries: a dict with state and attributes."""

    def __init__(self, **items: object) -> None:
        super().__init__(items)
        self.comment = "loaded from a file"


class Payload:
    """Runs code when unpickled the ordinary way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


class DeepPayload(Payload):
    """The same through a built-in function, and with elements to append afterwards."""

    def __reduce__(self) -> tuple:
        code = f"__import__('pathlib').Path({str(self.path)!r}).touch() or []"
        return (eval, (code,), None, iter([1, 2]))


def test_tensors_of_a_file_with_a_configuration_object(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"model": STATE, "config": YamlMap(a=[1, YamlMap(b=2)]), "epoch": 4}, path)
    with pytest.raises(CheckpointError, match=r"more than tensors \(.*YamlMap\), and is refused"):
        read_official(path)
    found = read_official(path, tensors_only=True)
    assert list(found) == list(STATE)
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)
    assert isinstance(load_tensors_only(path)["config"], Skipped)


@pytest.mark.parametrize("payload", [Payload, DeepPayload])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_no_code_of_the_file_runs(tmp_path: Path, payload: type[Payload], protocol: int) -> None:
    path, proof = tmp_path / "evil.pth", tmp_path / "proof"
    torch.save({"model": STATE, "x": payload(proof)}, path, pickle_protocol=protocol)
    torch.load(path, weights_only=False)
    assert proof.exists()  # the payload works
    proof.unlink()
    assert torch.equal(read_official(path, tensors_only=True)["weight"], STATE["weight"])
    assert not proof.exists()


def test_payload_in_place_of_a_tensor_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"model": {"weight": Payload(tmp_path / "proof")}}, path)
    with pytest.raises(CheckpointError, match="is not a state dict"):
        read_official(path, tensors_only=True)
    assert not (tmp_path / "proof").exists()


def test_old_and_damaged_files_are_refused(tmp_path: Path) -> None:
    old = tmp_path / "old.pth"
    torch.save({"model": STATE}, old, _use_new_zipfile_serialization=False)
    half = tmp_path / "half.pth"
    torch.save({"model": STATE}, half)
    half.write_bytes(half.read_bytes()[:-300])
    bare = tmp_path / "bare.pth"
    bare.write_bytes(pickle.dumps(Payload(tmp_path / "proof")))
    for path in (old, half, bare):
        for tensors_only in (True, False):
            with pytest.raises(CheckpointError, match=path.name):
                read_official(path, tensors_only=tensors_only)
    assert not (tmp_path / "proof").exists()
