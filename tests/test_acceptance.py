"""Real photos and hostile files, end to end."""

from collections import Counter
from pathlib import Path

import pytest

from ram_ray.config import StoreConfig
from ram_ray.storage.sources import NameFilter, list_source
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.outputs.verification import verify_output
from ram_ray.tagging.pipeline import tag_bucket
from tests.conftest import S3Server
from tests.faults.scene import rows
from tests.stand_ins import verdicts_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


def test_photos_from_a_folder_and_from_a_bucket_give_the_same_rows(
    real_photos: Path, tmp_path: Path, s3: S3Server
) -> None:
    folder = str(real_photos)
    names = NameFilter((), ())
    objects = {
        listed.image_id: Path(listed.uri).read_bytes()
        for listed in list_source(folder, StoreConfig())
        if names.accepts(listed.image_id)
    }
    bucket = s3.bucket("acceptance", objects)
    outputs = {folder: tmp_path / "from-folder", bucket: tmp_path / "from-bucket"}
    for source, output in outputs.items():
        settings = {"shard_rows": 250, "score_floor": 0.05, "device": "cpu"}
        config = TagConfig(source=source, output=str(output), store=s3.config, **settings)
        summary = tag_bucket(config)
        assert (summary.num_tagged, summary.num_quarantined) == (len(objects), 0)
        report = verify_output(str(output), StoreConfig())
        assert (report.ok, report.missing, report.duplicate) == (True, 0, 0)
    plain = [
        {name: {**row, "uri": ""} for name, row in rows(output).items()}
        for output in outputs.values()
    ]
    # The bucket lists keys, the folder lists folder by folder: batches differ, scores hardly.
    assert plain[0].keys() == plain[1].keys()
    for name, row in plain[0].items():
        assert row["tag_ids"] == plain[1][name]["tag_ids"]
        assert row["scores"] == pytest.approx(plain[1][name]["scores"], abs=1e-5)


def test_hostile_files_are_all_accounted_for(hostile_files: Path, tmp_path: Path) -> None:
    folder = hostile_files
    summary = tag_bucket(
        TagConfig(
            source=str(folder),
            output=str(tmp_path / "out"),
            include=("*",),
            device="cpu",
            score_floor=0.0,
        )
    )
    verdicts = verdicts_of(folder)
    tagged = rows(tmp_path / "out")
    quarantined = rows(tmp_path / "out", "quarantine")
    assert summary.num_images == len(verdicts) + 1 > 100
    assert tagged.keys() == {path for path, verdict in verdicts.items() if verdict == "decode"}
    assert quarantined["MANIFEST.tsv"]["error_code"] == "not_an_image"
    codes = Counter(row["error_code"] for row in quarantined.values())
    assert codes["decode_crash"] == codes["decode_timeout"] == codes["model_error"] == 0
