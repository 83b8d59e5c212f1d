import json
import shutil
from pathlib import Path

import pytest
import torch

from ram_model import CaptionError, CaptionOptions, CheckpointError, Tagger, load_folder
from ram_model.files.caption_files import CAPTION_WEIGHTS, WORD_PIECES
from ram_model.files.checkpoint import CONFIG, VOCABULARY, WEIGHTS, save_folder, write_checksums
from tests.model.tiny_captions import PIECES, captioning_model, pixels, write_captioning_folder
from tests.model.tiny_captions import VOCABULARY as TAGS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_captioning_folder(tmp_path_factory.mktemp("captions") / "model")


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "damaged")


def test_folder_round_trip(folder: Path) -> None:
    loaded = load_folder(folder, captions=True)
    original = captioning_model()
    assert loaded.config == original.config
    assert loaded.tokenizer is not None
    state = loaded.model.state_dict()
    assert state.keys() == original.state_dict().keys()
    for name, tensor in original.state_dict().items():
        assert torch.equal(state[name], tensor), name


def test_tagging_never_opens_the_caption_side(damaged: Path) -> None:
    (damaged / CAPTION_WEIGHTS).write_bytes(b"nonsense")
    (damaged / WORD_PIECES).unlink()
    loaded = load_folder(damaged)
    assert loaded.model.caption_head is None
    assert loaded.config.captions is None
    assert loaded.tokenizer is None
    assert Tagger.load(damaged)(pixels(1))[0].caption is None


@pytest.mark.parametrize("name", [CAPTION_WEIGHTS, WORD_PIECES])
def test_damaged_and_missing_files_are_named(damaged: Path, name: str) -> None:
    with (damaged / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(CheckpointError, match=f"{name} is not the file that"):
        load_folder(damaged, captions=True)
    (damaged / name).unlink()
    with pytest.raises(CaptionError, match=f"no {name}"):
        load_folder(damaged, captions=True)


def test_models_without_captions_say_so(tmp_path: Path) -> None:
    sentence = "has no caption decoder, it only tags: tag2text has one"
    folder = write_captioning_folder(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["captions"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "checksums.json").unlink()
    write_checksums(folder, [CONFIG, WEIGHTS, VOCABULARY])
    with pytest.raises(CaptionError, match=sentence):
        Tagger.load(folder, captions=CaptionOptions())


def test_weights_in_16_bit_still_write(tmp_path: Path) -> None:
    word_pieces = tmp_path / "vocab.txt"
    word_pieces.write_text("\n".join(PIECES), encoding="utf-8")
    model = captioning_model()
    folder = save_folder(
        model, model.config, TAGS, tmp_path / "half", dtype=torch.float16, word_pieces=word_pieces
    )
    tagger = Tagger.load(folder, captions=CaptionOptions(max_length=12), batch_size=1)
    assert tagger.captions_sha256 is not None
    assert isinstance(tagger(pixels(1))[0].caption, str)


def test_word_pieces_must_come_and_fit(tmp_path: Path) -> None:
    model = captioning_model()
    with pytest.raises(CaptionError, match="name its list of word_pieces"):
        save_folder(model, model.config, TAGS, tmp_path / "model")
    word_pieces = tmp_path / "vocab.txt"
    word_pieces.write_text("\n".join([*PIECES, "zebra"]), encoding="utf-8")
    with pytest.raises(CaptionError, match=f"holds {len(PIECES) + 1} word pieces"):
        save_folder(model, model.config, TAGS, tmp_path / "model", word_pieces=word_pieces)
