"""The vocabulary of a run, kept in its output: every step and every worker reads this one."""

import tempfile
from pathlib import Path

from ram_model.vocabulary import Vocabulary
from ram_ray.storage.stores import Store

VOCABULARY_KEY = "vocabulary.parquet"


def read_run_vocabulary(store: Store) -> Vocabulary:
    """Return the vocabulary of a run, from its output."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / VOCABULARY_KEY
        path.write_bytes(store.read(VOCABULARY_KEY))
        return Vocabulary.from_parquet(path)
