"""Tagger: images to tags, the one inference path of every command."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
import torch
from PIL import Image

from ram_model.captioning import Captioner, guide_words
from ram_model.errors import CaptionError, ModelOutputError
from ram_model.files.pretrained import OpenedModel, open_model
from ram_model.networks.ram import Ram
from ram_model.networks.text_generation import CaptionOptions
from ram_model.on_device import Network, Precision, check_place
from ram_model.tag_choice import TagOptions, choose_tags
from ram_model.tag_selection import Tags
from ram_model.transforms import resize_for_inference, to_rgb
from ram_model.vocabulary import Vocabulary
from ram_model.wordpiece import WordPieceTokenizer
from ram_model.words.open_set import embed_new_words

__all__ = ["Precision", "Tagger", "Tags"]


class Tagger:
    """A model on a device, with the rules that turn its scores into tags.

    The batch shape is fixed: fewer images are padded with black ones, so that a score does not
    depend on how images were batched (in fp32 within 1e-5, whatever the slot).

    Args:
        model: with as many tags as the vocabulary.
        device: "cpu", "cuda" or "cuda:N".
        precision: "bf16" runs the network in 16 bit; the final sigmoid is always fp32.
        batch_size: most images per call, and the batch the network sees.
        captions: also write a caption per image, guided by the tags above their thresholds,
            whatever `top_k` and `score_floor` say; None: no captions.
        tokenizer: word pieces of the captions; needed with `captions` only.
        compile: compile the network with torch.compile; the first call takes long.
        asked: which tags, and from which score up (`ram_model.tag_choice.TagOptions`).

    Raises:
        ValueError: an option is out of its range; the message names it.
        CaptionError: captions of a model without a caption side or with other word pieces.
        UnknownTagError: `tags` holds names that neither the vocabulary nor `new_labels` does.
    """

    def __init__(
        self,
        model: Ram,
        vocabulary: Vocabulary,
        *,
        device: str = "cpu",
        precision: Precision = "fp32",
        batch_size: int = 16,
        captions: CaptionOptions | None = None,
        tokenizer: WordPieceTokenizer | None = None,
        compile: bool = False,
        **asked: Unpack[TagOptions],
    ) -> None:
        """Take over the model: moved, cast and folded in place, its weights must not change."""
        check_place(device, precision)
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size!r}, but must be at least 1.")
        choice = choose_tags(model, vocabulary, asked)
        self.vocabulary = choice.vocabulary
        self.device = torch.device(device)
        self.precision: Precision = precision
        self.batch_size = batch_size
        self.image_size_px = choice.model.config.image_size_px
        self.num_parameters = sum(p.numel() for p in choice.model.parameters())
        self.model_id = "custom"
        self.weights_sha256: str | None = None
        self.is_random = False
        self.labels_sha256: str | None = None
        self.captions_sha256: str | None = None
        self.notes: tuple[str, ...] = ()
        self._network = Network(choice.model, self.device, precision, compile=compile)
        self._select = choice.selection(
            top_k=asked.get("top_k"), score_floor=asked.get("score_floor")
        ).to(self.device)
        self._guide = choice.selection().to(self.device)
        self.captions = captions
        self._captioner = _captioner(choice.model, tokenizer, captions)

    @classmethod
    def load(
        cls,
        model: str | Path | OpenedModel = "ram-mini",
        *,
        tags: Sequence[str] | None = None,
        text_encoder: str | Path | None = None,
        descriptions: str | Path | None = None,
        captions: CaptionOptions | None = None,
        **options: Any,
    ) -> Self:
        """Return a tagger for a named model or a model folder; options as of the constructor.

        Args:
            tags: any words. Those of the vocabulary keep their labels, thresholds and scores;
                the others are embedded by the model folder's text encoder (RAM, RAM++).
            text_encoder: folder or weight file to use instead of the model folder's.
            descriptions: JSON file [{tag: [sentences]}, ...] for new words, RAM++ only.
            captions: also write captions; the model folder must have a caption side.

        Raises:
            CaptionError: captions of a model that has no caption side.
            UnknownModelError: neither a known name nor a model folder.
            CheckpointError: the model folder is damaged.
            UnknownTagError: new words, but a model that cannot take any.
            LabelError: text encoder or descriptions that cannot be used.
            ValueError: as the constructor.
        """
        if not isinstance(model, OpenedModel):
            model = open_model(model, captions=captions is not None)
        opened = model
        new = embed_new_words(
            opened,
            tags or (),
            text_encoder=text_encoder,
            descriptions=descriptions,
            device=options.get("device", "cpu"),
        )
        if new is not None:
            options["new_labels"] = new.labels
        if captions is not None:
            options |= {"captions": captions, "tokenizer": opened.tokenizer}
        tagger = cls(opened.model, opened.vocabulary, tags=tags, **options)
        if new is not None:
            tagger.labels_sha256, tagger.notes = new.fingerprint, (new.note,)
        tagger.model_id = opened.model_id
        tagger.weights_sha256 = opened.weights_sha256
        tagger.captions_sha256 = opened.captions_sha256
        tagger.is_random = opened.is_random
        return tagger

    @property
    def writes_captions(self) -> bool:
        """Whether each image gets a caption."""
        return self._captioner is not None

    @property
    def vocabulary_sha256(self) -> str:
        """Hash of the vocabulary without its thresholds."""
        return self.vocabulary.sha256

    @property
    def thresholds_sha256(self) -> str:
        """Hash of the vocabulary's thresholds (not of the `threshold` option)."""
        return self.vocabulary.thresholds_sha256

    def __call__(
        self, images: np.ndarray, *, caption_tags: Sequence[Sequence[str] | None] | None = None
    ) -> list[Tags]:
        """Return the tags of each image, and its caption where the tagger writes captions.

        Args:
            images: uint8 [n, S, S, 3], RGB, n from 0 to batch_size, S = image_size_px; from
                `ram_model.transforms.resize_for_inference`.
            caption_tags: per image the words that shall guide its caption, known tags or not;
                None: those of the options, or the tags found.

        Raises:
            ValueError: another shape or dtype, or guides for captions that are not written.
            ModelOutputError: the network returned NaN or infinity.
        """
        return self._tag(images, self.batch_size, caption_tags)

    def tag_file(self, path: str | Path, *, caption_tags: Sequence[str] | None = None) -> Tags:
        """Return the tags of one image file, in any format Pillow reads.

        Raises:
            OSError: the file cannot be read as an image.
        """
        with Image.open(path) as image:
            return self.tag_image(image, caption_tags=caption_tags)

    def tag_image(self, image: Image.Image, *, caption_tags: Sequence[str] | None = None) -> Tags:
        """Return the tags of one image, at the cost of one (the batch is not padded)."""
        pixels = resize_for_inference(to_rgb(image), self.image_size_px)
        guides = None if caption_tags is None else [caption_tags]
        return self._tag(pixels[None], 1, guides)[0]

    @torch.inference_mode()
    def _tag(
        self,
        images: np.ndarray,
        batch_size: int,
        caption_tags: Sequence[Sequence[str] | None] | None,
    ) -> list[Tags]:
        count = len(images)
        self._check_images(images, batch_size, caption_tags)
        if count == 0:
            return []
        images = _padded(images, batch_size)
        if self._captioner is None:
            return self._select(self._network.logits(images))[:count]
        tokens_BTE = self._network.encode(images)
        logits_BC = self._network.decode_tags(tokens_BTE)
        usual = self._captioner.options.tags
        given = [usual if words is None else words for words in caption_tags or [None] * count]
        guides = guide_words(self._guide(logits_BC), given)
        written = self._captioner.write(tokens_BTE, guides, num_wanted=count)
        found = zip(self._select(logits_BC)[:count], written, strict=True)
        return [
            replace(tags, caption=text, caption_confidence=confidence)
            for tags, (text, confidence) in found
        ]

    def _check_images(
        self,
        images: np.ndarray,
        batch_size: int,
        caption_tags: Sequence[Sequence[str] | None] | None,
    ) -> None:
        side, count = self.image_size_px, len(images)
        if images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
            given = f"{images.dtype} {images.shape}"
            raise ValueError(f"images is {given}, but must be uint8 (n, {side}, {side}, 3).")
        if count > batch_size:
            raise ValueError(f"images holds {count}, but must hold at most {batch_size}.")
        if caption_tags is not None and self._captioner is None:
            raise ValueError("caption_tags guide captions, which this tagger does not write.")
        if caption_tags is not None and len(caption_tags) != count:
            given = f"caption_tags holds {len(caption_tags)} entries"
            raise ValueError(f"{given}, but must hold {count}, one an image.")

    @torch.inference_mode()
    def logits(self, images: np.ndarray) -> torch.Tensor:
        """Return the logits behind the tags, [n, C] on the device, C the tags decided on.

        For callers whose images each have rules of their own; they pad the batch themselves.

        Args:
            images: uint8 [n, S, S, 3], n from 1 up.
        """
        return self._network.logits(images)

    @torch.inference_mode()
    def describe(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores of all tags decided on, float32 [n, C], 0..1, and features [n, E].

        The features are the encoder's mean token in label space, float32: what the image looks
        like, for clustering. Any number of images; run in batches of `batch_size`, padded.

        Args:
            images: uint8 [n, S, S, 3], RGB, S = image_size_px.

        Raises:
            ModelOutputError: the network returned NaN or infinity.
        """
        size, count = self.batch_size, len(images)
        scores = np.zeros((count, len(self._select.thresholds)), np.float32)
        features = np.zeros((count, self._network.config.label_dim), np.float32)
        for start in range(0, count, size):
            part = images[start : start + size]
            tokens_BTE = self._network.encode(_padded(part, size))
            logits_BC = self._network.decode_tags(tokens_BTE)[: len(part)].float()
            if not bool(logits_BC.isfinite().all()):
                raise ModelOutputError("The model returned logits that are not finite.")
            stop = start + len(part)
            scores[start:stop] = logits_BC.sigmoid().cpu().numpy()
            features[start:stop] = tokens_BTE[: len(part), 0].float().cpu().numpy()
        return scores, features


def _padded(images: np.ndarray, batch_size: int) -> np.ndarray:
    padding = np.zeros((batch_size - len(images), *images.shape[1:]), np.uint8)
    return np.concatenate([images, padding]) if len(padding) else images


def _captioner(
    model: Ram, tokenizer: WordPieceTokenizer | None, captions: CaptionOptions | None
) -> Captioner | None:
    if captions is None:
        return None
    if tokenizer is None:
        raise CaptionError("captions need the tokenizer of the model's word pieces.")
    return Captioner(model, tokenizer, captions)
