"""What `import ram_ray as rr` gives: the names, their cost, and the stages in a user's own code."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import ram_ray as rr
from tests.conftest import photo_bytes, write_photos

ROOT = Path(__file__).parents[1]
NAMES = """
tag tag_photo plan retry verify rethreshold export evaluate calibrate parse_captions build_labels
run_engine train serve FetchAndDecode TagImages tagger_app Decoder CaptionParser TagConfig
RetryConfig ParseConfig BuildConfig ListConfig EngineConfig TrainConfig LabelsConfig
CalibrationConfig ServeConfig StoreConfig DecodeConfig RamRayError ConfigError LeaseHeldError
IncompleteRunError UnreachableError ImageError ImageErrorCode
""".split()


def test_the_names_are_these_and_all_load() -> None:
    assert rr.__all__ == NAMES
    for name in NAMES:
        assert callable(getattr(rr, name)), name
    with pytest.raises(AttributeError, match="no attribute 'tags'"):
        rr.tags  # noqa: B018


def test_importing_costs_no_ray_and_no_torch() -> None:
    code = (
        "import sys, ram_ray as rr; rr.TagConfig(source='a', output='b'); "
        "print([name for name in ('ray', 'torch', 'pyarrow', 'PIL') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def readme_block(heading: str, file: str = "README.md") -> str:
    """Return the Python block of a page that holds these words."""
    text = (ROOT / file).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return next(block for block in blocks if heading in block)


def test_one_photo_as_readme_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo_bytes(0))
    monkeypatch.chdir(tmp_path)
    found = rr.tag_photo("photo.jpg", threshold=0.0, top_k=3)
    assert len(found.tags) == 3
    with pytest.raises(rr.ConfigError, match="shard_rows is for runs"):
        rr.tag_photo("photo.jpg", shard_rows=3)


def test_the_stages_in_a_dataset_of_ones_own(tmp_path: Path, ray_session: None) -> None:
    """README's lines, run as they stand; a broken photo keeps its row."""
    import ray

    write_photos(tmp_path / "photos", 3)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    names: dict[str, Any] = {"ray": ray, "rr": rr}
    lines = readme_block("read_binary_files").replace('"photos"', repr(str(tmp_path / "photos")))
    exec(lines, names)
    rows = {row["path"]: row for row in names["tagged"].take_all()}
    assert len(rows) == 4
    broken = rows.pop(str(tmp_path / "photos" / "broken.jpg"))
    assert (broken["error_code"], list(broken["tags"])) == ("truncated", [])
    for path, row in rows.items():
        alone = rr.tag_photo(path, top_k=5)
        assert list(row["tags"]) == list(alone.tags)
        assert "pixels" not in row


def test_rows_may_name_places_instead_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo_bytes(1))
    places = [str(tmp_path / "a.jpg"), str(tmp_path / "gone.jpg")]
    stage = rr.FetchAndDecode()
    try:
        rows = stage(pa.table({"uri": places, "mine": [1, 2]})).to_pylist()
        with pytest.raises(rr.ConfigError, match="columns mine, but need bytes"):
            stage(pa.table({"mine": [1]}))
    finally:
        stage.close()
    assert [row["error_code"] for row in rows] == [None, "not_found"]
    assert [row["mine"] for row in rows] == [1, 2]
    assert rows[1]["pixels"] is None


def test_the_tagger_of_a_serve_app_of_ones_own(tmp_path: Path) -> None:
    """The deployment's own class, without Serve, which adds a process around it."""
    from ram_ray.serving.own_app import PhotoTagger

    async def ask(tagger: Any, *images: bytes) -> list[dict[str, Any]]:
        return await asyncio.gather(*(tagger.tag(data, top_k=2) for data in images))

    (tmp_path / "a.jpg").write_bytes(photo_bytes(2))
    tagger = PhotoTagger(rr.ServeConfig(device="cpu"))
    try:
        found, bad = asyncio.run(ask(tagger, photo_bytes(2), b"text"))
    finally:
        tagger.close()
    assert found["tags"] == list(rr.tag_photo(str(tmp_path / "a.jpg"), top_k=2).tags)
    assert bad["error_code"] == "not_an_image"
    with pytest.raises(rr.ConfigError, match="has one: say model"):
        rr.tagger_app(models=("a",))
