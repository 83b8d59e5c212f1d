from pathlib import Path

import numpy as np
import pytest

from ram_ray.errors import ConfigError
from ram_ray.labels.builder.build import build_vocabulary
from ram_ray.labels.builder.config import BuildConfig, ListConfig
from ram_ray.labels.builder.neighbours import Neighbours, close_pairs
from tests.labels.builder.sources import write_list
from tests.model.tiny_clip import write_text_encoder


def test_close_pairs_come_once_the_closest_first() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [0.96, 0.28]], np.float32)
    assert close_pairs(vectors, least=0.9) == [Neighbours(0, 3, 0.96), Neighbours(1, 3, 0.936)]


def test_neighbours_are_proposed_and_not_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text_encoder(tmp_path)
    path = write_list(tmp_path, "things", "dog", "lamp", "bench")
    monkeypatch.setattr("ram_ray.labels.builder.neighbours.close_pairs.__defaults__", (-1.0,))
    config = BuildConfig(
        output=str(tmp_path / "out"),
        lists=(ListConfig(path=path),),
        text_encoder=str(tmp_path / "text_encoder"),
    )
    build = build_vocabulary(config)
    assert len(build.tags) == 3
    assert len(build.proposals) == 3
    assert all("embeddings are close" in proposal.why for proposal in build.proposals)


def test_a_text_encoder_that_is_none_is_an_error(tmp_path: Path) -> None:
    lists = (ListConfig(path=write_list(tmp_path, "things", "dog")),)
    config = BuildConfig(output=str(tmp_path), lists=lists, text_encoder=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"text_encoder is .*none"):
        build_vocabulary(config)
