"""What a request may name: below the operator's prefixes, in any spelling; nothing else."""

import pytest

from ram_ray.errors import ConfigError
from ram_ray.serving.config import check_prefix
from ram_ray.serving.job_locations import allowed_location

PREFIXES = ("s3://photos/2026", "s3://whole-bucket", "/data/photos")


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("s3://photos/2026", "s3://photos/2026"),
        ("s3://photos/2026/", "s3://photos/2026"),
        ("s3://photos/2026/05/a b", "s3://photos/2026/05/a b"),
        ("s3://whole-bucket", "s3://whole-bucket"),
        ("s3://whole-bucket/any/thing", "s3://whole-bucket/any/thing"),
        ("/data/photos/flat", "/data/photos/flat"),
    ],
)
def test_locations_below_a_prefix_are_allowed(given, normal):
    assert allowed_location(given, PREFIXES) == normal


@pytest.mark.parametrize(
    "given",
    [
        "s3://photos", "s3://photos/2025", "s3://photos/20267", "s3://photos/2026/../2025",
        "s3://photos/./2026", "s3://photos//2026", "s3://other/photos/2026", "s3://",
        "s3://photos/2026/%2e%2e/x", "s3://photos/2026?x=1", "s3://photos/2026#x",
        "s3://photos/2026/*", "s3://photos/2026\n--output", "S3://photos/2026",
        "s3://photos@evil/2026", "s3://evil\\photos/2026", "http://photos/2026",
        "file:///data/photos", "gs://photos/2026", "/data/photos/../../etc", "/data/photos2",
        "/data", "/", "", "data/photos", "./data/photos", "~/photos", "--config=/etc/passwd",
        "s3://http://photos/2026", "/data/photos/x://y",
    ],
)  # fmt: skip
def test_anything_else_is_refused(given):
    assert allowed_location(given, PREFIXES) is None


def test_symlinks_count_as_what_they_point_to(tmp_path):
    allowed, secret = tmp_path / "allowed", tmp_path / "secret"
    allowed.mkdir()
    secret.mkdir()
    (allowed / "out").symlink_to(secret)
    (allowed / "in").symlink_to(allowed / "real")
    (tmp_path / "door").symlink_to(allowed)
    prefixes = (str(tmp_path / "door"),)
    assert allowed_location(f"{allowed}/out/x", prefixes) is None
    assert allowed_location(f"{allowed}/in/x", prefixes) == f"{allowed}/real/x"
    assert allowed_location(f"{tmp_path}/door/x", prefixes) == f"{allowed}/x"


@pytest.mark.parametrize("prefix", ["photos", "s3://", "http://x", "/data/../etc", "s3://b/../c"])
def test_operators_prefixes_must_be_plain(prefix):
    with pytest.raises(ConfigError, match=r"sources is .*, but must be an absolute folder"):
        check_prefix("sources", prefix)
