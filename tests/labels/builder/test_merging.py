import pytest

from ram_ray.labels.builder.candidates import Gathered, Key, gather
from ram_ray.labels.builder.lists import Entry, SourceList
from ram_ray.labels.builder.merging import Clusters, merge_candidates
from ram_ray.labels.builder.names import clean
from ram_ray.labels.lexicon import load_lexicon


def source(name: str, *entries: str, kind: str = "object", synset: int | None = None) -> SourceList:
    """Return a list; `a|b` are names of one entry."""
    made = [
        Entry(
            names=tuple(clean(part) for part in entry.split("|")),
            line=line,
            kind=kind,
            synset=synset,
        )
        for line, entry in enumerate(entries, start=1)
    ]
    return SourceList(name=name, entries=tuple(made))


def merged(
    *lists: SourceList, clusters: Clusters | None = None, **captions: int
) -> tuple[Clusters, Gathered]:
    """Return the clusters of lists and of captions; `running__action=3` is a phrase."""
    discovered = {
        (name.partition("__")[0].replace("_", " "), name.partition("__")[2]): count
        for name, count in captions.items()
    }
    lexicon = load_lexicon()
    gathered = gather(lists, discovered, lexicon)
    clusters = clusters or Clusters()
    merge_candidates(gathered, lexicon, clusters)
    return clusters, gathered


def noun(text: str) -> Key:
    return Key(text, "noun")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("sail boat", "sailboat"), "spelling"),
        (("hot dog", "hot-dog"), None),  # the same key already
        (("giraffe", "giraffes"), None),
        (("tyre", "tire"), "spelling"),
        (("color", "colour"), "spelling"),
        (("police car", "squad car"), "synonym"),  # one sense each, the same
        (("snowboarder", "surfer"), ""),
        (("pumpkin seed", "pumpkinseed"), ""),  # food, and a fish
        (("arm", "sleeve"), ""),  # WordNet knows "arm" for a sleeve
        (("child", "fry"), ""),
    ],
)
def test_two_names_of_one_list_of_words(names: tuple[str, str], reason: str | None) -> None:
    # two lists, so that no list keeps the names apart
    clusters, gathered = merged(source("one", names[0]), source("two", names[1]))
    if reason is None:
        assert len(gathered.candidates) == 1
    else:
        assert [merge.reason for merge in clusters.merges] == ([reason] if reason else [])


def test_a_list_joins_what_mostly_means_its_entry() -> None:
    clusters, _ = merged(source("lvis", "bicycle|bike"), bike__object=9)
    assert clusters.head(noun("bike")) == noun("bicycle")
    assert clusters.merges[0].evidence == "lvis:1"


def test_what_mostly_means_something_else_is_only_proposed() -> None:
    clusters, _ = merged(source("lvis", "wall socket|outlet|electric outlet"), outlet__object=9)
    assert clusters.merges == []
    assert [(p.name.text, p.other.text) for p in clusters.proposals] == [("wall socket", "outlet")]


def test_wordnets_own_names_must_mean_it_more_clearly_than_an_image_lists() -> None:
    lexicon = load_lexicon()
    (bicycle,) = lexicon.senses("bicycle")
    assert lexicon.sense_share("bike", bicycle) == 0.5
    clusters, _ = merged(source("in", "bicycle|bike", synset=bicycle), bike__object=9)
    assert clusters.merges == []


def test_a_name_that_two_entries_claim_is_only_proposed() -> None:
    lists = (source("a", "zorb|glomp"), source("b", "frob|glomp"))
    clusters, _ = merged(*lists, glomp__object=9)
    assert clusters.merges == []
    assert len(clusters.proposals) == 2


def test_a_list_of_concepts_keeps_its_entries_apart() -> None:
    joins = source("one", "zorb|glomp")
    clusters, _ = merged(joins, source("two", "zorb", "glomp"))
    assert clusters.merges == []
    assert "two keeps them apart" in clusters.proposals[0].why


def test_a_list_of_words_keeps_nothing_apart() -> None:
    words = source("words", "zorb", "zorbs", "glomp")  # its plural shows what it is
    clusters, _ = merged(source("one", "zorb|glomp"), words)
    assert clusters.head(noun("glomp")) == noun("zorb")


def test_a_gerund_is_the_action_and_a_building_is_a_thing() -> None:
    clusters, _ = merged(source("things", "surfing", "building"), surf__action=5, build__action=5)
    assert clusters.head(noun("surfing")) == Key("surf", "verb")
    assert clusters.head(noun("building")) == noun("building")


def test_fixed_tags_are_never_merged_with_each_other() -> None:
    fixed = frozenset((noun("police car"), noun("squad car")))
    lists = (
        source("one", "police car"),
        source("two", "squad car|prowl car"),
        source("x", "prowl car"),
    )
    clusters, _ = merged(*lists, clusters=Clusters(fixed=fixed))
    assert {clusters.head(key) for key in fixed} == fixed
    assert clusters.head(noun("prowl car")) in fixed
