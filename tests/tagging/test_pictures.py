"""What people's pictures come to at the command line: repaired, clipped, skipped by name, HEIC."""

import io
import json
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ram_ray.cli import app as cli
from ram_ray.errors import ConfigError
from ram_ray.images import extra_formats
from ram_ray.images.extra_formats import ExtraDecoder
from ram_ray.runs.ray_data import on_every_node
from tests.conftest import photo_bytes

pytestmark = pytest.mark.usefixtures("ray_session")


def png_with_wrong_checksum() -> bytes:
    png = photo_bytes(1, suffix=".png")
    text = b"tEXt" + b"Software\0own"
    wrong = struct.pack(">I", zlib.crc32(text) ^ 1)
    return png[:33] + struct.pack(">I", len(text) - 4) + text + wrong + png[33:]


def grey(values: np.ndarray, format_name: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, format_name)
    return file.getvalue()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The forms of issue 15, E, and what listing leaves out."""
    folder = tmp_path_factory.mktemp("pictures")
    ramp = np.arange(64 * 48).reshape(48, 64) % 256
    files = {
        "whole.jpg": photo_bytes(0),
        "no-end-marker.jpg": photo_bytes(0)[:-2],
        "half-an-end-marker.jpg": photo_bytes(2)[:-1],
        "text-checksum.png": png_with_wrong_checksum(),
        "grey16.png": grey((ramp * 257).astype(np.uint16), "PNG"),
        "grey-float.tif": grey((ramp / 255).astype(np.float32), "TIFF"),
        "depth.tif": grey((ramp * 3.0).astype(np.float32), "TIFF"),
        "cut.jpg": photo_bytes(3)[:-20],
        **dict.fromkeys(("IMG_1.HEIC", "IMG_2.heic", "a.jxl", "notes.txt", "LICENSE"), b"x"),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def finished(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    output = tmp_path_factory.mktemp("runs") / "out"
    return output, json.loads(run("tag", pictures, output, "--json"))


def run(*arguments: object, code: int = 0) -> str:
    given = [str(one) for one in arguments]
    if given[0] == "tag" and len(given) > 2 and not given[2].startswith("-"):
        given += ["--device", "cpu", "--batch-size", "4", "--max-error-rate", "1"]
    result = CliRunner().invoke(cli.app, given)
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


REMARKS = {"no_end_marker": 2, "bad_checksum": 1, "wide_grey_clipped": 1}


def test_repairs_and_clipping_are_counted_and_said(
    pictures: Path, finished: tuple[Path, dict[str, Any]]
) -> None:
    output, summary = finished
    assert (summary["num_tagged"], summary["quarantined_by_code"]) == (
        6, {"truncated": 1, "unsupported_format": 1},
    )  # fmt: skip
    assert summary["remarks"] == REMARKS
    assert summary["skipped_by_suffix"] == {".heic": 2, ".jxl": 1, ".txt": 1, "no suffix": 1}
    told = run("tag", pictures, output)
    assert "2 pictures lacked their end marker." in told
    assert "1 picture had a wrong checksum" in told
    assert "1 picture is 16-bit grey and was clipped: --wide-grey scale." in told
    assert "Skipped by name 5 (2 .heic, 1 .jxl, 1 .txt, 1 no suffix)" in told


def test_an_output_of_0_1_0_without_the_counts_is_resumed(
    pictures: Path, finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    output = Path(shutil.copytree(finished[0], tmp_path / "old"))
    for path, names in (
        ("commits/shard-000000.json", ["remarks"]),
        ("plan/plan.json", ["skipped_by_suffix"]),
    ):
        fields = json.loads((output / path).read_text())
        for name in names:
            del fields[name]
        (output / path).write_text(json.dumps(fields))
    record = json.loads((output / "run.json").read_text())
    del record["decode"]["wide_grey"], record["decode"]["formats"]
    (output / "run.json").write_text(json.dumps(record))

    summary = json.loads(run("tag", pictures, output, "--json"))

    assert summary["resumed"]
    assert (summary["remarks"], summary["skipped_by_suffix"]) == ({}, {})
    assert (summary["num_tagged"], summary["num_skipped"]) == (6, 5)
    told = run("tag", pictures, output, "--wide-grey", "scale", code=2)
    assert "its decode.wide_grey is 'clip', this call's is 'scale'" in told


def test_what_a_retry_repairs_is_counted_with_the_rest(
    pictures: Path, finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    output = Path(shutil.copytree(finished[0], tmp_path / "out"))
    cut = pictures / "cut.jpg"
    before = cut.read_bytes()
    cut.write_bytes(photo_bytes(3)[:-2])
    try:
        retried = json.loads(
            run("retry", output, "--error", "truncated", "--device", "cpu",
                "--max-error-rate", "1", "--json")
        )  # fmt: skip
        assert (retried["num_tagged"], retried["remarks"]) == (1, {"no_end_marker": 1})
        whole = json.loads(run("tag", pictures, output, "--json"))
        assert whole["remarks"] == REMARKS | {"no_end_marker": 3}
    finally:
        cut.write_bytes(before)


def test_a_single_photo_says_so_too(pictures: Path) -> None:
    photo = pictures / "grey16.png"
    clipped = run("tag", photo, "--device", "cpu")
    assert "1 picture is 16-bit grey and was clipped: --wide-grey scale." in clipped
    assert "clipped" not in run("tag", photo, "--device", "cpu", "--wide-grey", "scale")
    assert "marker" in run("tag", pictures / "no-end-marker.jpg", "--device", "cpu")


def test_heic_photos_are_planned_tagged_and_recorded_where_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif", reason="pip install 'ram-ray[heic]'")
    from pillow_heif import from_pillow

    (tmp_path / "in").mkdir()
    with Image.open(io.BytesIO(photo_bytes(0))) as image:
        from_pillow(image).save(tmp_path / "in/IMG_1.HEIC")
    (tmp_path / "in/whole.jpg").write_bytes(photo_bytes(0))
    out = tmp_path / "out"
    summary = json.loads(run("tag", tmp_path / "in", out, "--formats", "heic", "--json"))
    assert (summary["num_tagged"], summary["num_skipped"]) == (2, 0)
    record = json.loads((out / "run.json").read_text())
    assert record["decode"]["formats"] == ["heic"]
    assert {"pillow-heif", "libheif", "heic decoders"} <= set(record["versions"])
    told = run("tag", tmp_path / "in", out, code=2)
    assert "its decode.formats is ['heic'], this call's is []" in told


def test_a_run_that_a_machine_cannot_decode_is_refused_and_writes_nothing(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = ExtraDecoder("pillow-gone", (1, 0, 0), "pillow_gone")
    monkeypatch.setitem(extra_formats.DECODERS, "jxl", gone)
    told = run("tag", pictures, tmp_path / "out", "--formats", "jxl", code=2)
    assert "formats asks for jxl, but pillow-gone is not here" in told
    assert not (tmp_path / "out").exists()


def test_what_a_machine_of_the_cluster_lacks_is_its_own_sentence() -> None:
    def lack(what: str) -> None:
        raise ConfigError(f"{what} is not here.")

    with pytest.raises(ConfigError, match=r"^libheif is not here\.$"):
        on_every_node(lack, "libheif")


def test_a_call_on_every_machine_answers_once_for_each() -> None:
    def length(what: str) -> int:
        return len(what)

    assert on_every_node(length, "heic") == [4]
