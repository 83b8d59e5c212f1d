"""Model only: images per second and FLOP utilisation, by batch size and precision.

    python benchmarks/inference.py                       # mini on this machine
    python benchmarks/inference.py --variant swin_l_384 --kind ram_plus --device cuda \
        --batch-sizes 64,128 --precisions fp32,bf16 --peak-tflops 989
    python benchmarks/inference.py --baseline my_module:make
    python benchmarks/inference.py --folding             # what folding gains, as ratios

Prints JSON. Random weights (speed does not depend on them), random pixels, no ray. Timed is what a
`Tagger` call does: uint8 in, normalise, network, threshold, sparse tags out. A FLOP count is of the
network alone (matrix products and convolutions; two per multiply-add).

A baseline is `callable(config: RamConfig, device: str) -> callable(images)`, where `images` is the
uint8 [n, S, S, 3] array the Tagger gets; both are timed in turns, so that noise hits both. On a
busy machine read the CPU seconds (of all threads of the process) rather than the images/s.

`--folding` times the network as it is trained against the folded one (`ram_model.folding`), whole
and by part, in turns; its ratios are of CPU seconds on a CPU, and of wall seconds on a GPU.
"""

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ram_model.config import VARIANTS, Kind, RamConfig, variant
from ram_model.folding import FoldedRam
from ram_model.networks.filling import build_model, build_on_meta
from ram_model.networks.ram import Ram
from ram_model.tagger import Precision, Tagger
from ram_model.vocabulary import Vocabulary


class Turn(NamedTuple):
    """Mean times of one call within a turn."""

    wall_s: float
    cpu_s: float


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main(argv: list[str] | None = None) -> None:
    """Run the measurements asked for and print them as one JSON object."""
    options = _parse(argv)
    config = variant(options.variant, kind=options.kind, num_tags=options.num_tags)
    baseline = _load_baseline(options.baseline, config, options.device)
    results = [
        measure_folding(config, precision, batch_size, options)
        if options.folding
        else measure(config, precision, batch_size, options, baseline)
        for precision in options.precisions
        for batch_size in options.batch_sizes
    ]
    print(json.dumps({**_facts(options, config), "results": results}, indent=2))


def measure(
    config: RamConfig,
    precision: Precision,
    batch_size: int,
    options: argparse.Namespace,
    baseline: Callable[[np.ndarray], Any] | None,
) -> dict[str, Any]:
    """Return the figures of one precision and batch size; the median over `--repeats`."""
    tagger = _make_tagger(config, precision, batch_size, options)
    side = config.image_size_px
    pixels = np.random.default_rng(0).integers(0, 256, (batch_size, side, side, 3), dtype=np.uint8)
    contenders = {"ours": tagger} if baseline is None else {"ours": tagger, "baseline": baseline}
    seconds = _time_in_turns(contenders, pixels, options)
    median_s = statistics.median(turn.wall_s for turn in seconds["ours"])
    cpu_s = statistics.median(turn.cpu_s for turn in seconds["ours"])
    spread = sorted(turn.wall_s for turn in seconds["ours"])
    flops = count_flops(config, batch_size)
    peak = options.peak_tflops * 1e12 if options.peak_tflops else _measure_peak(precision, options)
    figures = {
        "precision": precision,
        "batch_size": batch_size,
        "images_per_s": round(batch_size / median_s, 3),
        "ms_per_batch": round(median_s * 1e3, 3),
        "ms_per_batch_min_max": [round(spread[0] * 1e3, 3), round(spread[-1] * 1e3, 3)],
        "cpu_ms_per_image": round(cpu_s / batch_size * 1e3, 3),
        "gflop_per_image": round(flops / 1e9, 4),
        "tflops": round(batch_size * flops / median_s / 1e12, 5),
        "peak_tflops": round(peak / 1e12, 4),
        "flop_utilisation": round(batch_size * flops / median_s / peak, 4),
    }
    if "baseline" in seconds:
        theirs_s = statistics.median(turn.wall_s for turn in seconds["baseline"])
        figures["baseline_images_per_s"] = round(batch_size / theirs_s, 3)
        figures["ratio_to_baseline"] = round(theirs_s / median_s, 3)
    return figures


def measure_folding(
    config: RamConfig, precision: Precision, batch_size: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Return times per image of the plain and the folded network, and their ratios."""
    dtype = DTYPES[precision]
    plain = _make_model(config).eval().to(options.device)
    folded = FoldedRam(plain)
    plain.to(dtype)
    folded.to(dtype)
    side = config.image_size_px
    images = torch.randn(batch_size, 3, side, side).to(options.device, dtype)
    with torch.inference_mode():
        tokens = plain.encode_images(images)
    parts: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
        "network": (lambda _: plain(images), lambda _: folded(images)),
        "image_encoder": (
            lambda _: plain.encode_images(images),
            lambda _: folded.encode_images(images),
        ),
        "tag_decoder": (
            lambda _: plain.decode_tags(tokens, plain.label_queries(tokens)),
            lambda _: folded.decode_tags(tokens),
        ),
    }
    figures: dict[str, Any] = {"precision": precision, "batch_size": batch_size}
    for name, (before, after) in parts.items():
        contenders = {"plain": before, "folded": after}
        with torch.inference_mode():
            turns = _time_in_turns(contenders, np.zeros(0), options)
        cuda = options.device.startswith("cuda")
        ms = {
            form: statistics.median(t.wall_s if cuda else t.cpu_s for t in taken) * 1e3 / batch_size
            for form, taken in turns.items()
        }
        figures[name] = {f"{form}_ms_per_image": round(value, 3) for form, value in ms.items()}
        figures[name]["gain"] = round(ms["plain"] / ms["folded"], 3)
    return figures


def count_flops(config: RamConfig, batch_size: int) -> float:
    """Return FLOPs per image at this batch size, counted on the meta device."""
    model = build_on_meta(config).eval()
    images = torch.zeros(batch_size, 3, *[config.image_size_px] * 2, device="meta")
    width = config.tag_decoder.hidden_dim
    shared = torch.zeros(1, config.num_tags, width, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images, shared if model.queries_are_constant else None)
    return counter.get_total_flops() / batch_size


def _make_model(config: RamConfig) -> Ram:
    torch.manual_seed(0)
    return build_model(config)


def _make_tagger(
    config: RamConfig, precision: Precision, batch_size: int, options: argparse.Namespace
) -> Tagger:
    model = _make_model(config)
    names = tuple(f"tag {tag_id}" for tag_id in range(config.num_tags))
    thresholds = np.full(config.num_tags, 0.65, dtype=np.float32)
    return Tagger(
        model,
        Vocabulary(names=names, thresholds=thresholds),
        device=options.device,
        precision=precision,
        batch_size=batch_size,
        compile=options.compile,
    )


def _time_in_turns(
    contenders: Mapping[str, Callable[[np.ndarray], Any]],
    pixels: np.ndarray,
    options: argparse.Namespace,
) -> dict[str, list[Turn]]:
    """Return times per call; each turn lasts about `--turn-s` per contender."""
    calls: dict[str, int] = {}
    for name, contender in contenders.items():
        contender(pixels)  # compiles, allocates
        calls[name] = max(
            1, int(options.turn_s / _time(contender, pixels, 1, options.device).wall_s)
        )
    seconds: dict[str, list[Turn]] = {name: [] for name in contenders}
    for _ in range(options.repeats):
        for name, contender in contenders.items():
            seconds[name].append(_time(contender, pixels, calls[name], options.device))
    return seconds


def _time(
    contender: Callable[[np.ndarray], Any], pixels: np.ndarray, calls: int, device: str
) -> Turn:
    _wait(device)
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for _ in range(calls):
        contender(pixels)
    _wait(device)
    return Turn((time.perf_counter() - wall_s) / calls, (time.process_time() - cpu_s) / calls)


def _measure_peak(precision: Precision, options: argparse.Namespace) -> float:
    """Return FLOP/s of the best of five large square matrix products."""
    side = 8192 if options.device.startswith("cuda") else 1536
    matrix = torch.randn(side, side).to(options.device, DTYPES[precision])

    def product(_: np.ndarray) -> None:
        torch.mm(matrix, matrix)

    nothing = np.zeros(0)
    product(nothing)
    best_s = min(_time(product, nothing, 2, options.device).wall_s for _ in range(5))
    return 2 * side**3 / best_s


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _load_baseline(
    name: str | None, config: RamConfig, device: str
) -> Callable[[np.ndarray], Any] | None:
    if name is None:
        return None
    module, _, attribute = name.partition(":")
    sys.path.insert(0, os.getcwd())
    return getattr(importlib.import_module(module), attribute)(config, device)


def _facts(options: argparse.Namespace, config: RamConfig) -> dict[str, Any]:
    return {
        "variant": options.variant,
        "kind": config.kind,
        "num_tags": config.num_tags,
        "image_size_px": config.image_size_px,
        "num_parameters": sum(p.numel() for p in build_on_meta(config).parameters()),
        "device": device_name(options.device),
        "compile": options.compile,
        "peak": "given" if options.peak_tflops else "measured matrix product",
        "threads": torch.get_num_threads(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "torch": torch.__version__,
    }


def device_name(device: str) -> str:
    """Return what a reader knows the device by."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")  # platform.processor() is empty on most Linux systems
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--variant", choices=VARIANTS, default="mini")
    parser.add_argument("--kind", choices=get_args(Kind), default="ram")
    parser.add_argument("--num-tags", type=int, help="default: the variant's own")
    parser.add_argument("--batch-sizes", type=_numbers, default=[1, 16], help="e.g. 1,16")
    parser.add_argument("--precisions", type=lambda s: s.split(","), default=["fp32"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--peak-tflops", type=float, help="of the device; default: measured")
    parser.add_argument("--baseline", metavar="MODULE:CALLABLE")
    parser.add_argument("--folding", action="store_true", help="plain against folded, by part")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--turn-s", type=float, default=1.0, help="seconds per turn")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    options = parser.parse_args(argv)
    unknown = set(options.precisions) - set(get_args(Precision))
    if unknown:
        parser.error(f"--precisions holds {sorted(unknown)}, but must be of fp32, bf16")
    if options.threads:
        torch.set_num_threads(options.threads)
    return options


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
