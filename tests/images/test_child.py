"""The decoder process as a program: what it loads, and what it may use."""

import os
import subprocess
import sys
from pathlib import Path

from ram_ray.config import DecodeConfig
from ram_ray.images.decoder import Decoder

HEAVY = ("torch", "ray", "obstore", "pyarrow", "torchvision", "boto3")


def test_its_imports_are_light() -> None:
    script = (
        "import sys, ram_ray.images.child, ram_ray.images.decode_bytes\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-P", "-c", script]
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "[]"


def test_the_running_child_is_limited_and_maps_no_heavy_library() -> None:
    with Decoder(8, DecodeConfig(decode_memory_bytes=2**29)) as decoder:
        decoder._running_child()
        process = Path(f"/proc/{decoder.child_pid}")
        limits = {
            line[:25].strip(): line[25:].split()[:2]
            for line in (process / "limits").read_text().splitlines()
        }
        maps = (process / "maps").read_text()
        num_threads = len(list((process / "task").iterdir()))

    assert limits["Max address space"] == [str(2**29)] * 2
    assert limits["Max core file size"] == ["0", "0"]
    assert not [name for name in ("libtorch", "_raylet", "libarrow", "obstore") if name in maps]
    assert num_threads == 1


def test_a_child_whose_parent_is_already_gone_ends() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    options = '{"image_size_px": 8, "config": {"decode_memory_bytes": 536870912}}'
    command = [sys.executable, "-P", "-m", "ram_ray.images.child", str(2**30), options]
    out = subprocess.run(command, env=environment, capture_output=True, stdin=subprocess.PIPE)

    assert out.returncode == 1
    assert out.stdout == b""


def test_it_ends_at_the_end_of_its_input() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    options = '{"image_size_px": 8, "config": {"decode_memory_bytes": 536870912}}'
    command = [sys.executable, "-P", "-m", "ram_ray.images.child", str(os.getpid()), options]
    out = subprocess.run(command, env=environment, capture_output=True, input=b"")

    assert (out.returncode, out.stdout) == (0, b"R")
