"""What kind a tag is of, and which tags stand above it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

from ram_ray.labels.lexicon import Lexicon
from ram_ray.labels.parser.inflection import noun_lemmas

# Senses below which a thing is a place: a noun and the category of the sense meant.
_PLACES = (
    ("building", "artifact"), ("room", "artifact"), ("establishment", "artifact"),
    ("way", "artifact"), ("facility", "artifact"), ("stadium", "artifact"), ("court", "location"),
    ("area", "artifact"), ("tract", "location"), ("region", "location"), ("point", "location"),
    ("geological formation", "object"), ("body of water", "object"), ("land", "object"),
    ("vegetation", "group"), ("dwelling", "artifact"), ("deck", "artifact"),
    ("stage", "artifact"), ("playground", "location"), ("sky", "object"),
)  # fmt: skip
# So wide that being above a tag tells nothing.
_TOO_WIDE = frozenset(
    "entity|physical entity|abstraction|abstract entity|object|physical object|thing|matter|whole|"
    "unit|artifact|artefact|living thing|organism|being|group|grouping|substance|part|piece|"
    "causal agent|cause|attribute|event|act|action|activity|instrumentality|structure|"
    "construction".split("|")
)


def kind_of(part: str, votes: Mapping[str, int], sense: int | None, lexicon: Lexicon) -> str:
    """Return object, scene, attribute or action.

    Args:
        votes: kind to how many lists and captions say so.
        sense: the noun's synset, None where it is not known.
    """
    if part != "noun":
        return "attribute" if part == "adj" else "action"
    if votes.get("scene", 0) > votes.get("object", 0):
        return "scene"
    if sense is not None and votes.get("object", 0) < 2 + votes.get("scene", 0):
        return "scene" if is_place(sense, lexicon) else "object"
    return "object"


def is_place(synset: int, lexicon: Lexicon) -> bool:
    """Tell whether a sense is a place that one can be in."""
    places = _places(lexicon)
    return synset in places or not places.isdisjoint(lexicon.above(synset))


@cache
def _places(lexicon: Lexicon) -> frozenset[int]:
    found = set()
    for noun, category in _PLACES:
        found.update([s for s in lexicon.senses(noun) if lexicon.category(s) == category][:1])
    return frozenset(found)


def parents_of(
    senses: Sequence[int | None], names: Sequence[str], stated: Sequence[set[str]], lexicon: Lexicon
) -> list[list[int]]:
    """Return the row numbers of the tags right above each tag.

    Above is what the lists state, the nearest tags over the tag's sense, and for a compound
    that the lexicon does not know ("cheese pizza") the tag of its last word.

    Args:
        senses: the synset of each tag; None where there is none.
        names: folded name of each tag.
        stated: folded names that lists put above each tag.
    """
    row_of_sense: dict[int, int] = {}
    row_of_name: dict[str, int] = {}
    for row, (sense, name) in enumerate(zip(senses, names, strict=True)):
        row_of_name.setdefault(name, row)
        if sense is not None and _TOO_WIDE.isdisjoint(lexicon.lemmas(sense)):
            row_of_sense.setdefault(sense, row)
    found: list[list[int]] = []
    for row, (sense, name) in enumerate(zip(senses, names, strict=True)):
        above = {row_of_name[parent] for parent in stated[row] if parent in row_of_name}
        if sense is not None:
            above |= _nearest(sense, row, row_of_sense, lexicon)
            if lexicon.category(sense) == "group":  # "people" are a group, and each a person
                members = noun_lemmas(name, lexicon)[1:]
                above |= {row_of_name[member] for member in members if member in row_of_name}
        elif " " in name and name not in lexicon:
            above |= {
                row_of_name[head] for head in [name.rpartition(" ")[2]] if head in row_of_name
            }
        found.append(sorted(above - {row}))
    return _without_circles(found)


def _nearest(sense: int, row: int, row_of_sense: Mapping[int, int], lexicon: Lexicon) -> set[int]:
    """Return the tags met first on each way up."""
    found: set[int] = set()
    level, seen = [sense], {sense}
    while level:
        following = []
        for synset in level:
            above = row_of_sense.get(synset, row)
            if above != row:
                found.add(above)
            else:
                following += [up for up in lexicon.hypernyms(synset) if up not in seen]
        seen.update(following)
        level = following
    return found


def _without_circles(parents: list[list[int]]) -> list[list[int]]:
    """Drop a parent through which a tag would stand above itself; lists can state such."""
    kept: list[list[int]] = [[] for _ in parents]
    for row, above in enumerate(parents):
        for parent in above:
            rest, seen = [parent], set()
            while rest:
                at = rest.pop()
                seen.add(at)
                rest += [up for up in kept[at] if up not in seen]
            if row not in seen:
                kept[row].append(parent)
    return kept


def merged_votes(votes: Sequence[Counter[str]]) -> Counter[str]:
    """Return the votes of all candidates of a tag together."""
    total: Counter[str] = Counter()
    for one in votes:
        total.update({kind: count for kind, count in one.items() if kind})
    return total
