"""The decoder process: what it survives, and that it answers as `decode` does."""

import contextlib
import csv
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ram_model.training.augmentation import ViewRequest
from ram_ray.config import DecodeConfig
from ram_ray.errors import ConfigError, ImageError, ImageErrorCode, RamRayError
from ram_ray.images.decoder import Decoder, _Child, decode
from ram_ray.images.repairs import has_bad_chunk

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = 32
CONFIG = DecodeConfig()


def photo(width: int = 60, height: int = 40) -> bytes:
    file = io.BytesIO()
    gradient = Image.linear_gradient("L").resize((width, height))
    Image.merge("RGB", [gradient, gradient.rotate(180), gradient]).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def slow_png() -> bytes:
    """64 MP of one colour: a small file that takes most of a second to decode."""
    file = io.BytesIO()
    Image.new("RGB", (8000, 8000)).save(file, "PNG", compress_level=1)
    return file.getvalue()


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    with Decoder(SIZE, CONFIG) as decoder:
        yield decoder


def error_of(decoder: Decoder, data: bytes) -> ImageError:
    with pytest.raises(ImageError) as raised:
        decoder.decode(data)
    return raised.value


def memory_kib(pid: int, field: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field))


def wait_until(condition: object, timeout_s: float = 20) -> None:
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_answers_are_those_of_decode(decoder: Decoder) -> None:
    for width, height in [(60, 40), (1, 1), (700, 300)]:
        here, there = (
            decode(photo(width, height), SIZE, CONFIG),
            decoder.decode(photo(width, height)),
        )

        np.testing.assert_array_equal(there.pixels, here.pixels, strict=True)
        assert (there.width, there.height) == (width, height)


def test_the_configuration_reaches_the_child() -> None:
    exif = Image.Exif()
    exif[274] = 3
    file = io.BytesIO()
    Image.linear_gradient("L").save(file, "PNG", exif=exif)
    config = DecodeConfig(orientation="apply", max_image_pixels=256 * 256)
    with Decoder(SIZE, config) as decoder:
        assert decoder.decode(file.getvalue()).pixels[0, 0, 0] > 240
        assert error_of(decoder, photo(257, 256)).code is ImageErrorCode.TOO_LARGE


def test_pixel_limits_above_pillows_own_hold() -> None:
    file = io.BytesIO()
    picture = Image.new("1", (13_400, 13_400))  # 179.6 MP; Pillow refuses TIFFs from 179.0 on
    picture.save(file, "TIFF", compression="group4")
    with Decoder(SIZE, DecodeConfig(max_image_pixels=200_000_000)) as decoder:
        assert decoder.decode(file.getvalue()).width == 13_400


def test_bad_images_raise_and_leave_the_child_alive(decoder: Decoder) -> None:
    child = decoder.child_pid
    expected = {
        b"": ImageErrorCode.EMPTY,
        b"some text": ImageErrorCode.NOT_AN_IMAGE,
        photo()[:200]: ImageErrorCode.TRUNCATED,
        b"\x00\x00\x00\x18ftypheic" + bytes(12): ImageErrorCode.UNSUPPORTED_FORMAT,
    }
    for data, code in expected.items():
        with pytest.raises(ImageError) as here:
            decode(data, SIZE, CONFIG)
        there = error_of(decoder, data)
        assert there.code is code
        assert (there.code, there.message) == (here.value.code, here.value.message)
    assert decoder.child_pid == child


def crash_when_busy(decoder: Decoder, times: int) -> threading.Thread:
    """Send SIGSEGV to the child in the middle of its work, that many times."""

    def is_busy(done: set[int]) -> bool:
        pid = decoder.child_pid
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, StopIteration):
            return pid not in (None, *done) and memory_kib(pid or 0, "VmRSS") > 100_000
        return False

    def crash() -> None:
        done: set[int] = set()
        for _ in range(times):
            wait_until(lambda: is_busy(done))
            pid = decoder.child_pid
            assert pid is not None
            os.kill(pid, signal.SIGSEGV)
            done.add(pid)

    thread = threading.Thread(target=crash)
    thread.start()
    return thread


def test_an_image_that_crashes_every_decoder_costs_only_itself(
    decoder: Decoder, slow_png: bytes
) -> None:
    decoder.decode(photo())
    child = decoder.child_pid
    thread = crash_when_busy(decoder, times=2)
    error = error_of(decoder, slow_png)
    thread.join()

    assert error.code is ImageErrorCode.DECODE_CRASH
    assert error.message == "The decoder process was ended by SIGSEGV on this image."
    assert decoder.decode(photo()).width == 60
    assert decoder.child_pid != child


def test_an_image_is_not_blamed_for_one_death(decoder: Decoder, slow_png: bytes) -> None:
    decoder.decode(photo())
    thread = crash_when_busy(decoder, times=1)

    assert decoder.decode(slow_png).width == 8000
    thread.join()


@pytest.mark.parametrize("wait", [True, False])
def test_a_child_that_died_idle_costs_nothing(decoder: Decoder, wait: bool) -> None:
    decoder.decode(photo())
    child = decoder.child_pid
    assert child is not None
    os.kill(child, signal.SIGKILL)
    if wait:
        wait_until(lambda: not is_running(child))

    assert decoder.decode(photo()).width == 60
    assert decoder.child_pid not in (None, child)


def test_a_child_killed_before_it_reads_costs_nothing(decoder: Decoder) -> None:
    decoder.decode(photo())
    child = decoder.child_pid
    assert child is not None
    os.kill(child, signal.SIGSTOP)
    timer = threading.Timer(0.3, os.kill, (child, signal.SIGKILL))
    timer.start()

    assert decoder.decode(photo()).width == 60
    assert decoder.child_pid != child
    timer.join()


def test_a_child_that_goes_with_its_thread_is_replaced() -> None:
    decoders: list[Decoder] = []

    def make() -> None:
        decoders.append(Decoder(SIZE, CONFIG))
        decoders[0].decode(photo())

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    with decoders[0] as decoder:
        assert decoder.decode(photo()).width == 60


@pytest.mark.parametrize("num_bytes", [1_000, 8_000_000])  # less and more than the pipe holds
def test_a_hanging_child_is_a_timeout_and_is_replaced(num_bytes: int) -> None:
    with Decoder(SIZE, DecodeConfig(decode_timeout_s=0.5)) as decoder:
        decoder.decode(photo())
        child = decoder.child_pid
        assert child is not None
        os.kill(child, signal.SIGSTOP)
        began = time.monotonic()
        error = error_of(decoder, photo() + bytes(num_bytes))
        took_s = time.monotonic() - began

        assert error.code is ImageErrorCode.DECODE_TIMEOUT
        assert "0.5 s" in error.message
        assert 0.5 <= took_s < 5
        assert not is_running(child)
        assert decoder.decode(photo()).width == 60


def test_a_slow_image_is_a_timeout(slow_png: bytes) -> None:
    with Decoder(SIZE, DecodeConfig(decode_timeout_s=0.02)) as decoder:
        assert error_of(decoder, slow_png).code is ImageErrorCode.DECODE_TIMEOUT


def test_an_image_beyond_the_memory_limit_is_too_large(slow_png: bytes) -> None:
    with Decoder(SIZE, DecodeConfig(decode_memory_bytes=2**28)) as decoder:
        fresh = decoder.child_pid
        error = error_of(decoder, slow_png)
        assert error.code is ImageErrorCode.TOO_LARGE
        assert "decode_memory_bytes" in error.message
        assert decoder.decode(photo()).width == 60
        assert decoder.child_pid == fresh
        assert error_of(decoder, slow_png).code is ImageErrorCode.TOO_LARGE
        assert decoder.child_pid != fresh, "a used child alone must not decide"
        assert decoder.decode(photo()).width == 60


@pytest.mark.parametrize(("format_name", "side"), [("WEBP", 6000), ("JPEG", 6000)])
def test_formats_that_call_a_lack_of_memory_damage_are_too_large(
    format_name: str, side: int
) -> None:
    file = io.BytesIO()
    picture = Image.new("RGB", (side, side))
    if format_name == "WEBP":
        picture.save(file, "WEBP", method=0, quality=1)
    else:
        picture.save(file, "JPEG", progressive=True)
    with Decoder(SIZE, DecodeConfig(decode_memory_bytes=2**28)) as decoder:
        assert error_of(decoder, file.getvalue()).code is ImageErrorCode.TOO_LARGE


def test_the_child_rests_small_after_a_large_image(slow_png: bytes) -> None:
    with Decoder(384, CONFIG) as decoder:
        assert decoder.decode(slow_png).width == 8000
        child = decoder.child_pid
        assert child is not None
        assert memory_kib(child, "VmHWM") > 200 * 1024
        wait_until(lambda: memory_kib(child, "VmRSS") < 100 * 1024)


def test_a_file_beyond_the_memory_limit_is_too_large() -> None:
    config = DecodeConfig(decode_memory_bytes=2**28, max_image_bytes=2**30)
    with Decoder(SIZE, config) as decoder:
        child = decoder.child_pid
        assert error_of(decoder, photo() + bytes(2**28)).code is ImageErrorCode.TOO_LARGE
        assert decoder.decode(photo()).width == 60
        assert decoder.child_pid == child


def test_the_child_ends_with_a_killed_parent() -> None:
    script = (
        "import sys, time\n"
        "from ram_ray.config import DecodeConfig\n"
        "from ram_ray.images.decoder import Decoder\n"
        "decoder = Decoder(8, DecodeConfig())\n"
        "decoder._running_child()\n"
        "print(decoder.child_pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        os.kill(child, signal.SIGSTOP)  # as if hanging: it cannot notice the end of its input
        parent.kill()
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: is_running(child) and os.kill(child, signal.SIGKILL))
        wait_until(lambda: not is_running(child))


def test_an_interrupt_from_the_terminal_is_left_to_the_parent(decoder: Decoder) -> None:
    decoder.decode(photo())
    child = decoder.child_pid
    assert child is not None
    os.kill(child, signal.SIGINT)

    assert decoder.decode(photo()).width == 60
    assert decoder.child_pid == child


def test_closing_ends_the_child() -> None:
    decoder = Decoder(SIZE, CONFIG)
    child = decoder.child_pid
    assert child is not None
    decoder.close()
    decoder.close()

    assert decoder.child_pid is None
    assert not is_running(child)
    with pytest.raises(RuntimeError, match="closed"):
        decoder.decode(photo())


def test_no_pipe_stays_open_after_many_deaths(decoder: Decoder) -> None:
    def num_open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    decoder.decode(photo())
    before = num_open_files()
    for _ in range(5):
        assert decoder.child_pid is not None
        os.kill(decoder.child_pid, signal.SIGKILL)
        decoder.decode(photo())
    assert num_open_files() == before


def test_a_child_that_cannot_start_is_an_error_of_the_set_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('numpy is broken here')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with Decoder(SIZE, CONFIG) as decoder:
        with pytest.raises(RamRayError, match=r"could not be started.*numpy is broken here"):
            decoder.decode(photo())


def test_modules_in_the_working_directory_do_not_reach_the_child(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "json.py").write_text("raise ImportError('a stranger')")
    monkeypatch.chdir(tmp_path)
    with Decoder(SIZE, CONFIG) as decoder:
        assert decoder.decode(photo()).width == 60


def test_a_bug_in_the_child_is_no_image_error() -> None:
    child = _Child("no number", CONFIG)  # type: ignore[arg-type]
    try:
        child.wait_until_ready()
        with pytest.raises(RuntimeError, match=r"(?s)bug in the decoder.*TypeError"):
            child.decode(photo(), SIZE, timeout_s=20)
    finally:
        child.kill()


def test_the_child_gives_the_training_view_that_is_asked_for(decoder: Decoder) -> None:
    view = ViewRequest("full", 1, 2, "a/\u00fc.jpg")
    found, expected = decoder.decode(photo(), view), decode(photo(), SIZE, CONFIG, view)
    assert np.array_equal(found.pixels, expected.pixels)
    assert (found.crop, found.mirrored) == (expected.crop, expected.mirrored)
    assert found.crop != (0, 0, 1, 1)


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ConfigError, match="image_size_px is 0"):
        Decoder(0, CONFIG)


def pillows_own(data: bytes) -> np.ndarray:
    """The reference; its second try reads a PNG that is cut behind its pixels."""
    image = Image.open(io.BytesIO(data))
    with contextlib.suppress(OSError):
        image.load()
    return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def pillow_decodes(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Exception:  # noqa: BLE001  hostile bytes make the decoders raise anything
        return False
    return True


def verdict_of(decoder: Decoder, data: bytes) -> ImageErrorCode | None:
    """None: it decodes, to the pixels that Pillow gives."""
    try:
        found = decoder.decode(data)
    except ImageError as error:
        return error.code
    np.testing.assert_array_equal(found.pixels, pillows_own(data))
    return None


def exceptions_in_the_docs() -> dict[str, str]:
    """The one list of verdicts that are not Pillow's: names, and what they give here."""
    text = (REPOSITORY / "docs/decoding.md").read_text(encoding="utf-8")
    section = text.split("## Verdicts that are not Pillow's")[1].split("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `")]
    return {name.strip(" `"): here.strip(" `") for name, _, here in rows}


def exception_of(data: bytes) -> str:
    """Which of them a file is, that Pillow judges otherwise than we do."""
    if data.startswith(b"\x89PNG"):
        return "png-checksum" if has_bad_chunk(data) else "png-end"
    if data.startswith(b"\xff\xd8"):
        return "jpeg-end"
    return "float-grey" if Image.open(io.BytesIO(data)).mode == "F" else "another"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_hostile_files_get_the_verdicts_of_their_manifest(
    decoder: Decoder, hostile_files: Path
) -> None:
    folder = hostile_files
    listed = exceptions_in_the_docs()
    assert set(listed) == {"jpeg-end", "png-checksum", "png-end", "float-grey"}
    with (folder / "MANIFEST.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) > 100
    decoder.decode(photo())
    child = decoder.child_pid
    assert child is not None
    for row in rows:
        data = (folder / row["path"]).read_bytes()
        ours, expected = verdict_of(decoder, data), pillow_decodes(data)
        if row["magic"] == "heic":
            assert ours is ImageErrorCode.UNSUPPORTED_FORMAT
        elif (ours is None) != expected:
            assert listed[exception_of(data)] == (ours.value if ours else "decodes"), row["path"]
        else:
            assert row["expected"].startswith("decode" if expected else "reject"), row["path"]
        assert ours is None or ours in REJECTIONS, row["path"]
    manifest = (folder / "MANIFEST.tsv").read_bytes()
    assert error_of(decoder, manifest).code is ImageErrorCode.NOT_AN_IMAGE
    assert decoder.child_pid == child, "the child died on a file"
    assert memory_kib(child, "VmHWM") < 700 * 1024


REJECTIONS = {
    ImageErrorCode.UNSUPPORTED_FORMAT,
    ImageErrorCode.TRUNCATED,
    ImageErrorCode.CORRUPT,
    ImageErrorCode.TOO_LARGE,
}
