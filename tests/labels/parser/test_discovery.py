"""Candidates of a corpus: names, kinds, frequencies."""

from ram_ray.labels.parser.discovery import Discovery, discover

CAPTIONS = [
    "Two brown dogs run on the beach .",
    "A dog sits on the beach without a ball .",
    "A man opens a castle gate in a kitchen .",
    "An older man holds a wooden chair .",
]


def test_counts_captions_by_lemma_and_kind() -> None:
    rows = {(row["name"], row["kind"]): row["frequency"] for row in discover(CAPTIONS).to_pylist()}
    assert rows[("dog", "object")] == 2
    assert rows[("beach", "scene")] == 2
    assert rows[("kitchen", "scene")] == 1
    assert rows[("run", "action")] == 1
    assert rows[("old", "attribute")] == 1
    assert rows[("wood", "attribute")] == 1
    assert rows[("gate", "object")] == 1
    assert rows[("castle gate", "object")] == 1
    assert ("ball", "object") not in rows  # absent


def test_table_is_sorted_and_the_same_each_time() -> None:
    table = discover(CAPTIONS)
    assert table["frequency"].to_pylist() == sorted(table["frequency"].to_pylist(), reverse=True)
    assert discover(iter(CAPTIONS)).equals(table)


def test_batches_add_up() -> None:
    discovery = Discovery()
    for caption in CAPTIONS:
        discovery.add([caption])
    assert discovery.to_table().equals(discover(CAPTIONS))
    assert discovery.num_captions == 4
