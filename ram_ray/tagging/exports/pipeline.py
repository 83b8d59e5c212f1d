"""A finished run in another tool's form: which one, then its writer.

export("run", "tags.csv")
export("run", "photos", form="xmp")
"""

from pathlib import Path
from typing import get_args

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.storage.stores import open_store
from ram_ray.tagging.exports import (
    coco,
    fiftyone,
    files,
    imagefolder,
    kohya,
    label_studio,
    openimages,
    webdataset,
    xmp,
)
from ram_ray.tagging.exports.forms import FolderForm, Form
from ram_ray.tagging.exports.rows import ExportReport, FinishedRun

BY_SUFFIX: dict[str, Form] = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".json": "coco",
}
"""The form that a file's suffix says where `form` does not."""
WITHOUT_SCORES: tuple[Form, ...] = ("kohya", "xmp")


def export(
    output: str,
    path: str | Path,
    store: StoreConfig | None = None,
    *,
    form: Form | None = None,
    min_score: float | None = None,
    replace: bool = False,
) -> ExportReport:
    """Write the tags of a finished run in the form that another tool reads.

    Args:
        output: folder or s3:// prefix of the run.
        path: a local file, replaced if it exists; for forms that lie beside pictures ("xmp",
            "kohya", "imagefolder", "webdataset") a folder: that of the pictures, or another one.
        store: how `output` is reached.
        form: by default what the suffix of `path` says (`BY_SUFFIX`).
        min_score: only tags whose score is above it, 0..1. A run with a score floor has tags below
            their thresholds: "xmp" and "kohya", which say no score, need it there.
        replace: "kohya" and "imagefolder": write files anew that exist and say something else.

    Raises:
        ConfigError: no such form, no folder for the file, no finished run.
    """
    path = Path(path)
    form = _form(path, form)
    _check_place(path, form)
    run = FinishedRun(open_store(output, store or StoreConfig()), min_score)
    if form in WITHOUT_SCORES and run.record.score_floor is not None and min_score is None:
        raise ConfigError(
            f"{output} keeps tags below their thresholds, for it was tagged with --score-floor "
            f"{run.record.score_floor:g}, and {form} says no score: give --min-score."
        )
    match form:
        case "parquet":
            return files.write_parquet(run, path)
        case "jsonl":
            return files.write_jsonl(run, path)
        case "csv":
            return files.write_csv(run, path)
        case "coco":
            return coco.write_coco(run, path)
        case "openimages":
            return openimages.write_openimages(run, path)
        case "label-studio":
            return label_studio.write_label_studio(run, path)
        case "fiftyone":
            return fiftyone.write_fiftyone(run, path)
        case "imagefolder":
            return imagefolder.write_imagefolder(run, path, replace=replace)
        case "webdataset":
            return webdataset.write_webdataset(run, path)
        case "kohya":
            return kohya.write_kohya(run, path, replace=replace)
        case "xmp":
            return xmp.write_xmp(run, path)


def _form(path: Path, form: Form | None) -> Form:
    if form is not None:
        if form in get_args(Form):
            return form
        raise ConfigError(f"form is {form!r}, but must be one of {', '.join(get_args(Form))}.")
    told = BY_SUFFIX.get(path.suffix.lower())
    if told is None:
        raise ConfigError(
            f"file is {str(path)!r}, but must end in one of {', '.join(BY_SUFFIX)}; or give "
            f"--as, one of {', '.join(get_args(Form))}."
        )
    return told


def _check_place(path: Path, form: Form) -> None:
    if form in get_args(FolderForm):
        if not path.is_dir():
            raise ConfigError(f"folder is {str(path)!r}, but there is no such folder.")
    elif path.is_dir():
        raise ConfigError(f"file is {str(path)!r}, but that is a folder; {form} is one file.")
    elif not path.absolute().parent.is_dir():
        raise ConfigError(f"file is {str(path)!r}, but its folder does not exist.")
