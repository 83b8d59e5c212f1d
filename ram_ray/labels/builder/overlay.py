"""Kind, aliases and parents for a vocabulary that has none, such as RAM's 4,585 names.

Ids, names and thresholds stay as they are; what the builder derives is laid over them by id.
"""

from collections.abc import Mapping, Sequence

from ram_model.vocabulary import Vocabulary
from ram_ray.labels.builder.candidates import Key, gather
from ram_ray.labels.builder.config import ListConfig
from ram_ray.labels.builder.lists import Entry, SourceList
from ram_ray.labels.builder.merging import Clusters, merge_candidates
from ram_ray.labels.builder.names import Name
from ram_ray.labels.builder.relations import parents_of
from ram_ray.labels.builder.sources import CaptionTexts, frequencies, read_lists
from ram_ray.labels.builder.tags import Tag, assemble
from ram_ray.labels.lexicon import Lexicon, load_lexicon
from ram_ray.labels.parser.discovery import discover
from ram_ray.labels.problems import Problem
from ram_ray.labels.vocabulary_files import read_vocabulary, write_vocabulary


def overlay_file(
    vocabulary: str,
    output: str,
    *,
    captions: Sequence[str] = (),
    lists: Sequence[ListConfig] = (),
    thresholds: str | None = None,
    names_zh: str | None = None,
) -> tuple[Vocabulary, list[Problem]]:
    """Read a vocabulary, lay over it what the sources say, write it; return it and what was wrong.

    Raises:
        ConfigError: a file cannot be used.
    """
    problems: list[Problem] = []
    lexicon = load_lexicon()
    given = read_vocabulary(vocabulary, thresholds=thresholds, names_zh=names_zh)
    sources = read_lists(lists, lexicon, problems.append)
    texts = CaptionTexts(captions, problems.append)
    made = overlay(given, sources, frequencies(discover(texts)), lexicon)
    write_vocabulary(made, output)
    return made, problems


_OWN = " vocabulary"  # a list name that no file stem has


def overlay(
    vocabulary: Vocabulary,
    lists: Sequence[SourceList],
    discovered: Mapping[tuple[str, str], int],
    lexicon: Lexicon,
) -> Vocabulary:
    """Return the vocabulary with kinds, aliases and parents.

    A kind the vocabulary has stays; aliases and parents are added to its own. An alias is never
    the name of another tag.

    Args:
        lists: synonym tables and kinds; the vocabulary's own names come from `vocabulary`.
        discovered: (name, kind) to number of captions; {} without captions.
    """
    own = SourceList(
        name=_OWN,
        entries=tuple(
            Entry(names=(Name(name.strip()),), line=number, kind="" if kind == "other" else kind)
            for number, (name, kind) in enumerate(
                zip(vocabulary.names, vocabulary.kinds, strict=True)
            )
        ),
    )
    gathered = gather([*lists, own], discovered, lexicon)
    keys = gathered.keys_of_list[_OWN]
    clusters = Clusters(fixed=frozenset(keys))
    merge_candidates(gathered, lexicon, clusters)
    tags = {tag.key: tag for tag in assemble(gathered, clusters, lexicon)}
    rows = [tags[key] for key in keys]
    return replace_columns(vocabulary, rows, lexicon)


def replace_columns(vocabulary: Vocabulary, rows: Sequence[Tag], lexicon: Lexicon) -> Vocabulary:
    """Return the vocabulary with what the tags of its rows say; two rows may share a tag."""
    seen: set[Key] = set()
    aliases: list[tuple[str, ...]] = []
    for number, tag in enumerate(rows):
        new = [] if tag.key in seen else [alias.text for alias in tag.aliases]
        seen.add(tag.key)  # of two rows with one key, as "pant" and "pants", the first has aliases
        unique = dict.fromkeys([*vocabulary.aliases[number], *new])
        aliases.append(tuple(unique))
    derived = parents_of(
        [tag.sense for tag in rows],
        [tag.key.text for tag in rows],
        [tag.stated_parents for tag in rows],
        lexicon,
    )
    parents = [
        tuple(dict.fromkeys([*own, *new]))
        for own, new in zip(vocabulary.parents, derived, strict=True)
    ]
    kinds = [
        tag.kind if kind == "other" else kind
        for kind, tag in zip(vocabulary.kinds, rows, strict=True)
    ]
    return Vocabulary(
        names=vocabulary.names,
        names_zh=vocabulary.names_zh,
        thresholds=vocabulary.thresholds,
        kinds=tuple(kinds),
        aliases=tuple(aliases),
        parents=tuple(parents),
    )
