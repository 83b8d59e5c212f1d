"""The members of a tar as `tar` itself would extract them."""

import io
import tarfile

import pytest

from ram_ray.storage.tars import index_tar


def tar_of(*members: tuple[str, bytes], format: int = tarfile.GNU_FORMAT) -> io.BytesIO:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=format) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return sink


def contents(sink: io.BytesIO) -> dict[str, bytes]:
    data = sink.getvalue()
    members = index_tar(sink).members
    return {one.name: data[one.offset : one.offset + one.size] for one in members}


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_odd_and_repeated_names(format: int) -> None:
    names = ["./a.jpg", "n" * 300 + ".jpg", "caf\udce9.jpg", "b\u00e9.jpg", "a.jpg"]
    sink = tar_of(*((name, name.encode(errors="replace")) for name in names), format=format)
    assert contents(sink) == {
        "n" * 300 + ".jpg": names[1].encode(),
        "caf\\xe9.jpg": names[2].encode(errors="replace"),
        "b\u00e9.jpg": names[3].encode(errors="replace"),
        "a.jpg": b"a.jpg",  # the newer version
    }


def test_links_and_files_of_macos() -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name in ("a.jpg", "._a.jpg"):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"one"))
        for name, kind in (("hard.jpg", tarfile.LNKTYPE), ("soft.jpg", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.jpg"
            tar.addfile(info)
    assert contents(sink) == {"a.jpg": b"one", "hard.jpg": b"one"}
    index = index_tar(sink)
    assert index.apple_double == 1
    assert [name for name, _ in index.problems] == ["soft.jpg"]


@pytest.mark.parametrize("cut", [1500, 600])
def test_a_tar_that_was_cut_or_damaged_is_named(cut: int) -> None:
    sink = tar_of(("a.jpg", b"x" * 700), ("b.jpg", b"y" * 700))
    with pytest.raises(tarfile.TarError):
        index_tar(io.BytesIO(sink.getvalue()[:cut]))
