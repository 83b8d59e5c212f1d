"""The decoder process: reads image files from its standard input, answers on its standard output.

Started by `ram_ray.images.decoder.Decoder` as `python -m ram_ray.images.child PARENT_PID OPTIONS`;
it may die at any image. It loads Pillow and numpy, but not torch, ray or a store client.

Request:   REQUEST (lengths of the two that follow), a ViewRequest as JSON or nothing, file bytes
Answer:    ANSWER (status, width, height, body length), then the body: VIEW and pixels (OK) or text
           (IMAGE_ERROR: code, newline, message; OUT_OF_MEMORY: nothing; BUG: traceback)
At start:  READY once, when imports are done
"""

import ctypes
import json
import os
import resource
import signal
import struct
import sys
import traceback
from typing import BinaryIO

REQUEST = struct.Struct("<QH")
ANSWER = struct.Struct("<BIIQ")
VIEW = struct.Struct("<4d?B")  # the crop (left, top, width, height), mirrored or not, remarks
READY = b"R"
OK, IMAGE_ERROR, OUT_OF_MEMORY, BUG = range(4)

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LARGE_PIXELS = 16_000_000  # 64 MB as Pillow holds them, which `Decoder` lets the heap keep


def main() -> None:
    parent_pid, options = int(sys.argv[1]), json.loads(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if sys.platform == "linux":  # elsewhere end of input ends this process, and memory is unlimited
        _die_with(parent_pid)
        _limit(resource.RLIMIT_AS, options["config"]["decode_memory_bytes"])
    _limit(resource.RLIMIT_CORE, 0)
    requests, answers = _take_pipes()
    _serve(requests, answers, options)


def _die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent is gone.

    The kernel means the parent's *thread* that started this process: `Decoder` replaces a child
    that went with its thread.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # it died before the line above
        sys.exit(1)


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Move the protocol off the standard streams, where a C library could write into it."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return requests, answers


def _serve(requests: BinaryIO, answers: BinaryIO, options: dict) -> None:
    # Imported after the limits are set, and only in this process.
    from PIL import AvifImagePlugin, Image

    from ram_model.training.augmentation import ViewRequest
    from ram_ray.config import DecodeConfig
    from ram_ray.errors import ImageError
    from ram_ray.images.decode_bytes import DecodedImage, MemoryLimitError, decode
    from ram_ray.images.extra_formats import load_plugin
    from ram_ray.images.formats import EXTRA
    from ram_ray.images.remarks import to_bits

    config = DecodeConfig(**options["config"])
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # one core per decoder, and stacks cost address space
    Image.MAX_IMAGE_PIXELS = None  # max_image_pixels replaces it
    for name in config.formats:  # now: an import under way when memory runs out stays half done
        load_plugin(EXTRA[name])

    def read_and_decode(num_bytes: int, view_bytes: int) -> DecodedImage:
        asked = requests.read(view_bytes)
        try:
            data = requests.read(num_bytes)
        except MemoryError:
            _skip(requests, num_bytes)
            raise
        view = ViewRequest(**json.loads(asked)) if asked else None
        return decode(data, options["image_size_px"], config, view)

    _write(answers, READY)
    os.dup2(1, 2)  # from here on only remarks of C libraries about single images come there
    while len(request := requests.read(REQUEST.size)) == REQUEST.size:
        try:
            image = read_and_decode(*REQUEST.unpack(request))
        except (MemoryLimitError, MemoryError):
            _answer(answers, OUT_OF_MEMORY, b"")
        except ImageError as error:
            _answer(answers, IMAGE_ERROR, f"{error.code}\n{error.message}".encode())
        except Exception:  # noqa: BLE001  the parent raises it
            _answer(answers, BUG, traceback.format_exc().encode())
        else:
            pixels = image.pixels.data.cast("B")
            header = ANSWER.pack(OK, image.width, image.height, len(pixels))
            _write(answers, header + VIEW.pack(*image.crop, image.mirrored, to_bits(image.remarks)))
            _write(answers, pixels)
            large = image.width * image.height > _LARGE_PIXELS
            del image, pixels
            if large:
                _give_memory_back()


def _give_memory_back() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)


def _skip(requests: BinaryIO, num_bytes: int) -> None:
    while num_bytes > 0:
        num_bytes -= len(requests.read(min(num_bytes, 65536))) or num_bytes


def _answer(answers: BinaryIO, status: int, body: bytes) -> None:
    _write(answers, ANSWER.pack(status, 0, 0, len(body)) + body)


def _write(answers: BinaryIO, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[answers.write(rest) :]


if __name__ == "__main__":
    main()
