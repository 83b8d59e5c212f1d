"""Settings of a training run: frozen, validated on construction, before any work starts."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from ram_model.config import VARIANTS, Augment, Kind
from ram_ray.config import (
    CaptionTables,
    DecodeConfig,
    Hardware,
    StoreConfig,
    option,
    require,
    require_share,
)

Trains = Literal["all", "decoder", "labels"]
Schedule = Literal["cosine", "epoch_decay", "epoch_cosine", "constant"]
Parallel = Literal["ddp", "fsdp"]
Statistics = Literal["imagenet", "clip"]
TagMode = Literal["add", "replace"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Hardware, CaptionTables):
    """`ram-ray train`: which images and labels, which model, how, and with what resources."""

    data: str
    """Folder, tar or Parquet file, or s3:// prefix of them; images may also lie there loose."""
    output: str = option(metavar="RUN")
    """Run folder or s3:// prefix; made when missing, resumed when it holds this run."""
    labels: str | None = option(None, metavar="PATH")
    """Parquet or JSONL with tags per image (docs/training.md), or the output of `labels parse`."""
    captions: str | None = option(None, metavar="PATH")
    """File or folder of captions: gives tags where `labels` is left out, and texts to write."""
    vocabulary: str | None = option(None, metavar="FILE")
    """File of the tags to learn; None: those of `from_model`."""

    from_model: str | None = option(None, flag="--from", metavar="MODEL")
    """Start from this model name or folder; None: random weights."""
    tags: tuple[str, ...] | None = option(None, metavar="A,B|FILE", as_text=True)
    """With `from_model`: tags to add, or to keep alone (`tag_mode`)."""
    tag_mode: TagMode = "add"
    """`replace`: only these tags."""
    trains: Trains = "all"
    """`decoder`: only label embeddings of tags new to `from_model`, so that the others' scores
    stay bit-equal; `labels`: all label embeddings; `all`: every weight that the papers train."""
    variant: str = "mini"
    """Shape of a new model, one of `ram_model.config.VARIANTS`; of a CLIP: `small`, or one of
    open_clip's models, such as ViT-B-16."""
    kind: Kind | Literal["clip"] = "ram"
    """`clip` trains image and text towers on images with `captions`, without a vocabulary."""
    image_size_px: int | None = option(None, flag="--image-size", metavar="PX")
    """Side of the input, position biases being resized where need be; None: the model's own."""
    text_encoder: str | None = None
    """CLIP text tower for the label embeddings of new tags; None: the folder's own, or random."""
    word_pieces: str | None = None
    """vocab.txt of the caption side, for `caption_weight` above 0; None: the folder's own."""

    tag_weight: float = 1.0
    """Of the asymmetric loss, summed over tags, mean over images."""
    caption_weight: float = 0.0
    """Of the caption loss; above 0, the tag loss is made as large as it, as in the papers."""
    distillation_weight: float = 0.0
    """Of the mean absolute difference to the teacher's image features."""
    alignment_weight: float = 0.0
    """RAM++ only: of the image-text alignment loss, mean over images."""
    gamma_neg: float = 7.0
    """Focus of the asymmetric loss on hard negatives; 7 in the papers."""
    teacher: str | None = None
    """Teacher features for `distillation_weight`: Parquet, or folder of a CLIP image tower."""
    alignment_texts: str | None = None
    """Parquet of text features of the captions, for `alignment_weight`."""

    epochs: int = 5
    """Passes over the data."""
    batch_size: int = 256
    """Images per optimizer step over all workers, whatever their number."""
    micro_batch_size: int = 32
    """Most images per forward pass of a worker; the rest of its share accumulates gradients."""
    learning_rate: float = 1e-4
    """Peak of the schedule."""
    min_learning_rate: float = 5e-7
    """Floor of the decay, and start of the warm-up."""
    warmup_steps: int | None = None
    """Steps of linear warm-up from `min_learning_rate`; None: 3,000, as in the papers, but at most
    a tenth of the run."""
    schedule: Schedule = "epoch_decay"
    """`epoch_decay`: times `decay` per epoch (papers' pretraining); `epoch_cosine`: cosine over
    epochs (their fine-tuning); `cosine`: over steps; `constant`."""
    decay: float = 0.9
    weight_decay: float = 0.05
    clip_grad_norm: float | None = None
    ema_decay: float | None = None
    """Keep averaged weights with this decay, 0..1, and export them; None: export the last ones."""
    seed: int = 42
    augment: Augment = "full"
    statistics: Statistics = "imagenet"
    """Of the normalisation: `imagenet` as inference here; `clip` as the papers' training code."""
    dropout: bool = True
    """False turns off dropout and stochastic depth."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the forward pass; `auto`: bf16 on GPUs."""

    min_workers: int = 1
    """Fewest training processes."""
    max_workers: int = 1
    """Most training processes; above `min_workers`, the run takes what the cluster has
    (elastic)."""
    parallel: Parallel = "ddp"
    """`fsdp` shards weights and optimizer over the workers (FSDP2), for large variants."""
    cpus_per_worker: float = 1.0
    num_decoders: int = 1
    """Fetch-and-decode processes per worker; 0: the worker itself decodes, without Ray Data."""
    cpus_per_decoder: float = 0.5
    address: str | None = None
    """Ray cluster to join; None: a local Ray, or none at all for one worker without decoders."""
    resize_interval_s: float = 60.0
    """How often an elastic run looks for more workers."""
    start_timeout_s: float = 60.0
    """How long workers may take to start before fewer are tried."""
    max_failures: int = -1
    """Worker and node deaths that a run survives; -1: any number."""

    checkpoint_steps: int = 500
    """Steps between checkpoints; one more at the end."""
    keep_checkpoints: int = 2
    log_steps: int = 10
    """Steps between lines of metrics."""
    tensorboard: bool = True
    mlflow: str | None = None
    """Tracking URI of MLflow (`pip install ram-ray[mlflow]`); None: off."""
    wandb: str | None = None
    """Project at Weights & Biases (`pip install ram-ray[wandb]`); None: off."""
    audit: str | None = None
    """Local folder in which every worker logs the samples of each step; None: off."""
    max_error_rate: float = 0.05
    """Share of samples of an epoch that cannot be read or decoded above which the run stops."""

    include: tuple[str, ...] = ()
    """Globs over names of tars, Parquet files and loose images; (): all of them."""
    exclude: tuple[str, ...] = ()
    store: StoreConfig = field(default_factory=StoreConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)

    def __post_init__(self) -> None:
        Hardware.__post_init__(self)
        CaptionTables.__post_init__(self)
        _check_ranges(self)
        _check_choices(self)
        _check_combinations(self)


def _check_ranges(config: TrainConfig) -> None:
    for name in ("data", "output"):
        require(bool(getattr(config, name)), name, getattr(config, name), "not empty")
    for name in ("epochs", "batch_size", "micro_batch_size", "min_workers", "checkpoint_steps",
                 "keep_checkpoints", "log_steps"):  # fmt: skip
        require(getattr(config, name) >= 1, name, getattr(config, name), "at least 1")
    warmup = config.warmup_steps
    require(warmup is None or warmup >= 0, "warmup_steps", warmup, "0 or more")
    for name in ("num_decoders", "seed", "weight_decay", "min_learning_rate",
                 "tag_weight", "caption_weight", "distillation_weight", "alignment_weight",
                 "gamma_neg"):  # fmt: skip
        require(getattr(config, name) >= 0, name, getattr(config, name), "0 or more")
    for name in ("learning_rate", "cpus_per_worker", "cpus_per_decoder", "resize_interval_s",
                 "start_timeout_s"):  # fmt: skip
        require(getattr(config, name) > 0, name, getattr(config, name), "above 0")
    require_share(config, "ema_decay", "decay", "max_error_rate")
    norm, size = config.clip_grad_norm, config.image_size_px
    require(norm is None or norm > 0, "clip_grad_norm", norm, "above 0")
    require(size is None or size >= 32, "image_size_px", size, "at least 32")
    require(config.max_failures >= -1, "max_failures", config.max_failures, "-1 or more")
    allowed = f"at least min_workers ({config.min_workers})"
    require(config.max_workers >= config.min_workers, "max_workers", config.max_workers, allowed)


def _check_choices(config: TrainConfig) -> None:
    choices: dict[str, tuple[str, ...]] = {
        "trains": get_args(Trains),
        "schedule": get_args(Schedule),
        "parallel": get_args(Parallel),
        "augment": get_args(Augment),
        "statistics": get_args(Statistics),
        "tag_mode": get_args(TagMode),
        "kind": (*get_args(Kind), "clip"),
        "precision": ("auto", "fp32", "bf16"),
    }
    for name, allowed in choices.items():
        value = getattr(config, name)
        require(value in allowed, name, value, "one of " + ", ".join(allowed))
    if config.kind != "clip":
        known = config.variant in VARIANTS
        require(known, "variant", config.variant, "one of " + ", ".join(VARIANTS))


def _check_combinations(config: TrainConfig) -> None:
    if config.kind == "clip":
        _check_clip(config)
        return
    labelled = config.labels is not None or config.captions is not None
    require(labelled, "labels", config.labels, "given, or else captions")
    known = config.vocabulary is not None or config.from_model is not None
    require(known, "vocabulary", config.vocabulary, "given where from_model is not")
    fresh = config.from_model is None
    require(not (fresh and config.tags), "tags", config.tags, "left out without from_model")
    require(not (fresh and config.trains != "all"), "trains", config.trains,
            "'all' without from_model")  # fmt: skip
    for weight, source in (("distillation_weight", "teacher"), ("caption_weight", "captions"),
                           ("alignment_weight", "alignment_texts")):  # fmt: skip
        wants = getattr(config, weight) > 0
        has = getattr(config, source) is not None
        require(has or not wants, source, getattr(config, source), f"given with {weight}")
    plus = config.alignment_weight == 0 or config.kind == "ram_plus" or not fresh
    require(plus, "alignment_weight", config.alignment_weight, "0 but for kind ram_plus")
    losses = ("tag_weight", "caption_weight", "distillation_weight", "alignment_weight")
    some = any(getattr(config, name) > 0 for name in losses)
    require(some, "tag_weight", config.tag_weight, "above 0 where no other loss is")
    gpus = config.parallel != "fsdp" or config.max_workers > 1
    require(gpus, "parallel", config.parallel, "'ddp' for one worker")


def _check_clip(config: TrainConfig) -> None:
    """Refuse what a CLIP has no use for, so that nothing given is passed over."""
    require(config.captions is not None, "captions", config.captions, "given for kind clip")
    for name in ("labels", "vocabulary", "tags", "text_encoder", "word_pieces", "teacher"):
        value = getattr(config, name)
        require(value is None, name, value, "left out for kind clip")
    for name in ("caption_weight", "distillation_weight", "alignment_weight"):
        require(getattr(config, name) == 0, name, getattr(config, name), "0 for kind clip")
    require(config.trains == "all", "trains", config.trains, "'all' for kind clip")
