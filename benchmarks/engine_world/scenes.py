"""Scenes: which objects, where, in which colour, doing what. Truth is what can be seen."""

from typing import NamedTuple

import numpy as np

from benchmarks.engine_world.tags import (
    ACTIONS,
    COLOURS,
    FIRST_ACTION,
    FIRST_COLOUR,
    FIRST_SCENE,
    NUM_TAGS,
    SCENES,
    THINGS,
    zipf,
)

SIDE_PX = 96
LAWS_SEED = 20261126
"""Of what the whole world shares: which objects are frequent, and where they live."""
NUM_OBJECTS = np.array([0.22, 0.28, 0.22, 0.14, 0.08, 0.04, 0.02])
"""Chance of 1, 2, ... 7 objects."""
MEDIAN_SIZE_PX, SIZE_SIGMA, LEAST_SIZE_PX, MOST_SIZE_PX = 31.0, 0.3, 16.0, 46.0
SCENE_ALPHA = 0.5
"""Of the Dirichlet that makes scenes differ in their objects; small: very different."""
ACTION_SHARE = 0.45
"""Of the objects, those that do something."""


class Item(NamedTuple):
    """One object."""

    thing: int
    colour: int
    action: int | None
    x: float
    y: float
    size: float
    """Centre and diameter in pixels."""


class Scene(NamedTuple):
    """A background and objects, those at the back first."""

    scene: int
    items: tuple[Item, ...]


class Laws(NamedTuple):
    """Chances that hold in all of the world."""

    scenes: np.ndarray
    """[8]."""
    things: np.ndarray
    """[8, 24], given the scene."""
    colours: np.ndarray
    """[24, 8], given the object."""
    actions: np.ndarray
    """[8, 8], given the scene."""


def laws() -> Laws:
    """Return the chances; the same at every call."""
    generator = np.random.default_rng(LAWS_SEED)
    order = generator.permutation(len(THINGS))
    base = np.empty(len(THINGS))
    base[order] = zipf(len(THINGS))
    things = np.stack([_mixed(base, generator) for _ in SCENES])
    colours = np.stack([_mixed(_shuffled(len(COLOURS), generator), generator) for _ in THINGS])
    actions = np.stack([_mixed(_shuffled(len(ACTIONS), generator), generator) for _ in SCENES])
    return Laws(_shuffled(len(SCENES), generator), things, colours, actions)


def _shuffled(count: int, generator: np.random.Generator) -> np.ndarray:
    return generator.permutation(zipf(count))


def _mixed(base: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the base, bent at random by a Dirichlet around it."""
    bent = generator.dirichlet(np.maximum(base * len(base) * SCENE_ALPHA, 0.05))
    return 0.5 * base + 0.5 * bent


def draw_scene(law: Laws, generator: np.random.Generator) -> Scene:
    """Return a random scene."""
    scene = int(generator.choice(len(SCENES), p=law.scenes))
    count = 1 + int(generator.choice(len(NUM_OBJECTS), p=NUM_OBJECTS / NUM_OBJECTS.sum()))
    items = []
    for _ in range(count):
        thing = int(generator.choice(len(THINGS), p=law.things[scene]))
        acts = generator.random() < ACTION_SHARE
        size = float(
            np.clip(
                MEDIAN_SIZE_PX * np.exp(SIZE_SIGMA * generator.normal()),
                LEAST_SIZE_PX,
                MOST_SIZE_PX,
            )
        )
        x, y = generator.uniform(0.4 * size, SIDE_PX - 0.4 * size, 2)
        items.append(
            Item(
                thing=thing,
                colour=int(generator.choice(len(COLOURS), p=law.colours[thing])),
                action=int(generator.choice(len(ACTIONS), p=law.actions[scene])) if acts else None,
                x=float(x),
                y=float(y),
                size=size,
            )
        )
    return Scene(scene, tuple(items))


class Truth(NamedTuple):
    """What can be seen."""

    tags: np.ndarray
    """bool [48]."""
    saliency: np.ndarray
    """float32 [48], share of the picture x contrast 0..1; 0 for what is not there."""
    boxes: dict[int, tuple[float, float, float, float]]
    """Of each tag but the scene, its most salient place: left, top, right, bottom, 0..1."""


SCENE_SALIENCY = 0.055
"""A scene fills the picture, but people name it about as often as a middle-sized object."""
LEAST_VISIBLE_PX = 30
"""An object of which fewer pixels are visible is not there."""
LEAST_VISIBLE_SHARE = 0.25


def truth_of(scene: Scene, visible: np.ndarray, full: np.ndarray, contrast: np.ndarray) -> Truth:
    """Return the truth of a rendered scene.

    Args:
        visible: [items], pixels not hidden by others or the frame.
        full: [items], pixels of the whole object.
        contrast: [items], 0..1, colour distance to what is around.
    """
    tags = np.zeros(NUM_TAGS, bool)
    saliency = np.zeros(NUM_TAGS, np.float32)
    boxes: dict[int, tuple[float, float, float, float]] = {}
    tags[FIRST_SCENE + scene.scene] = True
    saliency[FIRST_SCENE + scene.scene] = SCENE_SALIENCY
    for at, item in enumerate(scene.items):
        if visible[at] < max(LEAST_VISIBLE_PX, LEAST_VISIBLE_SHARE * full[at]):
            continue
        value = float(visible[at] / SIDE_PX**2 * contrast[at])
        named = [item.thing, FIRST_COLOUR + item.colour]
        if item.action is not None:
            named.append(FIRST_ACTION + item.action)
        for tag in named:
            tags[tag] = True
            if value > saliency[tag]:
                saliency[tag] = value
                boxes[tag] = _box(item)
    return Truth(tags, saliency, boxes)


def _box(item: Item) -> tuple[float, float, float, float]:
    half = item.size / 2
    edges = [item.x - half, item.y - half, item.x + half, item.y + half]
    left, top, right, bottom = (min(max(edge / SIDE_PX, 0.0), 1.0) for edge in edges)
    return left, top, right, bottom
