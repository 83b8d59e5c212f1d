"""The demo's bucket: real photos with credits, variants, broken files; filled over HTTP."""

import io
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import boto3
import pytest
from PIL import Image

from ram_ray.config import DecodeConfig, StoreConfig
from ram_ray.demo import BUCKET, fill_bucket
from ram_ray.demo.folder import MARKER, start_afresh
from ram_ray.demo.object_server import local_s3
from ram_ray.demo.photos import PHOTOS, demo_bucket, read_photo
from ram_ray.errors import ConfigError, ImageError
from ram_ray.images.decoder import decode


@pytest.fixture(scope="module")
def objects():
    return dict(demo_bucket())


def test_every_photo_ships_with_its_package_and_has_a_free_licence():
    free = {"CC0", "public domain", "CC BY 2.0", "no known copyright restrictions"}
    for photo in PHOTOS:
        assert photo.licence in free, photo.name
        assert photo.credit, photo.name
        image = Image.open(io.BytesIO(read_photo(photo)))
        assert min(image.size) >= 300, photo.name


def test_a_photo_that_is_not_there_names_the_extra_to_install():
    for package in ("no_such_package", "skimage"):
        with pytest.raises(ConfigError, match=r'pip install "ram-ray\[demo\]"'):
            read_photo(replace(PHOTOS[0], package=package, path="data/no-such-file.png"))


def test_the_bucket_is_a_small_one_of_many_formats(objects):
    good = {key: data for key, data in objects.items() if not key.startswith("broken/")}
    assert 60 <= len(good) <= 100
    assert sum(map(len, objects.values())) < 30 * 2**20
    formats = {Image.open(io.BytesIO(data)).format for data in good.values()}
    assert formats == {"JPEG", "PNG", "WEBP"}
    crop = Image.open(io.BytesIO(objects["crops/chelsea-1.jpg"]))
    assert crop.info["progressive"]
    assert Image.open(io.BytesIO(objects["gray/chelsea.png"])).mode == "L"


def test_phone_pictures_lie_on_their_side_and_exif_turns_them_back(objects):
    picture = Image.open(io.BytesIO(objects["phone/coffee.jpg"]))
    assert picture.size == (400, 600)
    assert picture.getexif()[0x0112] == 6
    upright = decode(objects["phone/coffee.jpg"], 32, DecodeConfig(orientation="apply")).pixels
    original = decode(objects["photos/coffee.png"], 32, DecodeConfig()).pixels
    assert abs(upright.astype(float) - original.astype(float)).mean() < 3


def test_broken_files_fail_each_in_its_own_way_and_all_others_decode(objects):
    failures = {}
    for key, data in objects.items():
        try:
            decode(data, 32, DecodeConfig())
        except ImageError as error:
            failures[key] = error.code.value
    assert failures == {
        "broken/bomb.png": "too_large",
        "broken/error-page.jpg": "not_an_image",
        "broken/half-uploaded.jpg": "truncated",
        "broken/zero-bytes.jpg": "empty",
    }


def test_server_fills_over_http_with_made_up_credentials_and_ends(objects, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "company")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "real")
    with local_s3() as endpoint_url:
        assert "AWS_PROFILE" not in os.environ
        assert os.environ["AWS_ACCESS_KEY_ID"] == "demo"
        store = StoreConfig(endpoint_url=endpoint_url, region="us-east-1")
        assert fill_bucket(store) == len(objects)
        client = boto3.client("s3", endpoint_url=endpoint_url)
        listed = client.list_objects_v2(Bucket=BUCKET)["Contents"]
        assert {entry["Key"]: entry["Size"] for entry in listed} == {
            key: len(data) for key, data in objects.items()
        }
        body = client.get_object(Bucket=BUCKET, Key="photos/coffee.png")["Body"].read()
        assert body == objects["photos/coffee.png"]
    assert (os.environ["AWS_PROFILE"], os.environ["AWS_ACCESS_KEY_ID"]) == ("company", "real")
    assert not answers(endpoint_url)


def test_server_ends_with_the_process_that_started_it():
    code = (
        "import os, signal; from ram_ray.demo.object_server import local_s3\n"
        "with local_s3() as url: print(url, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    address = killed.stdout.strip()
    assert address.startswith("http://127.0.0.1:")
    deadline = time.monotonic() + 20
    while answers(address):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_only_a_demos_folder_is_emptied(tmp_path):
    folder = tmp_path / "demo-out"
    start_afresh(folder)
    (folder / "tags").mkdir()
    (folder / "tags" / "old.parquet").write_bytes(b"")
    start_afresh(folder)
    assert [path.name for path in folder.iterdir()] == [MARKER]
    other = tmp_path / "holiday"
    other.mkdir()
    (other / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="is there already and is not a demo's"):
        start_afresh(other)
    assert (other / "photo.jpg").read_bytes() == b"precious"


def answers(address):
    host, port = address.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True
