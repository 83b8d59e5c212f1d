"""The doctor finds what works here, and what a bucket does with create-if-absent."""

from pathlib import Path

import pytest

from ram_ray.cli import doctor
from ram_ray.config import StoreConfig
from ram_ray.errors import RamRayError


def findings(*, bucket=None, store=None):
    return {
        check.name: check
        for check in doctor.run_checks(bucket=bucket, store=store or StoreConfig())
    }


def test_this_machine_can_do_the_work():
    found = findings()
    assert [check.name for check in found.values() if check.status == "fail"] == []
    assert found["decoder"].found == "the child process decodes (8 x 6 px)"
    assert found["ray"].found.startswith("2.60")
    assert "overwritten" in found["local output"].found
    assert found["model ram-mini"].status in ("ok", "warn")


def test_a_bad_finding_says_what_to_do(monkeypatch):
    class BrokenDecoder:
        def __init__(self, *_):
            raise RamRayError("The decoder process could not be started: no memory")

    monkeypatch.setattr("ram_ray.images.decoder.Decoder", BrokenDecoder)
    monkeypatch.setattr(doctor, "MIN_MEMORY_GIB", 10**6)
    monkeypatch.setattr(doctor, "MIN_DISK_GIB", 10**9)
    found = findings()
    assert found["decoder"].status == "fail"
    assert found["decoder"].found == "The decoder process could not be started: no memory"
    assert found["memory"].status == found["disk"].status == "warn"
    for name in ("decoder", "memory", "disk"):
        assert found[name].advice, name


def test_a_missing_package_is_a_failure_with_the_command_to_install_it():
    check = doctor._installed("no-such-package", wanted="1.")
    assert check.status == "fail"
    assert check.advice == "Reinstall: pip install --force-reinstall no-such-package"


def test_a_good_bucket_is_listed_written_read_and_never_overwritten(s3):
    s3.bucket("doctor-good", {"photos/a.jpg": b"x"})
    checks = list(doctor.check_bucket("s3://doctor-good/photos", s3.config))
    assert [(check.status, check.name) for check in checks] == [
        ("ok", "bucket: list"),
        ("ok", "bucket: write"),
        ("ok", "bucket: read"),
        ("ok", "bucket: create"),
    ]
    left = s3.client.list_objects_v2(Bucket="doctor-good")["Contents"]
    assert [entry["Key"] for entry in left] == ["photos/a.jpg"]


def test_a_missing_bucket_fails_and_nothing_more_is_tried(s3):
    checks = list(doctor.check_bucket("s3://doctor-missing", s3.config))
    assert [(check.status, check.name) for check in checks] == [("fail", "bucket: list")]
    assert "NoSuchBucket" in checks[0].found
    assert "--endpoint-url" in checks[0].advice


@pytest.mark.parametrize(
    ("answer", "status"), [("PreconditionFailed", "ok"), ("NotImplemented", "warn"), (None, "warn")]
)
def test_a_server_that_overwrites_is_told_apart(answer, status):
    from botocore.exceptions import ClientError

    class Client:
        def put_object(self, **request):
            assert request["IfNoneMatch"] == "*"
            if answer:
                raise ClientError({"Error": {"Code": answer, "Message": answer}}, "PutObject")

    check = doctor._create_if_absent(Client(), {"Bucket": "b", "Key": "k"})
    assert check.status == status
    assert bool(check.advice) == (status == "warn")


def test_a_cluster_without_a_token_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    assert doctor._cluster_access().status == "ok"
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert doctor._cluster_access().status == "warn"
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert doctor._cluster_access().status == "warn"
    token.write_text("secret")
    assert doctor._cluster_access().status == "ok"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert doctor._cluster_access().status == "warn"
