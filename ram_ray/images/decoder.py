"""Image bytes -> resized RGB pixels or ImageError: the one decoder of every pipeline.

`Decoder` decodes in a child process, so that a crash, a hang or a flood of memory in a C library
costs one image and never the worker. `decode` is the same code in this process.
"""

import contextlib
import dataclasses
import fcntl
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

import numpy as np

from ram_model.training.augmentation import ViewRequest
from ram_ray.config import DecodeConfig
from ram_ray.errors import ConfigError, ImageError, ImageErrorCode, RamRayError
from ram_ray.images.child import ANSWER, BUG, OK, OUT_OF_MEMORY, READY, REQUEST, VIEW
from ram_ray.images.decode_bytes import DecodedImage, MemoryLimitError, check_num_bytes, decode
from ram_ray.images.extra_formats import decoder_versions
from ram_ray.images.remarks import from_bits

__all__ = ["DecodedImage", "Decoder", "decode"]


class Decoder:
    """Owns one child process that decodes one image at a time; a new one follows when it dies.

    Not thread-safe: one Decoder per thread. Use it as a context manager or `close` it; the child
    also ends with this process, however that ends.
    """

    def __init__(self, image_size_px: int, config: DecodeConfig) -> None:
        """Start the child without waiting for it; `image_size_px` is S of the pixels returned.

        Raises ConfigError where this machine lacks what reads `config.formats`.
        """
        if image_size_px < 1:
            raise ConfigError(f"image_size_px is {image_size_px!r}, but must be at least 1.")
        decoder_versions(config.formats)
        self._image_size_px = image_size_px
        self._config = config
        self._closed = False
        self._child = _Child(image_size_px, config)

    def decode(self, data: bytes, view: ViewRequest | None = None) -> DecodedImage:
        """Decode and resize one image file; `view`: a random view of it, as training sees.

        Raises ImageError (also decode_timeout, decode_crash, and too_large when memory runs out);
        RamRayError when no child can be started.
        """
        if self._closed:
            raise RuntimeError("This Decoder is closed.")
        check_num_bytes(len(data), self._config)  # not worth sending
        child = self._running_child()
        try:
            return child.decode(data, self._image_size_px, self._config.decode_timeout_s, view)
        except _ChildDiedError:
            # Perhaps of this image, perhaps not: the kernel's memory killer, or the thread that
            # started the child has ended. An image that kills does so again in a child of its own.
            pass
        except MemoryLimitError:
            if child.num_requests == 1:
                raise
            child.kill()  # earlier images may have left less room: only a fresh child can tell
        child = self._running_child()
        return child.decode(data, self._image_size_px, self._config.decode_timeout_s, view)

    def close(self) -> None:
        """End the child; further calls do nothing."""
        self._closed = True
        self._child.kill()

    @property
    def child_pid(self) -> int | None:
        """Process id of the child; None while there is none."""
        return self._child.pid if self._child.is_alive() else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _running_child(self) -> "_Child":
        if not self._child.is_alive():
            self._child.kill()  # reap it
            self._child = _Child(self._image_size_px, self._config)
        self._child.wait_until_ready()
        return self._child


class _ChildDiedError(ImageError):
    """`decode_crash`: the child died between a request and its answer."""


class _Child:
    """One run of `ram_ray.images.child` and the pipes to it; dead for good after `kill`."""

    def __init__(self, image_size_px: int, config: DecodeConfig) -> None:
        options = {"image_size_px": image_size_px, "config": dataclasses.asdict(config)}
        # -P: a module in the working directory must not stand in for one of ours.
        command = [sys.executable, "-P", "-m", "ram_ray.images.child"]
        try:
            self._process = subprocess.Popen(
                [*command, str(os.getpid()), json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=_child_environment(),
            )
        except OSError as error:
            raise RamRayError(f"The decoder process could not be started: {error}.") from error
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        if stdin is None or stdout is None or stderr is None:
            raise AssertionError("Popen made no pipes")
        self._pipes = (stdin, stdout, stderr)
        self._stdin, self._stdout = stdin.fileno(), stdout.fileno()
        os.set_blocking(self._stdin, False)  # a child that stops reading must not hold the parent
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):  # over the user's quota: just smaller pieces
                fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)
        self._ready = False
        self.num_requests = 0
        self.pid = self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        if self._ready:
            return
        try:
            self._receive(memoryview(bytearray(len(READY))), time.monotonic() + _START_TIMEOUT_S)
        except (EOFError, TimeoutError):
            self._process.kill()
            lines = self._pipes[2].read().decode(errors="replace").split("\n")
            self.kill()
            reason = next((line for line in reversed(lines) if line.strip()), "it gave no reason")
            raise RamRayError(f"The decoder process could not be started: {reason}") from None
        except BaseException:
            self.kill()
            raise
        self._pipes[2].close()
        self._ready = True

    def decode(
        self, data: bytes, image_size_px: int, timeout_s: float, view: ViewRequest | None = None
    ) -> DecodedImage:
        deadline = time.monotonic() + timeout_s
        self.num_requests += 1
        asked = b"" if view is None else json.dumps(dataclasses.asdict(view)).encode()
        try:
            self._send(memoryview(REQUEST.pack(len(data), len(asked)) + asked), deadline)
            self._send(memoryview(data), deadline)
            header = bytearray(ANSWER.size)
            self._receive(memoryview(header), deadline)
            status, width, height, num_bytes = ANSWER.unpack(header)
            if status == OK:
                seen = bytearray(VIEW.size)
                self._receive(memoryview(seen), deadline)
                *crop, mirrored, remarks = VIEW.unpack(seen)
                pixels = np.empty((image_size_px, image_size_px, 3), np.uint8)
                self._receive(pixels.data.cast("B"), deadline)
                told = from_bits(remarks)
                return DecodedImage(pixels, width, height, tuple(crop), mirrored, told)
            body = bytearray(num_bytes)
            self._receive(memoryview(body), deadline)
        except (BrokenPipeError, EOFError):
            raise _ChildDiedError(
                ImageErrorCode.DECODE_CRASH, f"The decoder process {self._end()} on this image."
            ) from None
        except TimeoutError:
            self.kill()
            raise ImageError(
                ImageErrorCode.DECODE_TIMEOUT,
                f"Decoding took longer than decode_timeout_s ({timeout_s:g} s).",
            ) from None
        except BaseException:
            self.kill()  # half a conversation cannot be continued
            raise
        raise _error_of(status, body.decode())

    def kill(self) -> None:
        """End the process, if it has not ended, and close the pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in self._pipes:
            pipe.close()

    def _end(self) -> str:
        """Say how the process ended by itself: its pipes are closed."""
        try:
            status = self._process.wait(timeout=_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return "closed its pipes"
        finally:
            self.kill()
        return (
            f"was ended by {signal.Signals(-status).name}"
            if status < 0
            else f"ended with status {status}"
        )

    def _send(self, data: memoryview, deadline: float) -> None:
        while data:
            try:
                data = data[os.write(self._stdin, data) :]
            except BlockingIOError:
                _wait_for(self._stdin, select.POLLOUT, deadline)

    def _receive(self, buffer: memoryview, deadline: float) -> None:
        while buffer:
            _wait_for(self._stdout, select.POLLIN, deadline)
            num_bytes = os.readv(self._stdout, [buffer])
            if num_bytes == 0:
                raise EOFError
            buffer = buffer[num_bytes:]


def _wait_for(pipe: int, event: int, deadline: float) -> None:
    """Wait until `pipe` can be read or written; TimeoutError when the monotonic clock says so."""
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(0, math.ceil((deadline - time.monotonic()) * 1000))):
        raise TimeoutError


def _error_of(status: int, body: str) -> Exception:
    if status == BUG:
        return RuntimeError(f"A bug in the decoder process, not a broken image:\n{body}")
    if status == OUT_OF_MEMORY:
        return MemoryLimitError()
    code, message = body.split("\n", 1)
    return ImageError(ImageErrorCode(code), message)


def _child_environment() -> dict[str, str]:
    """Let the child import what this process can, also from a checkout that is not installed."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    # A BLAS thread per core would fill the address space; the child multiplies no matrices.
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    # Have glibc keep freed memory for the next image: fresh pages for each cost a third of the
    # CPU time (benchmarks/results/2026-11-24-decoding.md). 32 MiB is the most it takes for one
    # block, 64 MiB holds a 16 MP photo; `child` gives back what larger ones leave.
    malloc = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**26)}
    return os.environ | {"PYTHONPATH": path} | threads | malloc


_START_TIMEOUT_S = 120  # imports take 0.3 s; a cold network disk under load is allowed for
_EXIT_TIMEOUT_S = 10
_F_SETPIPE_SZ = 1031  # linux/fcntl.h; fcntl.F_SETPIPE_SZ exists on Linux only
_PIPE_BYTES = 2**20  # the most an unprivileged user may ask for (fs.pipe-max-size)
