"""Closed word classes, and the small sets of words that the rules treat alike."""

from ram_ray.labels.parser import speech

_CLASSES = {
    speech.DET: "a an the this these those some any every each another both all no several many "
    "few other what various multiple such either neither",
    speech.POSS: "his her its their my our your whose",
    speech.PREP: "in on at of with by from into onto over under through across near behind beside "
    "beneath between among against along around down up off for about above after before below "
    "during inside outside toward towards underneath upon via within without past atop amid "
    "amidst amongst out like as than next while if because until since unlike per versus "
    "alongside whilst aboard beyond throughout despite except besides w",
    speech.CONJ: "and or but nor & plus yet so",
    speech.PRON: "he she it they him them himself herself itself themselves i you we us me "
    "there something someone somebody anything anyone everyone everything others nothing "
    "nobody none who's it's he's she's they're each-other",
    speech.BE: "is are was were be been being am isn't aren't wasn't weren't",
    speech.HAVE: "has have had having hasn't haven't",
    speech.MODAL: "can could will would may might must should shall do does did don't doesn't "
    "didn't can't cannot couldn't won't wouldn't",
    speech.TO: "to",
    speech.NOT: "not never n't",
    speech.REL: "who which that where whom when",
    speech.ADV: "very just also only together away here now then too quite almost still again "
    "ahead apart even ever perhaps maybe rather once twice downhill uphill upwards downwards "
    "forward forwards backward backwards sideways upstairs downstairs outdoors indoors nearby "
    "halfway else how why",
    speech.NUM: "one two three four five six seven eight nine ten eleven twelve dozen hundred "
    "hundreds dozens thousand thousands",
}
FUNCTION_WORDS = {word: tag for tag, words in _CLASSES.items() for word in words.split()}

COLORS = frozenset(
    "red blue green yellow white black brown gray grey orange pink purple tan beige gold golden "
    "silver blond blonde maroon turquoise teal navy violet cream crimson scarlet magenta cyan "
    "lavender indigo khaki olive".split()
)
MATERIALS = frozenset(
    "wood metal stone brick glass plastic leather steel concrete paper iron cotton denim ceramic "
    "marble wool silk clay rubber cardboard rope straw bamboo copper bronze brass velvet lace "
    "granite porcelain chrome aluminum linen nylon wicker wax dirt gravel tile felt foam fur "
    "wire satin canvas vinyl tin cement sandstone mahogany oak pine cobblestone stucco".split()
)
MADE_OF = {
    "wooden": "wood",
    "woolen": "wool",
    "woollen": "wool",
    "golden": "gold",
    "silken": "silk",
    "metallic": "metal",
    "leathery": "leather",
    "bricked": "brick",
    "tiled": "tile",
    "furry": "furry",
}
"""Adjectives of material, and the material they name."""

NOT_ALIVE = frozenset("stuffed plush".split())
"""Before an animal or a person, these make it a toy: "a stuffed bear" is no bear."""

SEVERAL = frozenset(
    "people police couple men women children group crowd family team cattle sheep deer fish pair "
    "folks others everyone".split()
)
"""Nouns that take a plural verb though they need no plural ending."""

POSITIONS = frozenset(
    "front side top left right bottom middle back end foot rear center centre edge sides ends "
    "inside outside distance way direction".split()
)
"""Places in words, not in the world: no tag."""
QUANTITIES = frozenset(
    "group couple pair row slice lot lots bunch number piece pieces set variety kind type series "
    "stack pile assortment collection line slices rows dozen bit array part half groups pairs "
    "selection handful plenty amount sort kinds types bunches sets sorts parts".split()
)
"""Before "of", these count something else: no tag."""
SHELLS = frozenset(
    "interior landscape area scene scenery setting environment building district region".split()
)
"""Heads that say little: "kitchen interior" shows a kitchen."""
PICTURES = frozenset(
    "photo picture image view shot close-up closeup photograph scene display portrait "
    "background foreground".split()
)
"""Before "of", these are the picture itself: no tag."""
EMPTY_VERBS = frozenset(
    "be have do get go seem try let become use make take come keep appear start begin need want "
    "say include contain".split()
)
"""Verbs that say nothing one can see."""
EMPTY_NOUNS = frozenset(
    "thing something one ones other others s time day use air fun each lot way kind area "
    "front middle".split()
)
EMPTY_ADJECTIVES = frozenset(
    "other same own different several many such various next certain few more most much able "
    "first second last main".split()
)
