"""The word tables that ship with the package."""

from ram_ray.labels.lexicon import FOLDER, load_lexicon

LEXICON = load_lexicon()


def test_counts_tell_nouns_from_verbs() -> None:
    assert LEXICON.counts("dog").noun > LEXICON.counts("dog").verb >= 0
    assert LEXICON.counts("walk").verb > LEXICON.counts("walk").noun > 0
    assert LEXICON.counts("zzyzx") == (-1, -1, -1, -1)


def test_visible_sense_prefers_what_a_picture_shows() -> None:
    categories = {
        noun: LEXICON.category(sense)
        for noun in ("table", "hot dog", "puppy", "evening")
        if (sense := LEXICON.visible_sense(noun)) is not None
    }
    assert categories == {
        "table": "artifact",
        "hot dog": "food",
        "puppy": "animal",
        "evening": "time",
    }


def test_a_puppy_is_a_dog_and_a_sofa_a_couch() -> None:
    puppy = LEXICON.senses("puppy")[0]
    assert "dog" in {lemma for up in LEXICON.above(puppy) for lemma in LEXICON.lemmas(up)}
    assert "couch" in LEXICON.lemmas(LEXICON.senses("sofa")[0])


def test_proper_names_are_left_out() -> None:
    assert LEXICON.senses("london") == LEXICON.senses("shakespeare") == []


def test_definitions_name_equipment_parts_food_and_young() -> None:
    glove = LEXICON.senses("baseball glove")[0]
    assert glove in LEXICON.equipment(LEXICON.senses("baseball")[0])
    assert [LEXICON.first_part(noun) for noun in ("bookshelf", "clock tower", "carpet")] == [
        "book",
        "clock",
        "",
    ]
    assert LEXICON.goes_with_food(LEXICON.senses("dining table")[0])
    assert not LEXICON.goes_with_food(LEXICON.senses("bicycle")[0])
    assert LEXICON.young_of(LEXICON.senses("kitten")[0]) == "cat"


def test_source_and_licence_are_named_beside_the_tables() -> None:
    text = (FOLDER / "SOURCES.md").read_text(encoding="utf-8")
    for table in FOLDER.glob("*.parquet"):
        assert table.name in text
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in text
