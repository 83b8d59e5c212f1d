"""Object or scene: which nouns say where or when a picture is, rather than what is in it."""

from ram_ray.labels.lexicon import Lexicon

SCENE_ABOVE = (
    "geological formation", "body of water", "tract", "geographical area", "room", "road",
    "thoroughfare", "weather", "precipitation", "time period", "social event", "season", "land",
    "forest", "facility", "mercantile establishment", "place of business", "settlement",
    "stadium", "workplace", "place", "landscape", "passageway", "deck", "contest", "outdoors",
    "road surface", "storm", "ceremony", "celebration", "path",
)  # fmt: skip
"""A noun whose first visible sense is one of these or below is a scene."""
SCENES = frozenset(
    "airport alley aquarium arena backyard bar barn bathroom bay beach bedroom cafe cave church "
    "city class classroom coast concert countryside court crossing crosswalk dark darkness dawn "
    "desert dining room dock downtown driveway dusk evening fair farm field game garage garden "
    "gym hall hallway harbor highway hill home hospital hotel indoors intersection island jungle "
    "kitchen lab lake landscape lawn library lobby marina market meadow midnight mountain museum "
    "nature night nightclub ocean office outdoors park parking lot party path patio pier platform "
    "playground plaza pond pool port rain restaurant river road runway school sea shore shop "
    "sidewalk skate park skyline spring stadium stage station storm store street studio subway "
    "summer sunrise sunset swamp swimming pool theater town track trail tunnel twilight valley "
    "village waterfall waterfront wedding wilderness winter woods woodland yard zoo".split()
)
NOT_SCENES = frozenset(
    "sky snow grass sand water sun rock stone cloud moon house building bridge wall fence ice mud "
    "dirt ground floor tower tree hat cap bed table desk".split()
)
"""Things, where they are (labelling rule 5)."""


def noun_kind(noun: str, lexicon: Lexicon) -> str:
    """Return "scene" or "object"; a compound is what its last word is where nobody knows it."""
    if noun in NOT_SCENES:
        return "object"
    if noun in SCENES:
        return "scene"
    sense = lexicon.visible_sense(noun)
    if sense is None:
        head = noun.rsplit(" ", 1)[-1]
        return noun_kind(head, lexicon) if head != noun else "object"
    if lexicon.category(sense) in ("location", "time"):
        return "scene"
    if lexicon.category(sense) in ("animal", "person", "plant", "food", "body"):
        return "object"
    near = [sense, *lexicon.above(sense)]
    lemmas = {lemma for synset in near for lemma in lexicon.lemmas(synset)}
    return "scene" if lemmas & _SCENE_ABOVE else "object"


_SCENE_ABOVE = frozenset(SCENE_ABOVE)
