"""RAM++ label queries: one batched product against the loop over images, in time and memory.

    python benchmarks/ram_plus_labels.py --batch-sizes 1,4,16 --threads 1
    python benchmarks/ram_plus_labels.py --batch-sizes 16,64 --device cuda --precision bf16

Prints JSON. For every image, RAM++ weighs 51 descriptions of each of 4585 tags by their likeness to
the image (`RamPlus.label_queries`, label projection included). The loop is the reference's
formulation (recognize-anything, `ram/models/ram_plus.py`): image by image, all 233,835 rows times
their weights, then a sum over each 51. Both run in turns in one process, on random labels and image
vectors, and must agree. Time is CPU seconds on a CPU and wall seconds on a GPU. Memory is what a
call needs beyond the table and its input: on a GPU the peak of the allocator; on a CPU the peak of
the process (Linux only, else null), where what the allocator reuses does not show.
"""

import argparse
import ctypes
import gc
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from inference import DTYPES, device_name
from torch import Tensor
from torch.nn import functional as F

from ram_model.config import SwinConfig, variant
from ram_model.networks.ram_plus import RamPlus

Queries = Callable[[Tensor], Tensor]
"""Image vectors [B, E] to label queries [B, C, D]."""


def main(argv: list[str] | None = None) -> None:
    """Run the measurements asked for and print them as one JSON object."""
    options = _parse(argv)
    model = _make_model(options)
    forms: dict[str, Queries] = {
        "batched": lambda images_BE: model.label_queries(images_BE[:, None]),
        "loop": lambda images_BE: loop_over_images(model, images_BE),
    }
    with torch.inference_mode():
        results = [time_forms(forms, model, size, options) for size in options.batch_sizes]
        for figures in results:
            figures |= peak_memory(forms, model, figures["batch_size"], options)
    table = model.label_embeddings
    facts = {
        "num_tags": model.config.num_tags,
        "descriptions_per_tag": model.config.descriptions_per_tag,
        "table_mb": round(table.numel() * table.element_size() / 1e6, 1),
        "precision": options.precision,
        "device": device_name(options.device),
        "threads": torch.get_num_threads(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "torch": torch.__version__,
    }
    print(json.dumps({**facts, "results": results}, indent=2))


def loop_over_images(model: RamPlus, images_BE: Tensor) -> Tensor:
    """Return the label queries, made image by image with a product of the table's size each."""
    rows_CKE = model.label_embeddings.unflatten(0, (model.config.num_tags, -1))
    queries = []
    for image_E in images_BE:
        likeness_R = model.reweight_scale.exp() * (
            model.label_embeddings @ (image_E / image_E.norm())
        )
        weights_CK = likeness_R.unflatten(0, rows_CKE.shape[:2]).softmax(dim=-1)
        labels_CE = (weights_CK.unsqueeze(-1) * rows_CKE).sum(dim=1)
        queries.append(F.relu(model.label_projection(labels_CE)))
    return torch.stack(queries)


def time_forms(
    forms: dict[str, Queries], model: RamPlus, batch_size: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Return the time per image of each form at one batch size, and their ratio."""
    images_BE = _make_images(model, batch_size)
    outputs = {name: queries(images_BE) for name, queries in forms.items()}  # and warms up
    difference = (outputs["batched"] - outputs["loop"]).abs().max().item()
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(options.repeats):
        for name, queries in forms.items():
            seconds[name].append(_seconds(queries, images_BE, options))
    figures: dict[str, Any] = {"batch_size": batch_size, "max_difference": difference}
    for name, taken in seconds.items():
        ms = sorted(value * 1e3 / batch_size for value in taken)
        figures[f"{name}_ms_per_image"] = round(statistics.median(ms), 2)
        figures[f"{name}_ms_per_image_min_max"] = [round(ms[0], 2), round(ms[-1], 2)]
    ratios = [loop / ours for ours, loop in zip(*seconds.values(), strict=True)]
    figures["time_ratio_loop_to_batched"] = round(statistics.median(ratios), 2)
    return figures


def peak_memory(
    forms: dict[str, Queries], model: RamPlus, batch_size: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Return the memory of one call of each form at one batch size, and their ratio."""
    images_BE = _make_images(model, batch_size)
    peaks = {name: _peak_bytes(queries, images_BE, options) for name, queries in forms.items()}
    figures: dict[str, Any] = {
        f"{name}_peak_mb_per_call": None if peak is None else round(peak / 1e6, 1)
        for name, peak in peaks.items()
    }
    if peaks["batched"] and peaks["loop"]:
        figures["memory_ratio_loop_to_batched"] = round(peaks["loop"] / peaks["batched"], 2)
    return figures


def _make_images(model: RamPlus, batch_size: int) -> Tensor:
    table = model.label_embeddings
    return torch.randn(batch_size, table.shape[1]).to(table)


def _seconds(queries: Queries, images_BE: Tensor, options: argparse.Namespace) -> float:
    cuda = options.device.startswith("cuda")
    clock = time.perf_counter if cuda else time.process_time
    if cuda:
        torch.cuda.synchronize(options.device)
    start = clock()
    queries(images_BE)
    if cuda:
        torch.cuda.synchronize(options.device)
    return clock() - start


def _peak_bytes(queries: Queries, images_BE: Tensor, options: argparse.Namespace) -> int | None:
    """Return the memory that a call needs at its peak, its result included."""
    gc.collect()
    if options.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(options.device)
        before = torch.cuda.memory_allocated(options.device)
        queries(images_BE)
        return torch.cuda.max_memory_allocated(options.device) - before
    if not Path("/proc/self/clear_refs").exists() or not _return_freed_memory():
        return None
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is now the present
    before = _status_bytes("VmRSS")
    queries(images_BE)
    return _status_bytes("VmHWM") - before


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise LookupError(f"/proc/self/status has no {field}")


def _return_freed_memory() -> bool:
    """Make malloc give back what is freed, so that a process's size is what it uses."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    map_from_bytes, keep_nothing = -3, 0  # M_MMAP_THRESHOLD of glibc
    return bool(libc.mallopt(map_from_bytes, 65536) and libc.malloc_trim(keep_nothing) >= 0)


def _make_model(options: argparse.Namespace) -> RamPlus:
    """Return a RAM++ with the official label side; the image encoder is not called, and tiny."""
    official = variant("swin_l_384", kind="ram_plus", num_tags=options.num_tags)
    encoder = SwinConfig(
        image_size_px=32, window_size=1, embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)
    )
    torch.manual_seed(0)
    config = replace(official, image_encoder=encoder)
    return RamPlus(config).eval().to(options.device, DTYPES[options.precision])


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--num-tags", type=int, default=4585)
    parser.add_argument("--batch-sizes", type=_numbers, default=[1, 4, 16], help="e.g. 1,16")
    parser.add_argument("--precision", choices=sorted(DTYPES), default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    options = parser.parse_args(argv)
    if options.threads:
        torch.set_num_threads(options.threads)
    return options


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
