import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from ram_model.errors import LabelError
from ram_model.words.text_encoder import load_text_encoder
from tests.model.tiny_clip import tiny_clip

SENTENCES = ["a photo of a red fox.", "word " * 100, "", "Hi"]


def _published(folder: Path, *, quick_gelu: bool = True) -> Path:
    """Write a CLIP as open_clip's hub pages hold it."""
    folder.mkdir()
    model = tiny_clip(quick_gelu=quick_gelu)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    settings = {"model_cfg": {"quick_gelu": quick_gelu}}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_sentences_are_encoded_as_open_clip_does(tmp_path: Path, quick_gelu: bool) -> None:
    encoder = load_text_encoder(_published(tmp_path / "clip", quick_gelu=quick_gelu))
    model = tiny_clip(quick_gelu=quick_gelu)
    with torch.no_grad():
        expected = model.encode_text(open_clip.SimpleTokenizer()(SENTENCES), normalize=True)
    ours = encoder.encode(SENTENCES)
    assert (ours - expected).abs().max() <= 1e-6
    assert (ours[0] - ours[3]).abs().max() > 0.01  # otherwise this test says little
    # alone or in company
    assert (encoder.encode(SENTENCES[3:]) - expected[3:]).abs().max() <= 1e-6


def test_saved_encoder_is_the_same(tmp_path: Path) -> None:
    encoder = load_text_encoder(_published(tmp_path / "clip"))
    encoder.save(tmp_path / "ours")
    again = load_text_encoder(tmp_path / "ours")
    assert again.config == encoder.config
    assert torch.equal(again.encode(SENTENCES), encoder.encode(SENTENCES))


def test_lone_files_are_read_too(tmp_path: Path) -> None:
    state = tiny_clip().state_dict()
    torch.save(state, tmp_path / "flat.pt")
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "train.bin")
    flat = load_text_encoder(tmp_path / "flat.pt").encode(SENTENCES)
    assert torch.equal(load_text_encoder(tmp_path / "train.bin").encode(SENTENCES), flat)


def test_too_long_a_sentence_is_told(tmp_path: Path) -> None:
    encoder = load_text_encoder(_published(tmp_path / "clip"))
    assert encoder.fits("fox " * 75)
    assert not encoder.fits("fox " * 76)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_programs_and_strangers_are_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), tmp_path / "ViT-B-16.pt")
    torch.save({"weight": torch.ones(1)}, tmp_path / "other.bin")
    (tmp_path / "x.safetensors").write_bytes(b"no")
    for name, message in (
        ("ViT-B-16.pt", "is a program"),
        ("other.bin", "holds no CLIP text tower"),
        ("x.safetensors", "cannot be read as weights alone"),
        ("absent", "There is no text encoder at"),
    ):
        with pytest.raises(LabelError, match=message):
            load_text_encoder(tmp_path / name)


def test_wrong_weights_are_named(tmp_path: Path) -> None:
    state = tiny_clip().state_dict()
    del state["ln_final.weight"]
    state["transformer.resblocks.0.extra"] = torch.ones(1)
    torch.save(state, tmp_path / "x.bin")
    with pytest.raises(LabelError, match=r"ln_final\.weight.*resblocks\.0\.extra"):
        load_text_encoder(tmp_path / "x.bin")
