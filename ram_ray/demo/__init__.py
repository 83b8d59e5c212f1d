"""`ram-ray demo`: a bucket of real photos becomes tags, on this machine and offline.

photos         the bucket: photos in installed packages, variants, broken files
folder         where it writes
object_server  an S3 server on the loopback address
page           `--serve`: the page with these photos
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ram_ray import exit_codes
from ram_ray.config import StoreConfig
from ram_ray.console.progress import show_progress
from ram_ray.demo.folder import start_afresh
from ram_ray.demo.object_server import local_s3
from ram_ray.demo.photos import PHOTOS, demo_bucket
from ram_ray.storage.clients import boto3_client
from ram_ray.tagging import terminal
from ram_ray.tagging.config import TagConfig

BUCKET = "demo-photos"
SHARD_ROWS = 25  # a few shards, so that the output looks like a large one's


def run_demo(output: Path) -> int:
    """Tag a small local bucket into `output`, verify it, write its report; return the exit code.

    Raises:
        ConfigError: a package of the `demo` extra is missing, or `output` holds something else.
    """
    from ram_ray.tagging.outputs.contact_sheet import write_contact_sheet
    from ram_ray.tagging.outputs.verification import verify_output
    from ram_ray.tagging.pipeline import tag_bucket

    start_afresh(output)
    with local_s3() as endpoint_url:
        store = StoreConfig(endpoint_url=endpoint_url, region="us-east-1")
        num_objects = fill_bucket(store)
        terminal.print_step(
            f"Put {num_objects} files into s3://{BUCKET}, on a server of this machine; "
            "now Ray starts and tags them"
        )
        config = TagConfig(
            source=f"s3://{BUCKET}",
            output=str(output),
            store=store,
            shard_rows=SHARD_ROWS,
            max_error_rate=0.1,  # the broken files are there on purpose
        )
        with show_progress() as on_progress:
            summary = tag_bucket(config, on_progress=on_progress)
        report = write_contact_sheet(
            str(output),
            store,
            notes=summary.notes,
            credits=[(photo.title, photo.credit, photo.licence) for photo in PHOTOS],
        )
    terminal.print_step("Tags of the photos as they are shipped; each also has its variants")
    terminal.print_sample(_rows(output, "tags", prefix="photos/"))
    terminal.print_step("Files that cannot be tagged are kept apart, with the reason")
    terminal.print_quarantine(_rows(output, "quarantine"))
    terminal.print_step("The run")
    terminal.print_summary(summary)
    terminal.print_step("Recount from the files (`ram-ray verify`)")
    verification = verify_output(str(output), store)
    terminal.print_verification(verification)
    terminal.print_next_steps(report)
    return exit_codes.DONE if verification.ok else exit_codes.INCOMPLETE


def fill_bucket(store: StoreConfig) -> int:
    """Make BUCKET and put the demo's objects into it; return how many."""
    client = boto3_client(store)
    client.create_bucket(Bucket=BUCKET)
    num_objects = 0
    for key, data in demo_bucket():
        client.put_object(Bucket=BUCKET, Key=key, Body=data)
        num_objects += 1
    return num_objects


def _rows(output: Path, folder: str, *, prefix: str = "") -> list[dict[str, Any]]:
    tables = [pq.read_table(path) for path in sorted((output / folder).glob("*.parquet"))]
    rows = pa.concat_tables(tables).to_pylist()
    return [row for row in rows if row["image_id"].startswith(prefix)]
