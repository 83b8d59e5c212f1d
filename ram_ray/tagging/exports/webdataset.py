"""WebDataset sidecars: tars whose members pair by name with those of the pictures' tars."""

import io
import json
import tarfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

from ram_ray.tagging.exports.rows import ExportReport, FinishedRun, without_suffix
from ram_ray.tagging.exports.sidecars import place_below

SUFFIX = ".tags.json"
"""Of a member: `0001.jpg` pairs with `0001.tags.json` (field `tags.json` of sample `0001`)."""


def write_webdataset(run: FinishedRun, folder: Path) -> ExportReport:
    """Write a tar per tar that was tagged, of its name; pictures outside tars fill one per shard.

    A member's JSON has image_id, tags, tag_ids, scores, and caption where the run has captions.
    Members lie in the order of the plan, which is that of the tars. Tars that exist are replaced.
    """
    left_out: Counter[str] = Counter()
    count = 0
    tars: dict[Path, Path] = {}  # of what is written so far: final place to place while writing
    with ExitStack() as unfinished:
        for shard, rows in run.shards():
            for tar, members in _by_tar(shard, rows).items():
                place = place_below(folder, tar)
                if place is None:
                    left_out["lie in a tar whose name no file here can have"] += len(members)
                    continue
                part = tars.get(place)
                if part is None:
                    part = tars[place] = place.with_name(f".{place.name}.part")
                    part.unlink(missing_ok=True)
                    unfinished.callback(part.unlink, missing_ok=True)
                    place.parent.mkdir(parents=True, exist_ok=True)
                _append(part, members)
                count += len(members)
        for place, part in tars.items():
            part.replace(place)
    return ExportReport(images=count, files=len(tars), left_out=dict(left_out))


def _by_tar(shard: int, rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        tar, inside, _ = row["image_id"].partition(".tar/")
        name = f"{tar}.tar" if inside else f"shard-{shard:06d}.tar"
        found.setdefault(name, []).append(row)
    return found


def _append(part: Path, rows: list[dict[str, Any]]) -> None:
    with tarfile.open(part, "a", format=tarfile.PAX_FORMAT) as tar:
        for row in rows:
            _, inside, member = row["image_id"].partition(".tar/")
            name = without_suffix(member if inside else row["image_id"])
            kept = {key: row[key] for key in row if key not in ("uri", "width", "height")}
            content = json.dumps(kept, ensure_ascii=False).encode()
            info = tarfile.TarInfo(str(PurePosixPath(name)) + SUFFIX)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
