"""What works on this machine, and what to do about what does not."""

import io
import os
import platform
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from rich.console import Console
from rich.text import Text

from ram_ray.config import DecodeConfig, StoreConfig
from ram_ray.console.terminal import printable
from ram_ray.errors import ConfigError, ImageError, RamRayError

MIN_MEMORY_GIB = 4  # Ray, one model process and one decoder
MIN_DISK_GIB = 5  # Ray's object store spills to /tmp


_STATUS_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One finding."""

    status: Literal["ok", "warn", "fail"]
    name: str
    found: str
    advice: str = ""
    """What to do; mostly empty when nothing is wrong."""


def run_checks(*, bucket: str | None, store: StoreConfig) -> Iterator[Check]:
    """Yield the findings one by one, each as soon as it is known.

    Args:
        bucket: also check this s3://bucket/prefix; a small temporary object is written there.
        store: how to reach the bucket.

    Raises:
        ConfigError: `bucket` is not an s3:// URL.
    """
    checks: list[Callable[[], Check]] = [
        _python, _torch, _ray, _timm, _image_formats, _memory, _disk, _decoder, _model,
        _local_folder, _cluster_access,
    ]  # fmt: skip
    if bucket is not None and not bucket.startswith("s3://"):
        raise ConfigError(f"--bucket is {bucket!r}, but must be s3://bucket or s3://bucket/prefix.")
    for check in checks:
        yield check()
    if bucket is not None:
        yield from check_bucket(bucket, store)


def check_bucket(bucket: str, store: StoreConfig) -> Iterator[Check]:
    """Yield whether `bucket` can be listed, written and read, and honours If-None-Match."""
    from botocore.exceptions import BotoCoreError, ClientError

    from ram_ray.storage.clients import boto3_client
    from ram_ray.storage.stores import split_url

    _, name, prefix = split_url(bucket)
    client = boto3_client(store)
    key = f"{prefix}/ram-ray-doctor-{uuid.uuid4().hex}".lstrip("/")
    where = {"Bucket": name, "Key": key}
    steps: list[tuple[str, Callable[[], object], str]] = [
        ("bucket: list", lambda: client.list_objects_v2(Bucket=name, Prefix=prefix, MaxKeys=1),
         "Needed to read photos from it: check the name, the credentials and --endpoint-url."),
        ("bucket: write", lambda: client.put_object(**where, Body=b"ram-ray"),
         "Needed only where results go into this bucket."),
        ("bucket: read", lambda: client.get_object(**where)["Body"].read(),
         "Needed to read photos from it: allow s3:GetObject."),
    ]  # fmt: skip
    for step, action, advice in steps:
        try:
            action()
        except (BotoCoreError, ClientError) as error:
            status = "warn" if step == "bucket: write" else "fail"
            yield Check(status=status, name=step, found=_sentence(error), advice=advice)
            return
        yield Check(status="ok", name=step, found=f"s3://{name}/{prefix}")
    try:
        yield _create_if_absent(client, where)
    finally:
        client.delete_object(**where)


def _create_if_absent(client: object, where: dict[str, str]) -> Check:
    from botocore.exceptions import ClientError

    try:
        client.put_object(**where, Body=b"second", IfNoneMatch="*")  # pyright: ignore[reportAttributeAccessIssue]
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("PreconditionFailed", "412"):
            found = "an existing object is not overwritten (If-None-Match)"
            return Check(status="ok", name="bucket: create", found=found)
        return Check(
            status="warn",
            name="bucket: create",
            found=_sentence(error),
            advice="Results need If-None-Match; write them to another store. Reading is fine.",
        )
    return Check(
        status="warn",
        name="bucket: create",
        found="the server overwrites an object in spite of If-None-Match",
        advice="Results would not be safe there; write them to another store. Reading is fine.",
    )


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check(status="ok", name="python", found=found)


def _torch() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library is missing
        return _not_importable("torch", error)
    if not torch.cuda.is_available():
        found = f"{torch.__version__}, no usable GPU: tags on the CPU"
        advice = "" if torch.version.cuda is None else "If there is a GPU, check its driver."
        return Check(status="ok", name="torch", found=found, advice=advice)
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Check(status="ok", name="torch", found=f"{torch.__version__}, {', '.join(names)}")


def _ray() -> Check:
    return _installed("ray", wanted="2.60")


def _timm() -> Check:
    return _installed("timm", wanted="1.")


def _installed(package: str, *, wanted: str) -> Check:
    try:
        found = version(package)
    except PackageNotFoundError as error:
        return _not_importable(package, error)
    if not found.startswith(wanted):
        advice = f"Tested with {wanted.rstrip('.')}: pip install -c constraints.txt {package}"
        return Check(status="warn", name=package, found=found, advice=advice)
    return Check(status="ok", name=package, found=found)


def _not_importable(package: str, error: BaseException) -> Check:
    return Check(
        status="fail",
        name=package,
        found=_sentence(error),
        advice=f"Reinstall: pip install --force-reinstall {package}",
    )


def _image_formats() -> Check:
    from PIL import features

    missing = [
        name for name in ("jpg", "zlib", "libtiff", "webp", "avif") if not features.check(name)
    ]
    found = f"Pillow {version('pillow')}"
    if missing:
        return Check(
            status="warn",
            name="image formats",
            found=f"{found} without {', '.join(missing)}: such files will be quarantined",
            advice="Install Pillow from its wheels: pip install --force-reinstall pillow",
        )
    return Check(
        status="ok", name="image formats", found=f"{found}: JPEG PNG WebP AVIF TIFF GIF BMP"
    )


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    if memory.available < MIN_MEMORY_GIB * 2**30:
        advice = f"{MIN_MEMORY_GIB} GiB are comfortable: close something, or use --num-decoders 1."
        return Check(status="warn", name="memory", found=found, advice=advice)
    return Check(status="ok", name="memory", found=found)


def _disk() -> Check:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    found = f"{free / 2**30:.0f} GiB free in {folder}"
    if free < MIN_DISK_GIB * 2**30:
        advice = f"Ray spills there: free {MIN_DISK_GIB} GiB, or set RAY_TMPDIR to another disk."
        return Check(status="warn", name="disk", found=found, advice=advice)
    return Check(status="ok", name="disk", found=found)


def _decoder() -> Check:
    from PIL import Image

    from ram_ray.images.decoder import Decoder

    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(buffer, "PNG")
    try:
        with Decoder(32, DecodeConfig()) as decoder:
            decoded = decoder.decode(buffer.getvalue())
    except (ImageError, RamRayError, OSError) as error:
        advice = "Raise decode.decode_memory_bytes with --set, or report this with the line above."
        return Check(status="fail", name="decoder", found=_sentence(error), advice=advice)
    found = f"the child process decodes ({decoded.width} x {decoded.height} px)"
    return Check(status="ok", name="decoder", found=found)


def _model() -> Check:
    try:
        from ram_model import Tagger

        tagger = Tagger.load("ram-mini")
    except (ImportError, OSError, ValueError) as error:
        advice = "Reinstall ram-ray; its wheel carries the model."
        return Check(status="fail", name="model ram-mini", found=_sentence(error), advice=advice)
    if tagger.is_random:
        return Check(
            status="warn",
            name="model ram-mini",
            found="loads, but with random weights: its tags mean nothing",
            advice="Install a release, or name a trained model with --model FOLDER.",
        )
    size = f"{tagger.num_parameters / 1e6:.1f} M parameters, {len(tagger.vocabulary):,} tags"
    return Check(status="ok", name="model ram-mini", found=size)


def _local_folder() -> Check:
    from ram_ray.storage.stores import open_store, probe_create_if_absent

    with tempfile.TemporaryDirectory() as folder:
        try:
            probe_create_if_absent(open_store(folder, StoreConfig()))
        except RamRayError as error:
            advice = "Write results to another disk or to a bucket."
            return Check(status="fail", name="local output", found=str(error), advice=advice)
    return Check(status="ok", name="local output", found="an existing file is not overwritten")


def _cluster_access() -> Check:
    """Look whether strangers could run code on the Ray that commands would use."""
    name, mode = "cluster access", os.environ.get("RAY_AUTH_MODE", "").lower()
    has_token = "RAY_AUTH_TOKEN" in os.environ or os.path.exists(
        os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.expanduser("~/.ray/auth_token")
    )
    is_on_a_cluster = "RAY_ADDRESS" in os.environ
    if mode == "disabled" or (is_on_a_cluster and not (mode == "token" and has_token)):
        return Check(
            status="warn",
            name=name,
            found="without a token everybody who reaches Ray's ports can run code there",
            advice="ray get-auth-token --generate, the file on every node, RAY_AUTH_MODE=token.",
        )
    found = "by token" if mode == "token" else "a local Ray listens on loopback only, with a token"
    return Check(status="ok", name=name, found=found)


def _sentence(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200]


def print_check(check: Check) -> None:
    """Print one finding of the doctor, with what to do about it."""
    console = Console()
    line = Text.assemble(
        (f"{check.status:<4}", _STATUS_STYLES[check.status]),
        (f"  {check.name:<16}", "bold"),
        printable(check.found),
    )
    console.print(line, soft_wrap=True)
    if check.advice:
        console.print(Text(f"{'':22}-> {printable(check.advice)}", style="dim"), soft_wrap=True)
