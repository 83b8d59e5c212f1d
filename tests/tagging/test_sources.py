"""`ram-ray tag` over lists, tables and tars: each image once, under the caller's id."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.tagging.forecast.pipeline import plan_bucket
from ram_ray.tagging.outputs.verification import verify_output
from ram_ray.tagging.pipeline import tag_bucket
from tests.conftest import S3Server, photo_bytes
from tests.storage.test_listing import tar_of
from tests.tagging.test_pipeline import read_rows, settings


@pytest.mark.usefixtures("ray_session")
def test_a_list_is_tagged_under_the_callers_ids(tmp_path: Path, s3: S3Server) -> None:
    url = s3.bucket("tag-list", {"a.jpg": photo_bytes(1), "b": photo_bytes(2)})
    (tmp_path / "c.png").write_bytes(photo_bytes(3, suffix=".png"))
    lines = ["product,image", f"7,{url}/a.jpg", f"8,{url}/b", "9,c.png", f"10,{url}/gone.jpg"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    config = settings(tmp_path / "list.csv", tmp_path / "out", id_column="product", store=s3.config)
    plan_bucket(config, sample=0)
    tag_bucket(config)
    assert set(read_rows(config.output)) == {"7", "8", "9"}
    assert read_rows(config.output)["9"]["uri"] == str(tmp_path / "c.png")
    assert {k: v["error_code"] for k, v in read_rows(config.output, "quarantine").items()} == {
        "10": "not_found"
    }
    assert verify_output(config.output, StoreConfig()).ok
    with pytest.raises(ConfigError, match="its id_column is 'product', this call's is not given"):
        tag_bucket(settings(config.source, config.output, store=s3.config))


@pytest.mark.usefixtures("ray_session")
def test_tables_and_tars_are_tagged_as_their_pictures_alone(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    pictures = [photo_bytes(n) for n in range(9)]
    table = pa.table({"key": [f"row {n}" for n in range(6)], "jpg": pictures[:6]})
    pq.write_table(table, photos / "t.parquet", row_group_size=4)
    (photos / "u.tar").write_bytes(tar_of({"6.jpg": pictures[6], "6.txt": b"", "7.jpg": b"no"}))
    (photos / "v.jpg").write_bytes(pictures[8])
    config = settings(photos, tmp_path / "out")
    summary = tag_bucket(config)
    loose = tmp_path / "loose"
    loose.mkdir()
    for n in (0, 5, 6, 8):
        (loose / f"{n}.jpg").write_bytes(pictures[n])
    tag_bucket(settings(loose, tmp_path / "loose-out"))
    there, alone = read_rows(config.output), read_rows(tmp_path / "loose-out")
    pairs = {"row 0": "0.jpg", "row 5": "5.jpg", "u.tar/6.jpg": "6.jpg", "v.jpg": "8.jpg"}
    assert {one: there[one]["tags"][:3] for one in pairs} == {
        one: alone[other]["tags"][:3] for one, other in pairs.items()
    }
    assert (len(there), summary.quarantined_by_code) == (8, {"not_an_image": 1})
    assert verify_output(config.output, StoreConfig()).ok


def test_two_rows_of_one_id_are_refused_before_anything_is_planned(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("uri,id\na.jpg,1\nb.jpg,2\nc.jpg,1\n")
    config = settings(tmp_path / "list.csv", tmp_path / "out", id_column="id")
    with pytest.raises(ConfigError, match="Two rows have the id '1'"):
        plan_bucket(config, sample=0)
    assert not list((tmp_path / "out").glob("plan/plan.json"))
