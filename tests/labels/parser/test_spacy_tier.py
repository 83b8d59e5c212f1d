"""Parts of speech from an installed spaCy pipeline."""

from pathlib import Path

import numpy as np
import pytest

from ram_model.vocabulary import Vocabulary
from ram_ray.errors import ConfigError
from ram_ray.labels.parser.caption_parser import CaptionParser

VOCABULARY = Vocabulary(
    names=("dog", "park", "hot dog", "walk"), thresholds=np.full(4, 0.5, np.float32)
)


@pytest.fixture
def pipeline(tmp_path: Path) -> str:
    """Write a pipeline that reads every "park" as a past participle, and no other word."""
    spacy = pytest.importorskip("spacy", reason="SPACY IS NOT INSTALLED: its tier is not tested")
    language = spacy.blank("en")
    ruler = language.add_pipe("attribute_ruler")
    ruler.add([[{"LOWER": "park"}]], {"POS": "VERB", "TAG": "VBN"})
    language.to_disk(tmp_path / "pipeline")
    return str(tmp_path / "pipeline")


def test_the_pipeline_reads_content_words_and_the_rules_the_rest(pipeline: str) -> None:
    captions = ["\U0001f415 a park with hot dogs", "no dog in a park"]
    rows = CaptionParser(VOCABULARY, spacy=pipeline).parse(captions).to_pylist()
    assert [(row["tags"], row["kinds"]) for row in rows] == [
        (["park", "hot dog"], ["action", "object"]),
        (["park"], ["action"]),
    ]
    rows = CaptionParser(VOCABULARY).parse(captions).to_pylist()
    assert rows[0]["kinds"] == ["scene", "object"]


def test_a_pipeline_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="en_core_nowhere"):
        CaptionParser(VOCABULARY, spacy="en_core_nowhere")
