"""The `Tagger` of a run: what it is made from, and how a process loads it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class TaggerOptions:
    """What a model process needs to make the run's `Tagger`; small, for it travels to actors."""

    model: str
    device: str
    """"cpu", "cuda", or "auto": the GPU if this process sees one."""
    threads: int | None
    """Of torch on a CPU; None: torch's own choice."""
    precision: str
    batch_size: int
    tags: tuple[str, ...] | None
    threshold: float | tuple[float, ...] | None
    top_k: int | None
    score_floor: float | None
    text_encoder: str | None = None
    descriptions: str | None = None
    open_set_threshold: float | None = None
    caption: bool = False
    caption_tags: tuple[str, ...] | None = None
    caption_beams: int | None = None


def load_tagger(options: TaggerOptions) -> tuple[Any, str]:
    """Load the model once; return it with the device it really runs on."""
    import torch

    from ram_model import CaptionOptions, Tagger

    if options.threads:
        # Ray sets OMP_NUM_THREADS to the reserved CPUs, which are bookkeeping here.
        torch.set_num_threads(options.threads)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    captions = None
    if options.caption:
        beams = {} if options.caption_beams is None else {"num_beams": options.caption_beams}
        captions = CaptionOptions(tags=options.caption_tags, **beams)
    tagger = Tagger.load(
        options.model,
        device=device,
        precision=options.precision,
        batch_size=options.batch_size,
        tags=options.tags,
        threshold=options.threshold,
        top_k=options.top_k,
        score_floor=options.score_floor,
        text_encoder=options.text_encoder,
        descriptions=options.descriptions,
        open_set_threshold=options.open_set_threshold,
        captions=captions,
    )
    return tagger, device
