"""From forms to lemmas and back: plurals, verb forms, comparatives, British and American spelling.

Irregular forms come from the lexicon; the rules below undo regular endings and keep a result only
where the lexicon (or the vocabulary, through `known`) has it. A word nobody knows gets the most
regular reading, so that "jumpes" and "cockapoos" still find their lemma.
"""

import re
from collections.abc import Callable, Iterator

from ram_ray.labels.lexicon import Lexicon

Known = Callable[[str], bool]

_VOWELS = "aeiou"

NO_PLURAL = frozenset(
    "glass grass dress bus gas lens iris moss boss cross class brass bass harness mattress "
    "waitress actress princess hostess octopus cactus platypus hippopotamus walrus tennis atlas "
    "canvas christmas news series species chess wilderness business compress cypress watercress "
    "this is was has his its yes us".split()
)
"""Singular words that end in s."""


_SPECIAL_NOUNS = {"people": ("people", "person"), "busses": ("bus",), "gasses": ("gas",)}
PLURAL_ONLY = frozenset(
    "jeans shorts pants trousers sunglasses glasses eyeglasses goggles scissors tights leggings "
    "pajamas pyjamas binoculars headphones clothes overalls khakis slacks pliers tongs tweezers "
    "stairs bleachers fries woods groceries shades headlights".split()
)
"""Things whose name is a plural; a lemma of their own first, their singular second."""


def noun_lemmas(form: str, lexicon: Lexicon, known: Known | None = None) -> list[str]:
    """Return the singular forms that `form` may be a plural of; the likeliest first.

    A word that is a lemma itself comes first where it is better known as such ("people").
    """
    if form in _SPECIAL_NOUNS:
        return list(_SPECIAL_NOUNS[form])
    is_noun = _is_known(lexicon, "noun", known)
    found = [lemma for lemma in lexicon.irregular(form, "noun") if is_noun(lemma)]
    if form not in NO_PLURAL:
        found += [lemma for lemma in _singulars(form) if is_noun(lemma)]
    if form in PLURAL_ONLY:
        return list(dict.fromkeys([form, *found]))
    if is_noun(form):
        best = max((lexicon.counts(lemma).noun for lemma in found), default=-1)
        found.insert(0 if lexicon.counts(form).noun > best else len(found), form)
    if not found and len(form) > 3 and form not in NO_PLURAL:
        found = list(_singulars(form))[:1]
    return list(dict.fromkeys(found)) or [form]


def is_plural(form: str, lexicon: Lexicon) -> bool:
    """Tell whether a noun form is a plural."""
    return noun_lemmas(form, lexicon)[0] != form


def _singulars(form: str) -> Iterator[str]:
    if form.endswith("'s"):
        return
    if form.endswith("ies") and len(form) > 4:
        yield form[:-1]  # "cookies", "movies"
        yield form[:-3] + "y"
    elif form.endswith(("ches", "shes", "xes", "sses", "zes", "oes")):
        yield form[:-2]
        yield form[:-1]
        if form.endswith("zzes"):
            yield form[:-3]
    elif form.endswith("ves"):
        yield form[:-1]
        yield form[:-3] + "f"
        yield form[:-3] + "fe"
    elif form.endswith("men") and len(form) > 4:
        yield form[:-3] + "man"
    elif form.endswith("ss") or form.endswith("us") or not form.endswith("s"):
        return
    else:
        yield form[:-1]
        if form.endswith("ses"):
            yield form[:-2]


def verb_lemmas(form: str, lexicon: Lexicon, known: Known | None = None) -> list[str]:
    """Return the infinitives that `form` may belong to; none for a form that is no verb's."""
    is_verb = _is_known(lexicon, "verb", known)
    found = [lemma for lemma in lexicon.irregular(form, "verb") if is_verb(lemma)]
    found += [lemma for lemma in _infinitives(form) if is_verb(lemma)]
    if is_verb(form) and not found:
        found.append(form)
    # "lay", "found", "ground": infinitives of their own, better known than the verb behind.
    elif is_verb(form) and lexicon.counts(form).verb > max(
        lexicon.counts(lemma).verb for lemma in found
    ):
        found.insert(0, form)
    # "stare" before "star", "hop" beside "hope": by how common the verb is.
    regular = [lemma for lemma in dict.fromkeys(found)]
    if not lexicon.irregular(form, "verb"):
        regular.sort(key=lambda lemma: -lexicon.counts(lemma).verb)
    return regular


def _infinitives(form: str) -> Iterator[str]:
    if form.endswith("ing") and len(form) > 4:
        yield from _stems(form[:-3])
        if form.endswith("ying"):
            yield form[:-4] + "ie"
    elif form.endswith("ied"):
        yield form[:-3] + "y"
        yield form[:-1]
    elif form.endswith("ed") and len(form) > 3:
        yield from _stems(form[:-2])
    elif form.endswith("ies"):
        yield form[:-3] + "y"
        yield form[:-1]
    elif form.endswith(("ches", "shes", "xes", "sses", "zes", "oes", "ses", "pes")):
        yield form[:-1]
        yield form[:-2]
    elif form.endswith("s") and not form.endswith("ss"):
        yield form[:-1]


def _stems(stem: str) -> Iterator[str]:
    doubled = len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] not in _VOWELS
    if doubled and stem[-1] not in "ls":
        yield stem[:-1]
        return
    yield stem
    if doubled:
        yield stem[:-1]  # "travelling", but "falling"
    yield stem + "e"


def adj_lemmas(form: str, lexicon: Lexicon, known: Known | None = None) -> list[str]:
    """Return the positive forms that `form` may be the comparative or superlative of, or itself."""
    is_adj = _is_known(lexicon, "adj", known)
    found = [lemma for lemma in lexicon.irregular(form, "adj") if is_adj(lemma)]
    for ending in ("er", "est"):
        if form.endswith(ending) and len(form) > len(ending) + 2:
            stem = form.removesuffix(ending)
            stems = [stem, stem + "e", stem[:-1] if stem[-1] == stem[-2] else stem]
            if stem.endswith("i"):
                stems.insert(0, stem[:-1] + "y")
            found += [lemma for lemma in stems if is_adj(lemma)]
    if is_adj(form):
        best = max((lexicon.counts(lemma).adj for lemma in found), default=-1)
        found.insert(0 if lexicon.counts(form).adj > best else len(found), form)
    return list(dict.fromkeys(found))


def plural(noun: str) -> str:
    """Return the regular plural of a noun."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2:-1] not in tuple(_VOWELS):
        return noun[:-1] + "ies"
    return noun + "s"


def spellings(word: str) -> Iterator[str]:
    """Yield what `word` may be spelt like on the other side of the Atlantic.

    Candidates only: a caller keeps those that its vocabulary or lexicon has.
    """
    if _ANY_PART.search(word):
        for pattern, other in _SPELLING_PARTS:
            for old, new in ((pattern, other), (other, pattern)):
                if old and old in word:
                    yield word.replace(old, new)
    other = _SPELLING_WORDS.get(word)
    if other:
        yield other


_SPELLING_PARTS = (
    ("colour", "color"), ("harbour", "harbor"), ("neighbour", "neighbor"), ("armour", "armor"),
    ("flavour", "flavor"), ("behaviour", "behavior"), ("vapour", "vapor"), ("parlour", "parlor"),
    ("labour", "labor"), ("favour", "favor"), ("savoury", "savory"), ("odour", "odor"),
    ("centre", "center"), ("theatre", "theater"), ("metre", "meter"), ("litre", "liter"),
    ("fibre", "fiber"), ("calibre", "caliber"), ("sombre", "somber"), ("lustre", "luster"),
    ("grey", "gray"), ("moustache", "mustache"), ("pyjama", "pajama"), ("tyre", "tire"),
    ("aeroplane", "airplane"), ("jewellery", "jewelry"), ("woollen", "woolen"), ("mould", "mold"),
    ("plough", "plow"), ("catalogue", "catalog"), ("dialogue", "dialog"), ("doughnut", "donut"),
    ("yoghurt", "yogurt"), ("whisky", "whiskey"), ("licence", "license"), ("defence", "defense"),
    ("offence", "offense"), ("programme", "program"), ("cheque", "check"), ("kerb", "curb"),
    ("storey", "story"), ("cosy", "cozy"), ("sceptic", "skeptic"), ("aluminium", "aluminum"),
    ("omelette", "omelet"), ("chilli", "chili"), ("barbecue", "barbeque"), ("draught", "draft"),
    ("mum", "mom"), ("ladybird", "ladybug"), ("traveller", "traveler"), ("axe", "ax"),
    ("organis", "organiz"), ("recognis", "recogniz"), ("analys", "analyz"), ("-", ""),
)  # fmt: skip
_ANY_PART = re.compile("|".join(part for pair in _SPELLING_PARTS for part in pair if part))
_SPELLING_WORDS = {
    "bbq": "barbecue",
    "tv": "television",
    "television": "tv",
    "racquet": "racket",
    "racket": "racquet",
    "telly": "television",
    "fridge": "refrigerator",
    "refrigerator": "fridge",
    "suv": "sport utility vehicle",
    "atv": "all-terrain vehicle",
    "phone": "telephone",
    "telephone": "phone",
    "bike": "bicycle",
    "motorbike": "motorcycle",
    "photo": "photograph",
    "hippo": "hippopotamus",
    "rhino": "rhinoceros",
    "plane": "airplane",
    "veggie": "vegetable",
    "tee": "t-shirt",
    "tshirt": "t-shirt",
    "okay": "ok",
}


def _is_known(lexicon: Lexicon, part: str, known: Known | None) -> Known:
    def is_known(word: str) -> bool:
        return getattr(lexicon.counts(word), part) >= 0 or (known is not None and known(word))

    return is_known
