"""The oracle: outputs of the official code on tiny random models, kept beside the checkout."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch


def _shared() -> Path:
    root = Path(__file__).parents[2]
    return Path(os.environ.get("RAM_RAY_SHARED", root.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = _shared()
    if not folder.is_dir():
        pytest.skip(f"PARITY NOT CHECKED: no {folder}; set RAM_RAY_SHARED to the shared folder.")
    return folder


@pytest.fixture(scope="session")
def oracle(shared: Path) -> Path:
    return shared / "oracle"


@pytest.fixture(scope="session")
def oracle_config(oracle: Path) -> dict[str, Any]:
    return json.loads((oracle / "config.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def oracle_images(oracle: Path) -> torch.Tensor:
    """float32 [3, 3, 128, 128], normalised: the same images for all models."""
    return torch.load(oracle / "ram_tiny.out.pt", weights_only=True)["image"]


@pytest.fixture(scope="session", params=["ram", "ram_plus"])
def reference(request: pytest.FixtureRequest, oracle: Path) -> dict[str, Any]:
    """Outputs of one official model, and the path of its weights under "path"."""
    outputs = torch.load(oracle / f"{request.param}_tiny.out.pt", weights_only=True)
    return {**outputs, "kind_name": request.param, "path": oracle / f"{request.param}_tiny.pth"}
