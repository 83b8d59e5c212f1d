"""Captions -> tags of a vocabulary.

    parser = CaptionParser(Vocabulary.from_parquet("vocabulary.parquet"))
    parser.parse(["Two brown dogs on a blue sofa"])  # Arrow: tag_ids, tags, kinds

Needs no model and no network: the word tables ship with the package.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ram_model.vocabulary import Vocabulary
from ram_ray.labels.lexicon import Lexicon, load_lexicon
from ram_ray.labels.parser.agreement import agreed
from ram_ray.labels.parser.analysis import (
    ADJECTIVE_ROLE,
    BEFORE_HEAD_ROLE,
    NOUN_ROLE,
    VERB_ROLE,
    Analyzer,
    Mentions,
)
from ram_ray.labels.parser.resolution import (
    CONTEXT,
    KINDS,
    NO_TAG,
    OBJECT,
    RULES,
    UNRESOLVED,
    Resolved,
    TagResolver,
)
from ram_ray.labels.parser.spacy_tier import load_pipeline
from ram_ray.labels.parser.tokens import fold
from ram_ray.labels.parser.widening import WideResolver
from ram_ray.labels.parser.word_reading import Word

TAGS = pa.schema(
    [
        pa.field("tag_ids", pa.list_(pa.int32()), nullable=False),  # in the order of the caption
        pa.field("tags", pa.list_(pa.string()), nullable=False),  # their names
        pa.field("kinds", pa.list_(pa.string()), nullable=False),  # as used in the caption
    ]
)
"""One row per caption; parallel lists, each (tag, kind) once."""

EVIDENCE = pa.schema(
    [
        *TAGS,
        pa.field("rules", pa.list_(pa.string()), nullable=False),  # of `resolution.RULES`
        pa.field("starts", pa.list_(pa.int32()), nullable=False),  # first character of the words
        pa.field("ends", pa.list_(pa.int32()), nullable=False),  # after their last character
        pa.field("surfaces", pa.list_(pa.string()), nullable=False),  # the words
        pa.field("absent", pa.list_(pa.string()), nullable=False),  # tags said not to be there
    ]
)
"""TAGS with the reason of each tag, at its first mention."""

_ROLES = 4
_NOT_LOOKED_UP = -2


@dataclass(frozen=True, slots=True)
class _Found:
    """Tags of a batch, in the order of the text."""

    mentions: Mentions
    tag_id: np.ndarray
    kind: np.ndarray
    rule: np.ndarray

    def where(self, mask: np.ndarray) -> "_Found":
        return _Found(
            self.mentions.where(mask), self.tag_id[mask], self.kind[mask], self.rule[mask]
        )


class CaptionParser:
    """Parses captions with one vocabulary; about a second to make, then keep it.

    Args:
        vocabulary: names, aliases, kinds and parents. Where it states a kind, a word used as
            another kind gives no tag; "other" takes the kind from the caption.
        spacy: name of an installed spaCy pipeline that reads parts of speech; None: the rules.
        widen: also give the nearest wider tag for a word that has none ("puppy": "dog").
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        widen: bool = False,
        spacy: str | None = None,
        lexicon: Lexicon | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        lexicon = lexicon or load_lexicon()
        self._wide = WideResolver(vocabulary, lexicon) if widen else None
        self._resolver = self._wide or TagResolver(vocabulary, lexicon)
        pipeline = None if spacy is None else load_pipeline(spacy)
        self._analyzer = Analyzer(self._resolver.names(), lexicon, pipeline)
        self._names = pa.array(vocabulary.names, pa.string())
        self._tag_id = np.zeros((0, _ROLES), np.int32)
        self._kind = np.zeros((0, _ROLES), np.int8)
        self._rule = np.zeros((0, _ROLES), np.int8)
        self._implied: dict[tuple[int, int], dict[int, int]] = {}
        self._num_implied = np.zeros((0, _ROLES), np.int64)
        self._context: dict[int, tuple[int, frozenset[str]]] = {}
        self._has_context = np.zeros(0, np.bool_)
        self._rivals: dict[int, frozenset[int]] = {}
        self._is_food = np.zeros(0, np.bool_)
        self._goes_with_food = self._wide.goes_with_food() if self._wide else None

    def parse(self, captions: Sequence[str], images: Sequence[int] | None = None) -> pa.Table:
        """Return TAGS, one row per caption.

        Args:
            captions: the texts.
            images: a number for each caption, the same for captions of one image. With `widen`,
                these then agree on what one of them alone does not settle (`agreement`).
        """
        found = self._find(captions, images)
        found = _once(found.where(~found.mentions.absent), len(self.vocabulary))
        return pa.table(self._columns(found, len(captions)), schema=TAGS)

    def parse_with_evidence(
        self, captions: Sequence[str], images: Sequence[int] | None = None
    ) -> pa.Table:
        """Return EVIDENCE, one row per caption; arguments as of `parse`."""
        everything = self._find(captions, images)
        there = everything.where(~everything.mentions.absent)
        found = _once(there, len(self.vocabulary))
        columns = self._columns(found, len(captions))
        offsets = _offsets(found.mentions.caption, len(captions))
        starts, ends = found.mentions.start, found.mentions.end
        surfaces = [
            captions[caption][start:end]
            for caption, start, end in zip(
                found.mentions.caption.tolist(), starts.tolist(), ends.tolist(), strict=True
            )
        ]
        columns["rules"] = _lists(offsets, pa.array(RULES).take(pa.array(found.rule)))
        columns["starts"] = _lists(offsets, pa.array(starts.astype(np.int32)))
        columns["ends"] = _lists(offsets, pa.array(ends.astype(np.int32)))
        columns["surfaces"] = _lists(offsets, pa.array(surfaces, pa.string()))
        columns["absent"] = self._absent(everything, found, len(captions))
        return pa.table(columns, schema=EVIDENCE)

    def _find(self, captions: Sequence[str], images: Sequence[int] | None) -> _Found:
        mentions = self._analyzer.analyze(captions)
        self._resolve_new(mentions)
        where = mentions.word, mentions.role
        found = _Found(mentions, self._tag_id[where], self._kind[where], self._rule[where])
        if self._wide is not None:
            self._decide_by_context(found, captions, images)
            found = self._with_implied(found)
        tagged = found.where(found.tag_id != NO_TAG)
        if self._goes_with_food is None or images is None:
            return tagged
        food = np.zeros(len(captions), np.bool_)
        speaks = self._is_food[found.mentions.word] & ~found.mentions.absent
        food[found.mentions.caption[speaks]] = True
        kept = agreed(
            tagged.mentions,
            tagged.tag_id,
            tagged.rule,
            np.asarray(images, np.int64),
            self._rivals,
            food,
            self._goes_with_food[tagged.tag_id],
        )
        return tagged.where(kept)

    def _decide_by_context(
        self, found: _Found, captions: Sequence[str], images: Sequence[int] | None
    ) -> None:
        """Fill in the tags of words that mean one only beside certain other words.

        Beside: in the same caption, or in another one of the same image.
        """
        mentions = found.mentions
        open_ = (found.tag_id == NO_TAG) & (mentions.role == NOUN_ROLE)
        image_of = range(len(captions)) if images is None else images
        texts: dict[int, list[str]] = {}
        for image, caption in zip(image_of, captions, strict=True):
            texts.setdefault(image, []).append(caption)
        for at in np.flatnonzero(open_ & self._has_context[mentions.word]).tolist():
            tag_id, needed = self._context[int(mentions.word[at])]
            image = image_of[int(mentions.caption[at])]
            words = set(_WORDS.findall(fold("\n".join(texts[image]))))
            if needed <= words:
                found.tag_id[at], found.rule[at] = tag_id, CONTEXT

    def _with_implied(self, found: _Found) -> _Found:
        """Put the tags that words speak of right behind these words."""
        mentions = found.mentions
        count = self._num_implied[mentions.word, mentions.role]
        order = np.repeat(np.arange(len(count)), count + 1)
        is_extra = np.concatenate([[False], order[1:] == order[:-1]])[: len(order)]
        more = found.where(order)
        speak = count > 0
        keys = zip(mentions.word[speak].tolist(), mentions.role[speak].tolist(), strict=True)
        extra = [pair for key in keys for pair in self._implied[key].items()]
        more.tag_id[is_extra], more.rule[is_extra] = np.array(extra, np.int32).reshape(-1, 2).T
        more.kind[is_extra] = OBJECT
        return more

    def _resolve_new(self, mentions: Mentions) -> None:
        """Look up the words that are met in a role for the first time."""
        missing = len(self._analyzer.words) - len(self._tag_id)
        if missing:
            shape = ((0, missing), (0, 0))
            self._tag_id = np.pad(self._tag_id, shape, constant_values=_NOT_LOOKED_UP)
            self._kind = np.pad(self._kind, shape)
            self._rule = np.pad(self._rule, shape)
            self._num_implied = np.pad(self._num_implied, shape)
            self._has_context = np.pad(self._has_context, (0, missing))
            self._is_food = np.pad(self._is_food, (0, missing))
        new = self._tag_id[mentions.word, mentions.role] == _NOT_LOOKED_UP
        if new.any():
            pairs = zip(mentions.word[new].tolist(), mentions.role[new].tolist(), strict=True)
            for row, role in set(pairs):
                word = self._analyzer.words[row]
                where = row, role
                found = self._resolve(word, role)
                self._tag_id[where], self._kind[where], self._rule[where] = found
                if self._wide is not None:
                    self._note_context(row, role, word, self._wide)

    def _resolve(self, word: Word, role: int) -> Resolved:
        if role == NOUN_ROLE and word.nouns:
            return self._resolver.noun(word)
        if role == VERB_ROLE:
            return self._resolver.action(word)
        if role == BEFORE_HEAD_ROLE and word.nouns and self._wide is not None:
            return self._wide.modifier(word)
        return self._resolver.attribute(word) if role == ADJECTIVE_ROLE else UNRESOLVED

    def _note_context(self, row: int, role: int, word: Word, wide: WideResolver) -> None:
        if role in (NOUN_ROLE, VERB_ROLE, BEFORE_HEAD_ROLE):
            implied = wide.implied(word, as_noun=role != VERB_ROLE)
            self._implied[row, role] = implied
            self._num_implied[row, role] = len(implied)
        if role == NOUN_ROLE:
            rivals = wide.rivals(word)
            if rivals:
                self._rivals[row] = rivals
            self._is_food[row] = wide.is_food(word)
        tag_id, needed = wide.in_context(word)
        if needed:
            self._context[row] = tag_id, needed
            self._has_context[row] = True

    def _columns(self, found: _Found, num_captions: int) -> dict[str, pa.Array]:
        offsets = _offsets(found.mentions.caption, num_captions)
        tag_id = pa.array(found.tag_id)
        return {
            "tag_ids": _lists(offsets, tag_id),
            "tags": _lists(offsets, self._names.take(tag_id)),
            "kinds": _lists(offsets, _KIND_NAMES.take(pa.array(found.kind))),
        }

    def _absent(self, everything: _Found, there: _Found, num_captions: int) -> pa.Array:
        """Return the names said to be absent and not said to be there as well."""
        size = len(self.vocabulary)
        gone = _once(everything.where(everything.mentions.absent), size)
        keys = gone.mentions.caption * size + gone.tag_id
        gone = gone.where(~np.isin(keys, there.mentions.caption * size + there.tag_id))
        offsets = _offsets(gone.mentions.caption, num_captions)
        return _lists(offsets, self._names.take(pa.array(gone.tag_id)))


_WORDS = re.compile(r"[a-z]+")
_KIND_NAMES = pa.array(KINDS, pa.string())


def _once(found: _Found, num_tags: int) -> _Found:
    """Return the first of each (caption, tag, kind), in the order of the text."""
    key = (found.mentions.caption * num_tags + found.tag_id) * len(KINDS) + found.kind
    _, first = np.unique(key, return_index=True)
    first.sort()
    return found.where(first)


def _offsets(caption: np.ndarray, num_captions: int) -> pa.Array:
    counts = np.bincount(caption, minlength=num_captions)
    return pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))


def _lists(offsets: pa.Array, values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(offsets, values)
