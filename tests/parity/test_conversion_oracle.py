"""Official checkpoints through conversion: the folder gives what the official code gave."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ram_model.config import CaptionConfig
from ram_model.files import conversion
from ram_model.files.checkpoint import load_folder, load_official
from ram_model.files.conversion import FolderParts, convert_checkpoint, open_checkpoint
from ram_model.vocabulary import Vocabulary


@pytest.mark.parametrize("kind", ["ram", "ram_plus", "tag2text"])
def test_folder_checkpoint_and_official_code_agree(
    kind: str,
    oracle: Path,
    oracle_images: torch.Tensor,
    oracle_config: dict[str, Any],
    oracle_captions: CaptionConfig,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(conversion, "RELEASED_CAPTIONS", oracle_captions)
    path = oracle / f"{kind}_tiny.pth"
    vocabulary = Vocabulary(names=tuple(oracle_config["tags"]), thresholds=np.full(29, 0.5))
    parts = FolderParts(word_pieces=oracle / "vocab.txt" if kind == "tag2text" else None)

    facts = convert_checkpoint(open_checkpoint(path), tmp_path / "m", vocabulary, parts)

    loaded = load_folder(tmp_path / "m")
    images = oracle_images
    with torch.inference_mode():
        logits = loaded.model(images)
        assert torch.equal(logits, load_official(path)[0](images))
    theirs = torch.load(oracle / f"{kind}_tiny.out.pt", weights_only=True)["logits"]
    assert (logits - theirs).abs().max() <= 2e-5
    assert facts.has_captions == (kind == "tag2text")
    assert not any(name.startswith("caption_head.") for name in loaded.model.state_dict())
