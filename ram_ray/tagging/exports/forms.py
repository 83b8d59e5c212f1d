"""Names of the forms: light enough for the command line's help."""

from typing import Literal

FolderForm = Literal["imagefolder", "webdataset", "kohya", "xmp"]
"""Written into a folder, that of the pictures or another one."""

Form = Literal[
    "parquet", "jsonl", "csv", "coco", "openimages", "label-studio", "fiftyone", FolderForm
]
"""FolderForm, or one file."""
