"""The `Tagger` of a run: what it is made from, and how a process loads it."""

from dataclasses import dataclass
from typing import Any, Literal

from ram_ray.config import Device, Precision, TagChoice, part_of
from ram_ray.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TaggerOptions(TagChoice):
    """What a model process needs to make a `Tagger`; small, for it travels to actors."""

    thresholds: tuple[float, ...] | None = None
    """Of every tag of the vocabulary, in tag order: what a threshold file held."""
    device: Device
    """`auto`: the GPU if this process sees one."""
    threads: int | None = None
    """Of torch on a CPU; None: torch's own choice."""
    precision: Precision = "fp32"
    batch_size: int = 1


def choose_device(device: Device) -> Literal["cpu", "cuda"]:
    """Return the device that a model of this process runs on; `auto` takes a GPU that it sees.

    Raises:
        ConfigError: a GPU is asked for, and this process sees none.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise ConfigError("device is 'cuda', but there is no GPU here; use --device cpu or auto.")
    return "cuda" if has_gpu and device != "cpu" else "cpu"


def load_tagger(options: TaggerOptions) -> tuple[Any, str]:
    """Load the model once; return the `ram_model.Tagger` with the device it really runs on.

    Raises:
        ConfigError: no such model, a broken model folder, unknown tags, bad thresholds.
    """
    import torch

    from ram_model import CaptionOptions, Tagger

    if options.threads:
        # Ray sets OMP_NUM_THREADS to the reserved CPUs, which are bookkeeping here.
        torch.set_num_threads(options.threads)
    asked = part_of(options, TagChoice)
    caption, words, beams = (asked.pop(f"caption{end}") for end in ("", "_tags", "_beams"))
    captions = None
    if caption:
        captions = CaptionOptions(tags=words, **({} if beams is None else {"num_beams": beams}))
    if asked.pop("threshold_file") is not None:
        raise AssertionError("a threshold file is read where the run starts")
    if options.thresholds is not None:
        asked["threshold"] = options.thresholds
    device = choose_device(options.device)
    try:
        tagger = Tagger.load(
            **asked,
            device=device,
            precision=options.precision,
            batch_size=options.batch_size,
            captions=captions,
        )
    except (ValueError, FileNotFoundError) as error:  # ram_model's errors are ValueErrors
        raise ConfigError(str(error)) from error
    return tagger, device
