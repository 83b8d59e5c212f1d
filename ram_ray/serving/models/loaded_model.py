"""A model in memory: pixels and selections in, predictions out, many requests in one batch."""

import asyncio
import dataclasses
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

import numpy as np
import torch

from ram_model import CaptionOptions, RamConfig, Tagger, Vocabulary
from ram_model.errors import UnknownModelError
from ram_model.files.checkpoint import CONFIG
from ram_model.files.pretrained import OpenedModel, find_model_folder, open_model
from ram_model.vocabulary import OFF
from ram_model.words.label_embeddings import find_label_source
from ram_model.words.open_set import NewLabels, embed_new_words
from ram_ray.errors import ConfigError
from ram_ray.serving.api import Capabilities, ModelInfo, ModelVersion, RequestErrorCode
from ram_ray.serving.config import ServeConfig
from ram_ray.serving.models.backend import (
    Failure,
    ModelCard,
    Outcome,
    Selection,
    WrongSize,
)
from ram_ray.serving.models.batching import Batcher
from ram_ray.serving.models.rules import (
    Rules,
    outcome_of,
    select_tags,
    thresholds_and_choice,
    with_captions,
)
from ram_ray.workers.tagger import choose_device

_MAX_RULES = 256  # compiled selections kept; a page's slider or a client's tag list repeats
_MAX_OPEN_SETS = 4  # taggers of word lists kept; each holds up to 150 MB of folded constants


Key = TypeVar("Key")


class LoadedModel:
    """One model on its device. Its methods belong to one event loop."""

    def __init__(self, name: str, config: ServeConfig, executor: Executor) -> None:
        """Load the model; takes seconds.

        Args:
            name: one of `config.models`.
            executor: runs the model's calls; one thread, for a device does one thing at a time.

        Raises:
            ConfigError: no such model, a broken folder, thresholds of unknown tags.
        """
        self._name = name
        self._config = config
        self._executor = executor
        self._device = choose_device(config.device)
        try:
            self._opened = open_model(name, captions=_has_captions(name))
        except (ValueError, FileNotFoundError) as error:  # ram_model's errors are ValueErrors
            raise ConfigError(str(error)) from error
        self._tagger = self._make_tagger()
        self._rules: OrderedDict[Selection, Rules] = OrderedDict()
        self._open_sets: OrderedDict[tuple[str, ...], tuple[Tagger, NewLabels]] = OrderedDict()
        self.use_thresholds(config.threshold_of())
        self._call = Batcher(self._predict_in_thread, max_batch_size=config.batch_size)

    def use_thresholds(self, by_tag: dict[str, float]) -> None:
        """Put thresholds of single tags over the model's own, those given before included.

        Only for the default model: tag names mean something else in another one.

        Raises:
            ConfigError: a tag that the model does not know.
        """
        vocabulary = self._opened.vocabulary
        if by_tag and self._name == self._config.models[0]:
            thresholds = vocabulary.thresholds.copy()
            try:
                for tag, value in by_tag.items():
                    thresholds[vocabulary.tag_ids_of([tag])] = value
            except ValueError as error:
                raise ConfigError(f"thresholds: {error}") from error
            vocabulary = dataclasses.replace(vocabulary, thresholds=thresholds)
        self._rules.clear()
        self.card = ModelCard(info=self._info(vocabulary), vocabulary=vocabulary)

    async def tag(
        self, pixels: np.ndarray, selection: Selection, *, alone: bool = False
    ) -> Outcome:
        """Return the tags of one image, batched with concurrent calls.

        Args:
            pixels: uint8 [S, S, 3], RGB.
            selection: which tags.
            alone: not batched, for an image that may be what killed earlier calls.
        """
        size = self._tagger.image_size_px
        if pixels.shape != (size, size, 3):
            return WrongSize(size)
        try:
            rules = await self._rules_of(selection)
        except ValueError as error:  # UnknownTagError, LabelError: one sentence each
            return Failure(RequestErrorCode.UNKNOWN_TAGS, str(error))
        return await self._call((pixels, rules), alone=alone)

    async def _predict_in_thread(
        self, items: list[tuple[np.ndarray, Rules]], *, alone: bool
    ) -> list[Outcome]:
        del alone  # it is
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._predict, items)

    def _predict(self, items: list[tuple[np.ndarray, Rules]]) -> list[Outcome]:
        """Run in the executor: one network call per tagger, one selection per set of rules."""
        outcomes: dict[int, Outcome] = {}
        for tagger, positions in _groups([rules.tagger for _, rules in items]):
            logits = tagger.logits(_padded([items[at][0] for at in positions], tagger.batch_size))
            for rules, places in _groups([items[at][1] for at in positions]):
                rows = logits[torch.tensor(places, device=logits.device)]
                if rules.columns is not None:
                    rows = rows[:, rules.columns]
                found = [outcome_of(tags, rules) for tags in select_tags(rules.select, rows)]
                if rules.guide is not None:
                    images = np.stack([items[positions[place]][0] for place in places])
                    found = with_captions(tagger, images, select_tags(rules.guide, rows), found)
                outcomes |= {positions[at]: one for at, one in zip(places, found, strict=True)}
        return [outcomes[at] for at in range(len(items))]

    async def _rules_of(self, selection: Selection) -> Rules:
        if selection in self._rules:
            self._rules.move_to_end(selection)
            return self._rules[selection]
        card, tagger, ids = self.card, self._tagger, None
        vocabulary, notes = card.vocabulary, tuple(card.info.notes)
        if selection.tags is not None:
            ids, new = vocabulary.split(selection.tags)
            if new:
                tagger, labels = await self._open_set(selection.tags)
                first = len(vocabulary)
                at = selection.threshold
                usual = self._opened.config.open_set_threshold
                vocabulary = vocabulary.extended(new, usual if at is None else at)
                ids += range(first, len(vocabulary))
                notes += (labels.note,)
        # a tagger of an open set has no other columns than those asked for
        columns = ids if tagger is self._tagger else None
        rules = Rules(
            tagger=tagger,
            columns=None if columns is None else torch.tensor(columns, device=tagger.device),
            card=card,
            vocabulary=vocabulary,
            notes=notes,
            **thresholds_and_choice(tagger, vocabulary, ids, selection),
        )
        if card is not self.card:  # updated while words were embedded: not for later requests
            return rules
        self._rules[selection] = rules
        if len(self._rules) > _MAX_RULES:
            self._rules.popitem(last=False)
        return rules

    async def _open_set(self, tags: tuple[str, ...]) -> tuple[Tagger, NewLabels]:
        """Return a tagger of known and new words; embedding them takes a text encoder's time."""
        if tags not in self._open_sets:
            self._open_sets[tags] = await asyncio.to_thread(self._embed, tags)
            if len(self._open_sets) > _MAX_OPEN_SETS:
                self._open_sets.popitem(last=False)
        self._open_sets.move_to_end(tags)
        return self._open_sets[tags]

    def _embed(self, tags: tuple[str, ...]) -> tuple[Tagger, NewLabels]:
        new = embed_new_words(
            self._opened, tags, text_encoder=self._config.text_encoder, device=self._device
        )
        if new is None:
            raise AssertionError("called for known words only")
        return self._make_tagger(tags=tags, new_labels=new.labels), new

    def _make_tagger(self, **open_set: Any) -> Tagger:
        opened = self._opened
        return Tagger(
            opened.model,
            opened.vocabulary,
            device=self._device,
            precision=self._config.precision,
            batch_size=self._config.batch_size,
            captions=CaptionOptions() if opened.tokenizer else None,
            tokenizer=opened.tokenizer,
            **open_set,
        )

    def _info(self, vocabulary: Vocabulary) -> ModelInfo:
        opened = self._opened
        notes = [f"{opened.model_id} has random weights: its tags mean nothing."]
        return ModelInfo(
            id=self._name,
            default=self._name == self._config.models[0],
            kind=opened.config.kind,
            num_tags=int((vocabulary.thresholds < OFF).sum()),
            image_size_px=opened.config.image_size_px,
            chinese=any(vocabulary.names_zh),
            capabilities=Capabilities(
                open_set=_takes_new_words(opened, self._config.text_encoder),
                caption=opened.tokenizer is not None,
                boxes=False,
            ),
            version=ModelVersion(
                id=opened.model_id,
                weights_sha256=opened.weights_sha256,
                vocabulary_sha256=vocabulary.sha256,
                thresholds_sha256=vocabulary.thresholds_sha256,
                captions_sha256=opened.captions_sha256,
            ),
            notes=notes * opened.is_random,
        )


def _padded(images: Sequence[np.ndarray], batch_size: int) -> np.ndarray:
    """Stack images and pad with black ones to the next power of two: few shapes, little waste."""
    count = min(batch_size, 1 << (len(images) - 1).bit_length())
    stacked = np.zeros((max(count, len(images)), *images[0].shape), np.uint8)
    for position, image in enumerate(images):
        stacked[position] = image
    return stacked


def _groups(keys: Sequence[Key]) -> list[tuple[Key, list[int]]]:
    """Return each distinct object of `keys`, by identity, with its positions."""
    found: dict[int, tuple[Key, list[int]]] = {}
    for position, key in enumerate(keys):
        found.setdefault(id(key), (key, []))[1].append(position)
    return list(found.values())


def _takes_new_words(opened: OpenedModel, text_encoder: str | None) -> bool:
    if opened.config.train_labels:
        return False
    return find_label_source(opened.folder, text_encoder=text_encoder) is not None


def _has_captions(name: str) -> bool:
    try:
        config = (find_model_folder(name) / CONFIG).read_text(encoding="utf-8")
    except UnknownModelError:  # `open_model` has the last word
        return False
    return RamConfig.from_json(config).captions is not None
