"""Captions through the command: one photo, a whole run, and models that write none."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ram_model import CaptionOptions, Tagger
from ram_ray.cli import app as cli
from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.outputs.verification import verify_output
from ram_ray.tagging.pipeline import tag_bucket
from ram_ray.tagging.tables import tags_schema
from tests.conftest import photo_bytes, write_photos
from tests.model.tiny_captions import write_captioning_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_captioning_folder(tmp_path_factory.mktemp("captions") / "tag2text"))


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo_bytes(1))
    return str(path)


def _run(*arguments: str) -> dict:
    result = CliRunner().invoke(cli.app, ["tag", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_one_photo_gets_the_caption_the_tagger_writes(model: str, photo: str) -> None:
    tagger = Tagger.load(model, captions=CaptionOptions())
    free = tagger.tag_file(photo)
    guided = tagger.tag_file(photo, caption_tags=["two red cars", "sea"])
    assert free.caption != guided.caption
    assert _run(photo, "--model", model)["caption"] is None
    found = _run(photo, "--model", model, "--caption")
    assert (found["caption"], found["tags"]) == (free.caption, free.names)
    words = ["--caption-tags", "two red cars, sea"]
    assert _run(photo, "--model", model, "--caption", *words)["caption"] == guided.caption


def test_the_terminal_shows_the_caption(model: str, photo: str) -> None:
    result = CliRunner().invoke(cli.app, ["tag", photo, "--model", model, "--caption"])
    caption = Tagger.load(model, captions=CaptionOptions()).tag_file(photo).caption
    assert result.stdout.splitlines()[1].strip() == caption


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--caption-tags", "dog"], "caption_tags is ('dog',), but must be left out without"),
        (["--set", "caption_beams=2"], "caption_beams is 2, but must be left out without caption"),
        (["--caption", "--set", "caption_beams=0"], "caption_beams is 0, but must be at least 1"),
    ],
)
@pytest.mark.parametrize("output", [[], ["out"]])
def test_what_cannot_be_is_one_sentence(
    photo: str, extra: list[str], message: str, output: list[str], tmp_path: Path
) -> None:
    source = photo if not output else str(Path(photo).parent)
    places = [source, *(str(tmp_path.parent / f"{tmp_path.name}-{name}") for name in output)]
    result = CliRunner().invoke(cli.app, ["tag", *places, *extra])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not any(Path(place).exists() for place in places[1:])


@pytest.mark.usefixtures("ray_session")
def test_a_run_has_a_caption_column(model: str, tmp_path: Path) -> None:
    photos, output = tmp_path / "photos", tmp_path / "out"
    write_photos(photos, 5)
    (photos / "text.jpg").write_text("no image")
    config = TagConfig(
        source=str(photos),
        output=str(output),
        model=model,
        caption=True,
        batch_size=4,
        shard_rows=4,
        device="cpu",
        max_error_rate=1.0,
    )

    summary = tag_bucket(config)

    assert (summary.num_tagged, summary.num_quarantined) == (5, 1)
    shard = output / "tags/shard-000000.parquet"
    assert pq.read_schema(shard).equals(tags_schema(captions=True, changes=True))
    tagger = Tagger.load(model, captions=CaptionOptions())
    rows = pq.read_table(output / "tags").to_pylist()
    assert len(rows) == 5
    assert [row["caption"] for row in rows] == [tagger.tag_file(r["uri"]).caption for r in rows]
    assert verify_output(str(output), StoreConfig()).ok
    without = TagConfig(source=str(photos), output=str(output), model=model, device="cpu")
    with pytest.raises(ConfigError, match=r"holds another run: its (shard_rows|caption) is"):
        tag_bucket(without)
