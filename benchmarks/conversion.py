"""Memory and time of `ram-ray model convert` on a checkpoint of RAM's released size.

    python benchmarks/conversion.py --shared ../shared --folder /tmp/conversion

The checkpoint is synthetic: the released keys and shapes (`reference/state_dict_ram.json` of the
acceptance data) with random weights, and an AdamW state of every parameter beside them, 5.6 GB.
Each conversion is a process of its own, whose memory is read every 20 ms: "anonymous" is what it
holds for itself, "mapped" are pages of files that the system takes back when it needs them. For
comparison the same file is converted by plain torch.load and save_file. Prints JSON.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import torch

NAIVE = """
import sys, torch, safetensors.torch
state = torch.load(sys.argv[1], map_location="cpu", weights_only=True)["model"]
kept = {name: tensor.clone() for name, tensor in state.items()}
safetensors.torch.save_file(kept, sys.argv[2])
"""


def main() -> None:
    """Run the benchmark and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--folder", type=Path, required=True, help="20 GB of room, on a disk")
    options = parser.parse_args()
    listing = options.shared / "reference" / "state_dict_ram.json"
    if not listing.is_file():
        sys.exit(f"The acceptance data is absent: there is no {listing}.")
    options.folder.mkdir(parents=True, exist_ok=True)
    checkpoint = options.folder / "ram.pth"
    write_checkpoint(checkpoint, json.loads(listing.read_text(encoding="utf-8")))
    results: dict[str, Any] = {"checkpoint_bytes": checkpoint.stat().st_size}
    idle = [sys.executable, "-m", "ram_ray", "model", "info", "ram-mini"]
    results["info of ram-mini"] = measure(idle)
    for dtype in ("float32", "float16"):
        folder = options.folder / dtype
        command = [sys.executable, "-m", "ram_ray", "model", "convert", str(checkpoint)]
        command += [str(folder), "--dtype", dtype]
        command += ["--mirror", str(options.shared / "data" / "labels" / "ram")]
        results[dtype] = measure(command)
        results[dtype]["weights_bytes"] = (folder / "model.safetensors").stat().st_size
    naive = [sys.executable, "-c", NAIVE, str(checkpoint), str(options.folder / "naive")]
    results["torch.load and save_file"] = measure(naive)
    print(json.dumps(results, indent=2))


def write_checkpoint(path: Path, listing: dict[str, dict[str, Any]]) -> None:
    """Write the file unless it is there; tied keys share their tensor, as in the released one."""
    if path.is_file():
        return
    torch.manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    for name, spec in listing.items():
        if spec["tied_to"] is None:
            dtype = getattr(torch, spec["dtype"])
            tensor = torch.zeros(spec["shape"], dtype=dtype)
            state[name] = tensor.normal_(std=0.02) if dtype.is_floating_point else tensor
    state |= {n: state[s["tied_to"]] for n, s in listing.items() if s["tied_to"] is not None}
    moments = {
        number: {kind: torch.zeros(spec["shape"]) for kind in ("exp_avg", "exp_avg_sq")}
        for number, spec in enumerate(listing.values())
        if spec["kind"] == "param" and spec["tied_to"] is None
    }
    torch.save({"model": state, "optimizer": {"state": moments}, "epoch": 4}, path)


def measure(command: list[str]) -> dict[str, float]:
    """Run a command; return its peak memory in MB and its wall time in seconds."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peaks = {"anonymous_mb": 0.0, "mapped_mb": 0.0}
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            memory = watched.memory_info()
        except psutil.NoSuchProcess:
            break
        peaks["anonymous_mb"] = max(peaks["anonymous_mb"], (memory.rss - memory.shared) / 1e6)
        peaks["mapped_mb"] = max(peaks["mapped_mb"], memory.shared / 1e6)
        time.sleep(0.02)
    if process.wait() != 0:
        sys.exit(f"{command} ended with {process.returncode}")
    rounded = {name: round(peak, 1) for name, peak in peaks.items()}
    return {**rounded, "wall_s": round(time.monotonic() - started, 1)}


if __name__ == "__main__":
    main()
