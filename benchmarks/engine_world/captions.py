"""Captions as noisy as the web's: what people mention, what they get wrong, and the sentence."""

from typing import NamedTuple

import numpy as np

from benchmarks.engine_world.scenes import Laws, Scene, Truth
from benchmarks.engine_world.tags import (
    ACTIONS,
    FIRST_ACTION,
    FIRST_COLOUR,
    FIRST_SCENE,
    NAMES,
    NUM_TAGS,
    SCENES,
    THINGS,
    look_alike,
)

_GERUNDS = tuple(ACTIONS)


class Noise(NamedTuple):
    """Rates of the noise; `pinned.NOISE` holds the ones of the benchmark."""

    slope: float
    """A tag is mentioned with chance sigmoid(slope * log(saliency) + offset)."""
    offset: float
    wrong: float
    """Chance per mentioned tag that something wrong comes with it or in its place."""
    swapped: float
    """Share of images that have the caption of another image."""
    alias: float = 0.15
    """Chance that an object is called by another name, where it has one."""


class Mention(NamedTuple):
    """What a caption says, before it is put into words."""

    tags: np.ndarray
    """bool [48]."""
    plural: frozenset[int]
    """Things there are several of."""
    pairs: dict[int, tuple[int | None, int | None]]
    """Of a thing, the colour and the action it is mentioned with, as tag ids."""


LOOK_ALIKE, TYPICAL = 0.4, 0.4
"""Of the wrong tags: a look-alike in place of the right one; something typical of such a place;
the rest is any absent tag."""


def mention(
    scene: Scene, truth: Truth, law: Laws, noise: Noise, rng: np.random.Generator
) -> Mention:
    """Return what one person says about a scene."""
    logits = noise.slope * np.log(np.maximum(truth.saliency, 1e-6)) + noise.offset
    said = truth.tags & (rng.random(NUM_TAGS) < 1 / (1 + np.exp(-logits)))
    for tag in np.flatnonzero(said).tolist():
        if rng.random() >= noise.wrong:
            continue
        dice = rng.random()
        if dice < LOOK_ALIKE:
            other = look_alike(tag, rng)
            if not truth.tags[other]:
                said[tag], said[other] = False, True
        elif dice < LOOK_ALIKE + TYPICAL:
            other = _typical(scene, law, rng)
            said[other] = True
        else:
            said[int(rng.integers(NUM_TAGS))] = True
    counts = np.bincount([item.thing for item in scene.items], minlength=len(THINGS))
    return Mention(said, frozenset(np.flatnonzero(counts > 1).tolist()), _pairs(scene, said, rng))


def _typical(scene: Scene, law: Laws, rng: np.random.Generator) -> int:
    if rng.random() < 0.7:
        return int(rng.choice(len(THINGS), p=law.things[scene.scene]))
    return FIRST_ACTION + int(rng.choice(len(ACTIONS), p=law.actions[scene.scene]))


def _pairs(
    scene: Scene, said: np.ndarray, rng: np.random.Generator
) -> dict[int, tuple[int | None, int | None]]:
    """Return which colour and action goes with which thing; a wrong one goes with any."""
    pairs: dict[int, tuple[int | None, int | None]] = {
        tag: (None, None) for tag in np.flatnonzero(said[:FIRST_SCENE]).tolist()
    }
    left = set((np.flatnonzero(said[FIRST_COLOUR:]) + FIRST_COLOUR).tolist())
    for item in scene.items:
        if item.thing in pairs:
            colour, action = pairs[item.thing]
            own = FIRST_COLOUR + item.colour
            if colour is None and own in left:
                colour = own
                left.discard(own)
            own = FIRST_ACTION + item.action if item.action is not None else -1
            if action is None and own in left:
                action = own
                left.discard(own)
            pairs[item.thing] = (colour, action)
    for tag in sorted(left):
        free = [t for t, p in pairs.items() if p[int(tag >= FIRST_ACTION)] is None]
        if free:
            thing = int(rng.choice(free))
            colour, action = pairs[thing]
            pairs[thing] = (colour, int(tag)) if tag >= FIRST_ACTION else (int(tag), action)
    return pairs


_OPENINGS = ("", "", "a photo of ", "there is ", "picture of ")
_IRREGULAR = {"wolf": "wolves", "box": "boxes", "fox": "foxes", "butterfly": "butterflies"}


def sentence(said: Mention, noise: Noise, rng: np.random.Generator) -> str:
    """Return the caption of what is said; "a picture" where nothing is."""
    paired = {tag for pair in said.pairs.values() for tag in pair if tag is not None}
    phrases = [_phrase(thing, pair, said, noise, rng) for thing, pair in said.pairs.items()]
    rng.shuffle(phrases)
    loose = [t for t in np.flatnonzero(said.tags).tolist() if t >= FIRST_COLOUR and t not in paired]
    for tag in loose:
        if tag < FIRST_ACTION:
            phrases.append(f"something {NAMES[tag]}")
        else:
            phrases.append(f"something {_GERUNDS[tag - FIRST_ACTION]}")
    scenes = [SCENES[t - FIRST_SCENE] for t in _scenes(said)]
    place = " and ".join(f"{_before(name)} {name}" for name in scenes)
    body = _join(phrases) if phrases else ""
    opening = str(rng.choice(_OPENINGS))
    if body and place:
        return f"{opening}{body} {place}"
    if body:
        return f"{opening}{body}"
    return f"{opening}a view {place}" if place else "a picture"


def _scenes(said: Mention) -> list[int]:
    return [t for t in np.flatnonzero(said.tags).tolist() if FIRST_SCENE <= t < FIRST_COLOUR]


def _before(scene: str) -> str:
    return "on the" if scene in ("beach", "street") else "in the"


def _phrase(
    thing: int,
    pair: tuple[int | None, int | None],
    said: Mention,
    noise: Noise,
    rng: np.random.Generator,
) -> str:
    name = THINGS[thing].name
    if THINGS[thing].aliases and rng.random() < noise.alias:
        name = str(rng.choice(THINGS[thing].aliases))
    colour, action = pair
    words = [] if colour is None else [NAMES[colour]]
    if thing in said.pairs and thing in said.plural and rng.random() < 0.7:
        words = [str(rng.choice(("two", "some", "several"))), *words, _plural(name)]
    else:
        words = ["a", *words, name]
        if words[1][0] in "aeiou":
            words[0] = "an"
    if action is not None:
        verb = _GERUNDS[action - FIRST_ACTION]
        words.append(verb if rng.random() < 0.3 else f"that is {verb}")
    return " ".join(words)


def _plural(name: str) -> str:
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    if name.endswith(("sh", "ch", "x")):
        return f"{name}es"
    return f"{name[:-1]}ies" if name.endswith(("by", "ry", "py", "ny", "ly")) else f"{name}s"


def _join(phrases: list[str]) -> str:
    if len(phrases) == 1:
        return phrases[0]
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"
