"""The 48 tags of the world: what each looks like, how often it occurs, what it is mistaken for."""

from typing import NamedTuple

import numpy as np

from ram_model.vocabulary import Vocabulary


class Thing(NamedTuple):
    """An object tag: a shape with a texture."""

    name: str
    shape: str
    texture: str
    aliases: tuple[str, ...] = ()


THINGS = (
    # look-alikes stand side by side: one shape, two textures
    Thing("dog", "circle", "plain", ("puppy",)),
    Thing("wolf", "circle", "rings"),
    Thing("horse", "square", "plain", ("pony",)),
    Thing("zebra", "square", "bars"),
    Thing("cat", "triangle", "plain", ("kitten",)),
    Thing("fox", "triangle", "layers"),
    Thing("kite", "diamond", "plain"),
    Thing("flag", "diamond", "checks", ("banner",)),
    Thing("flower", "star", "plain", ("blossom",)),
    Thing("butterfly", "star", "dots"),
    Thing("car", "ellipse", "plain", ("automobile",)),
    Thing("truck", "ellipse", "bars", ("lorry",)),
    Thing("clock", "hexagon", "plain"),
    Thing("ball", "hexagon", "dots"),
    Thing("umbrella", "half", "plain", ("parasol",)),
    Thing("mushroom", "half", "dots"),
    Thing("bottle", "tall", "plain"),
    Thing("vase", "tall", "layers"),
    Thing("guitar", "cross", "plain"),
    Thing("violin", "cross", "checks", ("fiddle",)),
    # four that are unlike each other and the rest
    Thing("tree", "arrow", "layers"),
    Thing("ladder", "ladder", "plain"),
    Thing("boat", "boat", "plain", ("ship",)),
    Thing("wheel", "ring", "plain"),
)
SCENES = ("beach", "forest", "kitchen", "street", "desert", "bedroom", "field", "cave")
COLOURS = {
    "red": (214, 44, 44),
    "green": (58, 160, 66),
    "blue": (52, 92, 214),
    "yellow": (236, 212, 58),
    "purple": (150, 62, 180),
    "brown": (124, 80, 42),
    "white": (240, 240, 240),
    "black": (28, 28, 30),
}
ACTIONS = {
    "running": "run",
    "jumping": "jump",
    "flying": "fly",
    "swimming": "swim",
    "sleeping": "sleep",
    "dancing": "dance",
    "burning": "burn",
    "smoking": "smoke",
}
"""The word in a caption, and the tag."""

NAMES = (*(thing.name for thing in THINGS), *SCENES, *COLOURS, *ACTIONS.values())
KINDS = (
    *["object"] * len(THINGS),
    *["scene"] * len(SCENES),
    *["attribute"] * len(COLOURS),
    *["action"] * len(ACTIONS),
)
NUM_TAGS = len(NAMES)
FIRST_SCENE = len(THINGS)
FIRST_COLOUR = FIRST_SCENE + len(SCENES)
FIRST_ACTION = FIRST_COLOUR + len(COLOURS)
NUM_LOOK_ALIKES = 10
"""The first so many pairs of THINGS."""
ZIPF_EXPONENT = 0.8


def vocabulary() -> Vocabulary:
    """Return the tags as the parser and the engine know them."""
    aliases = [thing.aliases for thing in THINGS] + [()] * (NUM_TAGS - len(THINGS))
    return Vocabulary(
        names=NAMES,
        thresholds=np.full(NUM_TAGS, 0.5, np.float32),
        kinds=KINDS,
        aliases=tuple(aliases),
    )


def look_alike(tag_id: int, generator: np.random.Generator) -> int:
    """Return what an object is mistaken for; another tag of the kind where it has no look-alike."""
    if tag_id < 2 * NUM_LOOK_ALIKES:
        return tag_id ^ 1
    own = [t for t in range(NUM_TAGS) if KINDS[t] == KINDS[tag_id] and t != tag_id]
    return int(generator.choice(own))


def zipf(count: int) -> np.ndarray:
    """Return float64 [count], falling shares that sum to 1."""
    weights = np.arange(1, count + 1, dtype=np.float64) ** -ZIPF_EXPONENT
    return weights / weights.sum()
