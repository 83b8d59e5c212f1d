"""The oracle: outputs of the official code on tiny random models (`oracle/README.md`)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ram_model.config import CaptionConfig
from ram_model.transforms import resize_for_inference, to_rgb
from ram_model.wordpiece import WordPieceTokenizer


@pytest.fixture(scope="session")
def oracle() -> Path:
    folder = Path(__file__).parent / "oracle"
    if not folder.is_dir():
        pytest.skip("THE ORACLE IS ABSENT: an sdist leaves it out; clone the repository")
    return folder


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


@pytest.fixture(scope="session", params=["ram", "tag2text"])
def caption_reference(request: pytest.FixtureRequest, oracle: Path) -> dict[str, Any]:
    """As `reference`, of the models with a caption side."""
    outputs = torch.load(oracle / f"{request.param}_tiny.out.pt", weights_only=True)
    return {**outputs, "kind_name": request.param, "path": oracle / f"{request.param}_tiny.pth"}


@pytest.fixture(scope="session")
def tag2text_reference(oracle: Path) -> dict[str, Any]:
    outputs = torch.load(oracle / "tag2text_tiny.out.pt", weights_only=True)
    return {**outputs, "path": oracle / "tag2text_tiny.pth"}


@pytest.fixture(scope="session")
def oracle_captions(oracle_config: dict[str, Any]) -> CaptionConfig:
    """The caption side of the tiny models."""
    med = oracle_config["med"]
    return CaptionConfig(
        num_heads=med["num_attention_heads"],
        num_layers=med["num_hidden_layers"],
        intermediate_dim=med["intermediate_size"],
        vocab_size=med["vocab_size"],
        num_positions=med["max_position_embeddings"],
    )


@pytest.fixture(scope="session")
def oracle_tokenizer(oracle: Path) -> WordPieceTokenizer:
    return WordPieceTokenizer.from_file(oracle / "vocab.txt")


@pytest.fixture(scope="session")
def tag2text_pixels(tag2text_reference: dict[str, Any]) -> np.ndarray:
    """uint8 [3, 128, 128, 3], the images before normalisation."""
    images = (to_rgb(Image.fromarray(raw.numpy())) for raw in tag2text_reference["raw_images"])
    return np.stack([resize_for_inference(image, 128) for image in images])
