"""Promises about imports: what a process pays for, and what it never gets."""

import subprocess
import sys
from pathlib import Path

import pytest

import ram_model

SOURCE_ROOT = Path(ram_model.__file__).parents[1]


def _loaded_after(statement: str, names: tuple[str, ...]) -> list[str]:
    """Run a statement in a fresh interpreter; return which modules are loaded then."""
    code = f"import sys; {statement}; print(*[n for n in {names!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(SOURCE_ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_decoder_processes_do_not_load_torch() -> None:
    heavy = ("torch", "timm", "ray", "pyarrow", "safetensors")
    statement = "import ram_model.transforms, ram_model.training.augmentation"
    assert _loaded_after(statement, heavy) == []


def test_the_model_never_loads_ray() -> None:
    statement = "from ram_model import Tagger, load_official, open_model, asymmetric_loss"
    assert _loaded_after(statement, ("torch", "ray", "ram_ray")) == ["torch"]


def test_tagging_loads_no_timm() -> None:
    """Importing timm, and torchvision with it, takes longer than tagging a photo."""
    statement = "from ram_model import Tagger; Tagger.load()"
    assert _loaded_after(statement, ("torch", "timm", "torchvision", "open_clip")) == ["torch"]


def test_every_public_name_exists() -> None:
    for name in ram_model.__all__:
        assert getattr(ram_model, name).__name__ == name
    assert set(ram_model._HOME) == set(ram_model.__all__)
    with pytest.raises(AttributeError, match="no attribute 'RAM'"):
        ram_model.RAM  # noqa: B018
