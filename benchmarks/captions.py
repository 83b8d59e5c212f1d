"""Captions only: seconds per caption, by beams, in a batch and one image at a time.

    python benchmarks/captions.py                                     # official size, here
    python benchmarks/captions.py --device cuda --batch-size 64 --precision bf16
    python benchmarks/captions.py --variant tiny --repeats 1          # quick

Prints JSON. Random weights and image tokens, so texts run to their greatest length: an upper bound
of what real captions, which end earlier, cost. The image encoder is left out, and timed is the rest
of what a caption needs: tag text, tag encoder, decoding. All contenders are timed in turns. On a
CPU the ratios are of CPU seconds, which other work disturbs less than the wall clock.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ram_model.captioning import Captioner
from ram_model.config import CaptionConfig, RamConfig, SwinConfig, variant
from ram_model.networks.filling import build_model
from ram_model.networks.text_generation import CaptionOptions
from ram_model.wordpiece import WordPieceTokenizer


class Turn(NamedTuple):
    """Seconds per caption."""

    wall_s: float
    cpu_s: float


TAGS = ("dog", "grass", "run", "sea", "sky", "stand", "tree", "water")  # 8 of about 10 per photo
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "picture", "of", "|", *TAGS)


def main(argv: list[str] | None = None) -> None:
    """Run the measurements asked for and print them as one JSON object."""
    options = _parse(argv)
    config = _config(options.variant)
    contenders = _contenders(config, options)
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    for number in range(options.repeats + 1):
        for name, write in contenders.items():
            turn = _time(write, options)
            if number:  # the first one warms up
                turns[name].append(turn)
    medians = {
        name: Turn(*(statistics.median(values) for values in zip(*seen, strict=True)))
        for name, seen in turns.items()
    }
    basis = "wall_s" if options.device.startswith("cuda") else "cpu_s"
    ratios = {}
    for beams in options.beams:
        alone, together = medians[f"one by one, {beams} beams"], medians[f"batch, {beams} beams"]
        ratio = getattr(alone, basis) / getattr(together, basis)
        ratios[f"one by one / batch, {beams} beams"] = round(ratio, 2)
    results = {name: turn._asdict() for name, turn in medians.items()}
    print(json.dumps({**_facts(options), "results": results, "ratios": ratios}, indent=2))


def _time(write: Callable[[], Any], options: argparse.Namespace) -> Turn:
    wall, cpu = time.perf_counter(), time.process_time()
    write()  # ends with texts on the CPU, so a GPU has finished too
    seconds = (time.perf_counter() - wall, time.process_time() - cpu)
    return Turn(*(round(value / options.batch_size, 4) for value in seconds))


def _contenders(config: RamConfig, options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    torch.manual_seed(0)
    model = build_model(config).eval().to(options.device, DTYPES[options.precision])
    assert config.captions is not None, "set by _config"
    unused = config.captions.vocab_size - 2 - len(_SPECIAL)
    tokenizer = WordPieceTokenizer([*_SPECIAL, *(f"[unused{i}]" for i in range(unused))])
    num_tokens = 1 + variant("swin_b_384").image_encoder.num_tokens
    shape = (options.batch_size, num_tokens, config.token_dim)
    tokens = torch.randn(shape, device=options.device, dtype=DTYPES[options.precision])
    contenders: dict[str, Callable[[], Any]] = {}
    for beams in options.beams:
        decoding = CaptionOptions(num_beams=beams, max_length=options.max_length)
        captioner = Captioner(model, tokenizer, decoding)
        contenders[f"batch, {beams} beams"] = _batch(captioner, tokens)
        contenders[f"one by one, {beams} beams"] = _one_by_one(captioner, tokens)
    return contenders


def _batch(captioner: Captioner, tokens: Tensor) -> Callable[[], Any]:
    return lambda: captioner(tokens, [TAGS] * len(tokens))


def _one_by_one(captioner: Captioner, tokens: Tensor) -> Callable[[], Any]:
    return lambda: [captioner(one.unsqueeze(0), [TAGS]) for one in tokens]


def _config(name: str) -> RamConfig:
    """Return Tag2Text of a variant with a caption side, its unused image encoder made tiny."""
    config = variant(name, kind="tag2text")
    captions = CaptionConfig()
    if name == "tiny":
        captions = replace(captions, num_heads=8, num_layers=3, intermediate_dim=128)
    # tokens come from nowhere, and the encoder's width alone matters: 8 * embed_dim
    encoder = config.image_encoder
    assert isinstance(encoder, SwinConfig), "the papers' captions are on Swin"
    thin = SwinConfig(
        image_size_px=config.image_size_px,
        window_size=encoder.window_size,
        embed_dim=encoder.embed_dim,
        depths=(1, 1, 1, 1),
        num_heads=encoder.num_heads,
    )
    return replace(config, image_encoder=thin, captions=captions, num_tags=1)


def _facts(options: argparse.Namespace) -> dict[str, Any]:
    on_gpu = options.device.startswith("cuda")
    return {
        "variant": options.variant,
        "precision": options.precision,
        "batch_size": options.batch_size,
        "max_length": options.max_length,
        "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load_average": round(os.getloadavg()[0], 1),
    }


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--variant", default="swin_b_384", choices=("swin_b_384", "tiny"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", choices=tuple(DTYPES))
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument(
        "--beams", type=lambda text: [int(n) for n in text.split(",")], default=[1, 3]
    )
    parser.add_argument("--max-length", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
