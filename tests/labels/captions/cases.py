"""Caption files in the forms that tools of the trade write, and what every door must make of them.

docs/captions-and-labels.md names the tools.
"""

import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

JPEG = b"\xff\xd8\xff stands for a picture; no caption door decodes it"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Files of a folder, and the captions that each image must end with."""

    name: str
    files: dict[str, bytes]
    expected: dict[str, list[str]]
    """By image id, for doors that see the images too (`engine`, `train`)."""
    captions: str | None = None
    """Caption file below the folder; None: they lie among the images."""
    unjoined: dict[str, list[str]] = field(default_factory=dict)
    """By what `labels parse` and `labels build` call the images, where that differs."""

    def write(self, folder: Path) -> None:
        """Write the files."""
        for name, data in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)

    @property
    def named(self) -> dict[str, list[str]]:
        """Captions by the name that the caption files give."""
        return self.unjoined or self.expected


def as_json(value: Any) -> bytes:
    """Return JSON."""
    return json.dumps(value).encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    """Return a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def as_tar(members: list[tuple[str, bytes]], **options: Any) -> bytes:
    """Return a tar; a name may stand in it twice."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", **options) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def _coco(year: str, template: str) -> Case:
    names = {number: template.format(number) for number in (179765, 190236)}
    images = [{"id": number, "file_name": name} for number, name in names.items()]
    notes = [
        {"image_id": number, "id": at, "caption": f"A dog on beach {at}."}
        for at, number in enumerate(names)
    ]
    loaded = {"info": {}, "licenses": [], "images": images, "annotations": notes}
    return Case(
        name=f"coco {year}",
        files={f"images/{name}": JPEG for name in names.values()}
        | {"captions.json": as_json(loaded)},
        captions="captions.json",
        expected={
            f"images/{name}": [f"A dog on beach {at}."] for at, name in enumerate(names.values())
        },
        unjoined={name: [f"A dog on beach {at}."] for at, name in enumerate(names.values())},
    )


_META = {"url": "http://img.example.com/a.jpg", "key": "000000000", "status": "success",
         "caption": "a dog runs", "error_message": None, "width": 64}  # fmt: skip
_LOST = _META | {"key": "000000001", "caption": "a cat", "status": "failed_to_download"}
_STATS = as_json({"count": 2, "successes": 1, "failed_to_download": 1})
_SENTENCES = ["A child climbs some stairs .", "A girl goes into a house, alone .", "A child ."]

CASES = [
    _coco("2014", "COCO_val2014_{:012d}.jpg"),
    _coco("2017", "{:012d}.jpg"),
    _coco("names that are no id", "img_{}.jpg"),
    Case(
        name="image_id 0",
        files={"0.jpg": JPEG, "1.jpg": JPEG, "c.jsonl": b'{"image_id": 0, "caption": "a dog"}\n'
               b'{"image_id": 0, "caption": "a brown dog"}\n{"image_id": 1, "caption": "grass"}\n'},
        captions="c.jsonl",
        expected={"0.jpg": ["a dog", "a brown dog"], "1.jpg": ["grass"]},
        unjoined={"0": ["a dog", "a brown dog"], "1": ["grass"]},
    ),
    Case(
        name="sidecars of kohya, sub-folders too",
        files={"x/a.jpg": JPEG, "x/a.txt": b"a dog\n", "y/a.jpg": JPEG, "y/a.txt": b"on grass",
               "b.png": JPEG, "b.caption": b"grass", "b.c.webp": JPEG, "b.c.txt": b"a cat"},
        expected={"x/a.jpg": ["a dog"], "y/a.jpg": ["on grass"], "b.png": ["grass"],
                  "b.c.webp": ["a cat"]},
    ),
    Case(
        name="img2dataset's files",
        files={"00000/000000000.jpg": JPEG, "00000/000000000.txt": b"a dog runs",
               "00000/000000000.json": as_json(_META), "00000.parquet": as_parquet([_META, _LOST]),
               "00000_stats.json": _STATS},
        expected={"00000/000000000.jpg": ["a dog runs"]},
    ),
    Case(
        name="img2dataset's tar",
        files={"00000.tar": as_tar([("000000000.jpg", JPEG), ("000000000.json", as_json(_META)),
                                    ("000000000.txt", b"a dog runs")]),
               "00000.parquet": as_parquet([_META, _LOST]), "00000_stats.json": _STATS},
        expected={"00000.tar/000000000.jpg": ["a dog runs"]},
    ),
    Case(
        name="two pictures of one key",
        files={"s.tar": as_tar([("0001.left.jpg", JPEG), ("0001.right.jpg", JPEG),
                                ("0001.txt", b"a dog"), ("0002.left.jpg", JPEG),
                                ("0002.left.txt", b"a cat"), ("0002.right.jpg", JPEG)])},
        expected={"s.tar/0001.left.jpg": ["a dog"], "s.tar/0001.right.jpg": ["a dog"],
                  "s.tar/0002.left.jpg": ["a cat"]},
    ),
    Case(
        name="equal names in two tars, an updated member",
        files={"s.tar": as_tar([("0001.jpg", JPEG), ("0001.txt", b"a dog")]),
               "t.tar": as_tar([("0001.jpg", JPEG), ("0001.txt", b"a dog"),
                                ("0001.txt", b"a cat")])},
        expected={"s.tar/0001.jpg": ["a dog"], "t.tar/0001.jpg": ["a cat"]},
    ),
    Case(
        name="a member's name that is not UTF-8",
        files={"s.tar": as_tar([("caf\udce9.jpg", JPEG), ("caf\udce9.txt", b"a dog")],
                               format=tarfile.GNU_FORMAT)},
        expected={"s.tar/caf\\xe9.jpg": ["a dog"]},
    ),
    Case(
        name="Kaggle's Flickr8k, a CSV called captions.txt",
        files={"images/1_a.jpg": JPEG, "captions.txt": b"image,caption\n"
               + "".join(f'1_a.jpg,"{one}"\n' for one in _SENTENCES).encode()},
        captions="captions.txt",
        expected={"images/1_a.jpg": _SENTENCES},
        unjoined={"1_a.jpg": _SENTENCES},
    ),
    Case(
        name="Flickr30k's results.csv",
        files={"1.jpg": JPEG, "results.csv": b"image_name| comment_number| comment\n"
               b"1.jpg| 0| A dog .\n1.jpg| 1| A cat .\n"},
        captions="results.csv",
        expected={"1.jpg": ["A dog .", "A cat ."]},
    ),
    Case(
        name="a TSV with a header",
        files={"dog.jpg": JPEG, "c.tsv": b"image\tcaption\ndog.jpg\tpeople on grass\n"},
        captions="c.tsv",
        expected={"dog.jpg": ["people on grass"]},
    ),
    Case(
        name="OpenCLIP's table",
        files={"p/dog.jpg": JPEG, "c.csv": b"filepath\ttitle\np/dog.jpg\ta dog\n"},
        captions="c.csv",
        expected={"p/dog.jpg": ["a dog"]},
    ),
    Case(
        name="a TSV of file names, without a header",
        files={"dog.jpg": JPEG, "c.tsv": b"dog.jpg\tpeople on grass\n"},
        captions="c.tsv",
        expected={"dog.jpg": ["people on grass"]},
    ),
    Case(
        name="Conceptual Captions",
        files={"dog.jpg": JPEG, "Train_GCC-training.tsv":
               b"a dog runs\thttp://img.example.com/cat-on-sofa.jpg\n"
               b"a man\thttp://x.example.com/dog.jpg\n"},
        captions="Train_GCC-training.tsv",
        expected={"dog.jpg": ["a man"]},
        unjoined={"http://img.example.com/cat-on-sofa.jpg": ["a dog runs"],
                  "http://x.example.com/dog.jpg": ["a man"]},
    ),
    Case(
        name="CC12M, the other way",
        files={"dog.jpg": JPEG, "cc12m.tsv": b"http://x.example.com/dog.jpg\ta man sits\n"},
        captions="cc12m.tsv",
        expected={"dog.jpg": ["a man sits"]},
        unjoined={"http://x.example.com/dog.jpg": ["a man sits"]},
    ),
    Case(
        name="LAION, DataComp",
        files={"3.jpg": JPEG, "part.parquet": as_parquet(
            [{"URL": "http://x.example.com/3.jpg", "TEXT": "a dog", "WIDTH": 10}])},
        captions="part.parquet",
        expected={"3.jpg": ["a dog"]},
        unjoined={"http://x.example.com/3.jpg": ["a dog"]},
    ),
    Case(
        name="BLIP",
        files={"blip/val/PIC_42.jpg": JPEG, "blip.json": as_json(
            [{"caption": "a dog", "image": "val/PIC_42.jpg", "image_id": "pic_42"}])},
        captions="blip.json",
        expected={"blip/val/PIC_42.jpg": ["a dog"]},
        unjoined={"val/PIC_42.jpg": ["a dog"]},
    ),
    Case(
        name="RAM's own JSON",
        files={"VG_100K/1.jpg": JPEG, "ram.json": as_json(
            [{"image_path": "VG_100K/1.jpg", "caption": ["a dog", "grass"],
              "union_label_id": [3]}])},
        captions="ram.json",
        expected={"VG_100K/1.jpg": ["a dog", "grass"]},
    ),
    Case(
        name="Karpathy's splits",
        files={"1.jpg": JPEG, "dataset.json": as_json({"dataset": "x", "images": [
            {"filename": "1.jpg", "sentences": [{"raw": "A dog.", "tokens": ["a"]}]}]})},
        captions="dataset.json",
        expected={"1.jpg": ["A dog."]},
    ),
    Case(
        name="metadata.jsonl of Hugging Face's imagefolder, with a mark",
        files={"t/1.jpg": JPEG, "t/metadata.jsonl":
               '\ufeff{"file_name": "1.jpg", "text": "a dog\u2028on grass"}\n'.encode()},
        captions="t/metadata.jsonl",
        expected={"t/1.jpg": ["a dog\u2028on grass"]},
        unjoined={"1.jpg": ["a dog\u2028on grass"]},
    ),
    Case(
        name="a table of pictures, as `datasets` writes it",
        files={"a.jpg": JPEG, "train.parquet": as_parquet(
            [{"image": {"bytes": JPEG, "path": "a.jpg"}, "text": "a dog"}])},
        captions="train.parquet",
        expected={"a.jpg": ["a dog"]},
    ),
    Case(
        name="macOS's files beside",
        files={"a.jpg": JPEG, "a.txt": b"a dog", "._a.jpg": b"\0\5\x16\7",
               "._a.txt": b"\0\5\x16\7"},
        expected={"a.jpg": ["a dog"]},
    ),
]  # fmt: skip
