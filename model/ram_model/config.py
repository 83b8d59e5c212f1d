"""Shapes of the models: frozen, validated on construction, stored as JSON beside the weights.

Numbers of the official variants: the public configuration files of the recognize-anything
project (`swin/config_swin*.json`, `q2l_config.json`); the other two are ours.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

Kind = Literal["ram", "ram_plus", "tag2text"]

KINDS = ("object", "scene", "attribute", "action", "other")
"""Of tags; a vocabulary says which each of them is."""
Dtype = Literal["float32", "float16", "bfloat16"]
"""Of weights on disk."""
Augment = Literal["none", "crop", "full"]
"""What training does to an image: nothing; a random crop, perhaps mirrored; that and RandAugment,
as the reference."""

PATCH_SIZE_PX = 4  # of every Swin here
CONV_ARCHITECTURES = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
"""timm's names of the convolutional image encoders: EfficientNet-Lite, without squeezing."""
NUM_RAM_TAGS, NUM_TAG2TEXT_TAGS = 4585, 3429  # in the released models
OPEN_SET_THRESHOLD = 0.5
"""Of every new tag in the reference (recognize-anything, `inference_ram_openset.py`)."""


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise ValueError(f"{name} is {value!r}, but must be {allowed}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class SwinConfig:
    """Image encoder: a Swin Transformer (v1) with four stages, patches of 4 px."""

    image_size_px: int
    """Height and width of the square input."""
    window_size: int
    """Side of an attention window, in tokens."""
    embed_dim: int
    """Channels of the first stage; they double at each of the next three."""
    depths: tuple[int, int, int, int]
    """Blocks per stage."""
    num_heads: tuple[int, int, int, int]
    """Attention heads per stage."""
    drop_path: float = 0.1
    """Stochastic depth of the last block in training, rising linearly from 0; 0..1."""

    def __post_init__(self) -> None:
        for name in ("image_size_px", "window_size", "embed_dim"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("depths", "num_heads"):
            value = getattr(self, name)
            ok = isinstance(value, tuple) and len(value) == 4 and min(value) >= 1
            _require(ok, name, value, "four numbers, each at least 1")
        _require(0 <= self.drop_path < 1, "drop_path", self.drop_path, "in 0..1")
        for stage, heads in enumerate(self.num_heads):
            channels = self.embed_dim * 2**stage
            allowed = f"divisors of the channels ({channels} in stage {stage})"
            _require(channels % heads == 0, "num_heads", self.num_heads, allowed)
        for side in self.grid_sizes:
            fits = side <= self.window_size or side % self.window_size == 0
            allowed = f"such that windows of {self.window_size} tile each grid {self.grid_sizes}"
            _require(fits, "image_size_px", self.image_size_px, allowed)
        _require(self.image_size_px % 32 == 0, "image_size_px", self.image_size_px, "32 * n")

    @property
    def width(self) -> int:
        """Channels of the output tokens."""
        return self.embed_dim * 8

    @property
    def grid_sizes(self) -> tuple[int, ...]:
        """Side of the token grid in each stage."""
        return tuple(self.image_size_px // (PATCH_SIZE_PX * 2**stage) for stage in range(4))

    @property
    def num_tokens(self) -> int:
        """Output tokens per image, without the mean token."""
        return self.grid_sizes[-1] ** 2


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvConfig:
    """Image encoder: a convolutional network of timm, up to the features that it classifies."""

    image_size_px: int
    """Height and width of the square input, 32 * n."""
    architecture: str
    """One of `CONV_ARCHITECTURES`."""
    drop_path: float = 0.0
    """Stochastic depth of the last block in training, rising linearly from 0; 0..1."""

    def __post_init__(self) -> None:
        allowed = "one of " + ", ".join(CONV_ARCHITECTURES)
        _require(
            self.architecture in CONV_ARCHITECTURES, "architecture", self.architecture, allowed
        )
        whole = self.image_size_px >= 32 and self.image_size_px % 32 == 0
        _require(whole, "image_size_px", self.image_size_px, "32 * n")
        _require(0 <= self.drop_path < 1, "drop_path", self.drop_path, "in 0..1")

    @property
    def width(self) -> int:
        """Channels of the output tokens: of every EfficientNet-Lite alike."""
        return 1280

    @property
    def num_tokens(self) -> int:
        """Output tokens per image, without the mean token."""
        return (self.image_size_px // 32) ** 2


EncoderConfig = SwinConfig | ConvConfig
"""Of an image encoder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TagDecoderConfig:
    """Cross-attention from label queries to image tokens; no attention between labels."""

    hidden_dim: int = 768
    num_heads: int = 4
    num_layers: int = 2
    """0: there is no decoder, and `RamConfig.direct` alone looks at the image."""
    intermediate_dim: int = 3072
    dropout: float = 0.1
    """On attention weights and both outputs of a layer, in training only; 0..1."""

    def __post_init__(self) -> None:
        for name in ("hidden_dim", "num_heads", "intermediate_dim"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(self.num_layers >= 0, "num_layers", self.num_layers, "at least 0")
        allowed = f"a divisor of hidden_dim ({self.hidden_dim})"
        _require(self.hidden_dim % self.num_heads == 0, "num_heads", self.num_heads, allowed)
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "in 0..1")


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionConfig:
    """Tag encoder and text decoder, the BERT side of RAM and Tag2Text; defaults: the official ones.

    Its width is the tag decoder's `hidden_dim`, whose layers are the tag encoder's first ones.
    """

    num_heads: int = 12
    num_layers: int = 12
    """Of the tag encoder, and of the text decoder."""
    intermediate_dim: int = 3072
    vocab_size: int = 30524
    """Word pieces: 30522 of bert-base-uncased, then [DEC] and [ENC]."""
    num_positions: int = 512
    """Word pieces of the longest text."""
    dropout: float = 0.1
    """On embeddings, attention weights and both outputs of a layer, in training only; 0..1."""

    def __post_init__(self) -> None:
        for name in ("num_heads", "num_layers", "intermediate_dim", "vocab_size", "num_positions"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "in 0..1")


@dataclass(frozen=True, kw_only=True, slots=True)
class RamConfig:
    """A whole model: RAM (one embedding per tag), RAM++ (several descriptions) or Tag2Text."""

    kind: Kind
    image_encoder: EncoderConfig
    tag_decoder: TagDecoderConfig
    num_tags: int
    label_dim: int = 512
    """Width of the label embeddings: 512, the text space of CLIP ViT-B/16, where RAM and RAM++
    project their image tokens too; the tag decoder's width in Tag2Text, whose labels are learnt."""
    descriptions_per_tag: int = 1
    """Rows of label embeddings per tag: 1 in RAM, 51 in the released RAM++."""
    train_labels: bool = False
    """Label embeddings are trained with the rest; otherwise they are frozen text embeddings."""
    direct: bool = False
    """Each label query is compared with the image as a whole, too, and what that says is added to
    the logit: a linear classifier beside the decoder, or in its place, whose rank is the decoder's
    width. Not in the released models; it keeps a thousand classes apart at little cost."""
    captions: CaptionConfig | None = None
    """The caption side; None for a model that only tags."""
    open_set_threshold: float = OPEN_SET_THRESHOLD
    """Of words new to the model, 0..1."""

    def __post_init__(self) -> None:
        _require(self.kind in get_args(Kind), "kind", self.kind, " or ".join(get_args(Kind)))
        for name in ("num_tags", "label_dim", "descriptions_per_tag"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        value = self.open_set_threshold
        _require(0 <= value <= 1, "open_set_threshold", value, "in 0..1")
        one = self.kind == "ram_plus" or self.descriptions_per_tag == 1
        allowed = f"1 for kind {self.kind!r}"
        _require(one, "descriptions_per_tag", self.descriptions_per_tag, allowed)
        width, layers = self.tag_decoder.hidden_dim, self.tag_decoder.num_layers
        allowed = "at least 1 without the direct term"
        _require(self.direct or layers >= 1, "tag_decoder.num_layers", layers, allowed)
        if self.kind == "tag2text":
            allowed = f"the tag decoder's width ({width}) for kind 'tag2text'"
            _require(self.label_dim == width, "label_dim", self.label_dim, allowed)
        if self.captions is not None:
            fits = self.kind != "ram_plus"
            _require(fits, "captions", self.captions, "None for kind 'ram_plus'")
            heads = self.captions.num_heads
            allowed = f"a divisor of the tag decoder's width ({width})"
            _require(width % heads == 0, "captions.num_heads", heads, allowed)
            fits = (
                self.captions.num_layers >= layers
                and self.captions.intermediate_dim == self.tag_decoder.intermediate_dim
            )
            allowed = f"of the tag decoder's intermediate_dim, with at least its {layers} layers"
            _require(fits, "captions", self.captions, allowed)

    @property
    def token_dim(self) -> int:
        """Width of the image tokens that tag decoder and tag encoder read."""
        return self.image_encoder.width if self.kind == "tag2text" else self.label_dim

    @property
    def image_size_px(self) -> int:
        """Height and width of the square input."""
        return self.image_encoder.image_size_px

    @property
    def num_label_rows(self) -> int:
        """Rows of the label embeddings: all descriptions of tag 0, then of tag 1, and so on."""
        return self.num_tags * self.descriptions_per_tag

    def to_json(self) -> str:
        """Return the configuration as JSON text; `from_json` reads it back."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "RamConfig":
        """Return the configuration in `text`; ValueError names what is missing or unknown."""
        try:
            fields: dict[str, Any] = json.loads(text)
            encoder = _encoder_from(dict(fields.pop("image_encoder")))
            decoder = dict(fields.pop("tag_decoder"))
            captions = fields.pop("captions", None)  # absent in folders of the first version
            return cls(
                image_encoder=encoder,
                tag_decoder=TagDecoderConfig(**decoder),
                captions=None if captions is None else CaptionConfig(**captions),
                **fields,
            )
        except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"This is not a model configuration: {error}.") from error


def _encoder_from(fields: dict[str, Any]) -> EncoderConfig:
    """Return the image encoder of a configuration; "architecture" is of a convolutional one."""
    if "architecture" in fields:
        return ConvConfig(**fields)
    for name in ("depths", "num_heads"):
        fields[name] = tuple(fields[name])
    return SwinConfig(**fields)


def swin_l(image_size_px: int, window_size: int) -> SwinConfig:
    """Return the large encoder: 195 M parameters, output width 1536."""
    return SwinConfig(
        image_size_px=image_size_px,
        window_size=window_size,
        embed_dim=192,
        depths=(2, 2, 18, 2),
        num_heads=(6, 12, 24, 48),
    )


def swin_b(image_size_px: int, window_size: int) -> SwinConfig:
    """Return the base encoder: 87 M parameters, output width 1024."""
    return SwinConfig(
        image_size_px=image_size_px,
        window_size=window_size,
        embed_dim=128,
        depths=(2, 2, 18, 2),
        num_heads=(4, 8, 16, 32),
    )


def swin_tiny_test() -> SwinConfig:
    """Return the encoder of the parity tests: same topology as 384/12, 128 px, windows of 4."""
    return SwinConfig(
        image_size_px=128,
        window_size=4,
        embed_dim=16,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8),
    )


def swin_mini() -> SwinConfig:
    """Return the encoder of the first ram-mini: 6 M parameters, .49 GFLOP per 128 px image.

    Shallow where the grid is fine: those blocks cost most time per FLOP on a CPU.
    """
    return SwinConfig(
        image_size_px=128,
        window_size=4,
        embed_dim=48,
        depths=(1, 1, 4, 2),
        num_heads=(3, 6, 12, 24),
        drop_path=0.05,
    )


def lite2_192() -> ConvConfig:
    """Return the encoder of ram-mini: EfficientNet-Lite2 at 192 px, 4.8 M parameters."""
    return ConvConfig(image_size_px=192, architecture="tf_efficientnet_lite2")


_OFFICIAL_DECODER = TagDecoderConfig()
# Half the width of a BERT feed-forward ratio: with 450 tags the decoder stays under a third of
# the .6 GFLOP that an image may cost on a laptop.
_MINI_DECODER = TagDecoderConfig(hidden_dim=128, num_heads=4, num_layers=2, intermediate_dim=192)
# No layers: a thousand queries that read the image cost more than Lite2 itself, and a linear
# classifier on its mean token is better. Captions have this width, too.
_LITE2_DECODER = TagDecoderConfig(
    hidden_dim=256, num_heads=4, num_layers=0, intermediate_dim=256, dropout=0.0
)
_TINY_DECODER = TagDecoderConfig(hidden_dim=64, num_heads=4, num_layers=2, intermediate_dim=128)

# variant -> (encoder, decoder, tags, label embeddings are trained)
_VARIANTS: dict[str, tuple[Callable[[], EncoderConfig], TagDecoderConfig, int, bool]] = {
    "swin_l_384": (lambda: swin_l(384, 12), _OFFICIAL_DECODER, NUM_RAM_TAGS, False),
    "swin_b_384": (lambda: swin_b(384, 12), _OFFICIAL_DECODER, NUM_RAM_TAGS, False),
    "swin_l_224": (lambda: swin_l(224, 7), _OFFICIAL_DECODER, NUM_RAM_TAGS, False),
    "swin_b_224": (lambda: swin_b(224, 7), _OFFICIAL_DECODER, NUM_RAM_TAGS, False),
    "mini": (swin_mini, _MINI_DECODER, 450, True),
    "mini_lite2": (lite2_192, _LITE2_DECODER, 1200, True),
    "tiny": (swin_tiny_test, _TINY_DECODER, 29, False),
}
VARIANTS = tuple(_VARIANTS)


def variant(name: str, *, kind: Kind = "ram", num_tags: int | None = None) -> RamConfig:
    """Return the configuration of a named variant.

    Args:
        name: one of `VARIANTS`.
        kind: "ram", "ram_plus" with 51 descriptions per tag, or "tag2text" with learnt labels.
        num_tags: size of the vocabulary; None: the variant's own (4585 for the official sizes,
            3429 in Tag2Text's).
    """
    _require(name in _VARIANTS, "variant", name, "one of " + ", ".join(VARIANTS))
    encoder, decoder, default_tags, train_labels = _VARIANTS[name]
    if kind == "tag2text" and default_tags == NUM_RAM_TAGS:
        default_tags = NUM_TAG2TEXT_TAGS
    config = RamConfig(
        kind="ram",
        image_encoder=encoder(),
        tag_decoder=decoder,
        num_tags=default_tags if num_tags is None else num_tags,
        train_labels=train_labels,
        direct=decoder is _LITE2_DECODER,
    )
    if kind == "ram_plus":
        return replace(config, kind=kind, descriptions_per_tag=51)
    if kind == "tag2text":
        return replace(config, kind=kind, label_dim=decoder.hidden_dim, train_labels=True)
    return config
