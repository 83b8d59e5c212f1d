"""Every kind of source gives the same interface: ids, places that can be fetched, pins."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ram_ray.config import ImageTables, StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.storage.fetching import Fetched, Fetcher, FetchLimits
from ram_ray.storage.listing import DAMAGED, PACKED, expand_braces, images_after, list_images
from ram_ray.storage.pins import Pin
from ram_ray.storage.reading import read_uri
from ram_ray.storage.sources import NameFilter, PassedOver, SourceObject
from ram_ray.storage.tables.parquet_rows import NO_IMAGES, OF_OTHERS
from ram_ray.storage.tables.rows import WITHOUT_ID, WITHOUT_URI
from ram_ray.storage.unique_ids import refuse_twice
from ram_ray.storage.uris import Row, row_uri, split_member, split_row, whole_uri
from tests.conftest import S3Server
from tests.storage.odd_keys import ODD_KEYS

LIMITS = FetchLimits(timeout_s=20, max_image_bytes=5_000, concurrency=8)
ALL = NameFilter((), ())


def listed(
    source: Path | str,
    store: StoreConfig | None = None,
    passed: PassedOver | None = None,
    **columns: str,
) -> list[SourceObject]:
    """Return the images of a source."""
    found = list_images(str(source), store or StoreConfig(), ALL, passed, ImageTables(**columns))
    return [one for one in found if ALL.takes(one)]


def listed_as(source: Path, columns: dict[str, str]) -> list[SourceObject]:
    """Return the images of a local list with these columns."""
    return list(list_images(str(source), StoreConfig(), ALL, None, ImageTables(**columns)))


def fetched(objects: Sequence[SourceObject], store: StoreConfig | None = None) -> list[Fetched]:
    """Return what fetching gives of each, pinned as a run pins it."""
    fetcher = Fetcher(store or StoreConfig(), LIMITS)
    pins = [Pin(one.etag, one.size_bytes) for one in objects]
    try:
        started = fetcher.fetch_all([one.uri for one in objects], pins)
        return [one.result(timeout=60) for one in started]
    finally:
        fetcher.close()


def bodies(objects: Sequence[SourceObject], store: StoreConfig | None = None) -> dict[str, object]:
    """Return the bytes, or the error code, of each id."""
    found = fetched(objects, store)
    return {
        one.image_id: body.data if body.error is None else body.error.code.value
        for one, body in zip(objects, found, strict=True)
    }


def tar_of(members: dict[str, bytes], **options: object) -> bytes:
    """Return a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **options) as tar:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def parquet_of(columns: dict[str, object], row_group_size: int = 3) -> bytes:
    """Return a Parquet file."""
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, row_group_size=row_group_size)
    return out.getvalue()


def test_a_text_list_names_files_beside_it_and_anywhere(tmp_path: Path, s3: S3Server) -> None:
    url = s3.bucket("list-txt", {"a b.jpg": b"1", "a%20b.jpg": b"2"})
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.jpg").write_bytes(b"x")
    lines = ["in/x.jpg", "", f"{url}/a b.jpg", f"{url}/a%20b.jpg", f"{tmp_path}/none", "ftp://h/a"]
    (tmp_path / "list.txt").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    found = listed(tmp_path / "list.txt", s3.config)
    assert [one.image_id for one in found] == [line for line in lines if line]
    told = bodies(found, s3.config)
    assert list(told.values()) == [b"x", b"1", b"2", "not_found", "fetch_failed"]
    with pytest.raises(ConfigError, match="has no columns"):
        listed(tmp_path / "list.txt", id_column="name")


@pytest.mark.parametrize(
    ("name", "text", "columns", "ids"),
    [
        ("l.csv", "note,url,id\nn,s3://b/1.jpg,7\nm,s3://b/2,8\n", {}, ["s3://b/1.jpg", "s3://b/2"]),
        ("l.csv", "note,url,id\nn,s3://b/1.jpg,7\nm,s3://b/2,8\n", {"id_column": "ID"}, ["7", "8"]),
        ("l.csv", "s3://b/1.jpg,7\ns3://b/2,8\n", {"id_column": "2"}, ["7", "8"]),
        ("l.csv", "s3://b/1.jpg\n", {}, ["s3://b/1.jpg"]),
        ("l.csv", "where\tn\ns3://b/1.jpg\t1\n", {"uri_column": "where"}, ["s3://b/1.jpg"]),
        ("l.tsv", "s3://b/1,2.jpg\tx\n", {}, ["s3://b/1,2.jpg"]),
        ("l.csv", 'a;uri\n1;"s3://b/x;\n.jpg"\n', {}, ["s3://b/x;\n.jpg"]),
        ("l.csv", "url,b\ns3://b/1,1\ns3://b/1,2\n", {"id_column": "#row"}, ["l.csv/2", "l.csv/3"]),
    ],
)  # fmt: skip
def test_columns_are_told_or_named(
    tmp_path: Path, name: str, text: str, columns: dict[str, str], ids: list[str]
) -> None:
    (tmp_path / name).write_text(text, newline="")
    assert [one.image_id for one in listed_as(tmp_path / name, columns)] == ids


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("a,b\ns3://b/1,s3://b/2\n", {}, r"cannot be told \(a, b\)"),
        ("a,b\n1,s3://b/2\n", {"uri_column": "c"}, "uri_column is 'c', but must be .*: a, b"),
        ("a,uri\n1,s3://b/2\n", {"id_column": "c"}, "id_column is 'c', but must be .*: a, uri"),
        ("uri\ns3://b/\xe9\n", {}, "is not UTF-8"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(
    tmp_path: Path, text: str, columns: dict[str, str], message: str
) -> None:
    (tmp_path / "l.csv").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=message):
        listed_as(tmp_path / "l.csv", columns)


def test_rows_that_name_nothing_are_counted_and_ids_that_repeat_refused(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("uri,id\ns3://b/1,1\n,2\ns3://b/3,\ns3://b/4,1\n")
    passed = PassedOver()
    assert len(listed(tmp_path / "l.csv", passed=passed, id_column="id")) == 2
    assert passed.counts == {WITHOUT_URI: 1, WITHOUT_ID: 1}
    assert passed.examples == {WITHOUT_URI: "l.csv/3", WITHOUT_ID: "l.csv/4"}
    with pytest.raises(ConfigError, match="Two rows have the id '1': name a column"):
        list(refuse_twice(lambda: iter(listed(tmp_path / "l.csv", passed=passed, id_column="id"))))


def test_a_table_of_images_is_read_row_by_row(tmp_path: Path, s3: S3Server) -> None:
    pictures: list[bytes | None] = [f"picture {n}".encode() * 20 for n in range(8)]
    pictures[5] = None
    struct = [{"bytes": one, "path": f"{n}.jpg"} for n, one in enumerate(pictures)]
    struct[6]["path"] = None
    data = parquet_of({"label": list(range(8)), "image": struct})
    url = s3.bucket("table", {"in/t.parquet": data, "in/a.jpg": b"loose", "in/note.txt": b""})
    (tmp_path / "t.parquet").write_bytes(data)
    names = [f"{n}.jpg" for n in range(8)]
    names[6] = "t.parquet/7"
    wanted = dict(zip(names, [*pictures[:5], "not_found", *pictures[6:]], strict=True))
    for source in (f"{tmp_path}/t.parquet", f"{url}/in/t.parquet"):
        found = listed(source, s3.config)
        assert bodies(found, s3.config) == wanted
        assert bodies(found[::-1], s3.config) == wanted
        assert read_uri(found[4].uri, s3.config) == pictures[4]
        assert [one.image_id for one in listed(source, s3.config, id_column="label")] == [
            str(n) for n in range(8)
        ]
    in_prefix = listed(f"{url}/in", s3.config, id_column="#row")
    assert [one.image_id for one in in_prefix][:2] == ["in/a.jpg", "in/t.parquet/1"]
    assert len(in_prefix) == 9


def test_a_row_is_only_read_from_the_table_that_was_listed(tmp_path: Path, s3: S3Server) -> None:
    old, new = ({"image_id": ["a", "b"], "jpg": [one, b"y"]} for one in (b"x", b"other"))
    url = s3.bucket("table-changed", {"t.parquet": parquet_of(old)})
    (tmp_path / "t.parquet").write_bytes(parquet_of(old))
    sources = [f"{url}/t.parquet", f"{tmp_path}/t.parquet"]
    found = [listed(source, s3.config) for source in sources]
    s3.client.put_object(Bucket="table-changed", Key="t.parquet", Body=parquet_of(new))
    (tmp_path / "t.parquet").write_bytes(parquet_of(new))
    for one in found:
        assert bodies(one, s3.config) == {"a": "changed", "b": "changed"}
    (tmp_path / "t.parquet").unlink()
    assert bodies(found[1]) == {"a": "not_found", "b": "not_found"}


def test_a_row_larger_than_the_limit_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(
        parquet_of({"key": ["a", "b"], "png": [b"1", b"x" * 5_001]})
    )
    assert bodies(listed(tmp_path / "t.parquet")) == {"a": b"1", "b": "too_large"}


def test_a_table_of_uris_is_a_list(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"x")
    table = {"uri": ["x.jpg", None], "n": [1, 2], "text": ["a", "b"]}
    (tmp_path / "t.parquet").write_bytes(parquet_of(table))
    passed = PassedOver()
    found = listed(tmp_path / "t.parquet", passed=passed)
    assert bodies(found) == {"x.jpg": b"x"}
    assert passed.counts == {WITHOUT_URI: 1}
    assert [
        one.image_id for one in listed(tmp_path / "t.parquet", passed=passed, id_column="n")
    ] == ["1"]
    with pytest.raises(ConfigError, match="holds int64, not bytes"):
        listed(tmp_path / "t.parquet", image_column="n")


def test_in_a_folder_tables_without_images_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(parquet_of({"uri": ["s3://b/1"]}))
    (tmp_path / "b.parquet").write_bytes(parquet_of({"key": [1], "url": ["u"], "status": ["ok"]}))
    passed = PassedOver()
    assert listed(tmp_path, passed=passed) == []
    assert passed.counts == {NO_IMAGES: 1, OF_OTHERS: 1}
    (tmp_path / "b.parquet").unlink()
    assert [one.image_id for one in listed(tmp_path, uri_column="uri")] == ["s3://b/1"]
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UnreachableError, match=r"a\.parquet cannot be read .*--exclude"):
        listed(tmp_path)


def test_members_of_tars_are_images_of_their_own(tmp_path: Path, s3: S3Server) -> None:
    long = f"{'long/' * 30}name.jpg"
    tars = {
        "000.tar": tar_of({"a.jpg": b"0a", "a.json": b"{}"}),
        "001.tar": tar_of({"a.jpg": b"1a", long: b"1l"}, format=tarfile.GNU_FORMAT),
        "002.tar": tar_of({"ü.jpg": b"2u", long: b"2l"}, format=tarfile.PAX_FORMAT),
        "003.tar": b"no tar",
        "004.tar.gz": b"packed",
    }
    url = s3.bucket("tars", {f"in/{name}": data for name, data in tars.items()})
    for name, data in tars.items():
        (tmp_path / name).write_bytes(data)
    wanted = {
        "000.tar/a.jpg": b"0a", "001.tar/a.jpg": b"1a", f"001.tar/{long}": b"1l",
        "002.tar/ü.jpg": b"2u", f"002.tar/{long}": b"2l",
    }  # fmt: skip
    passed = PassedOver()
    assert bodies(listed(tmp_path, passed=passed)) == wanted
    assert passed.counts == {DAMAGED: 1, PACKED: 1}
    assert bodies(listed(f"{tmp_path}/{{000..002}}.tar")) == wanted
    assert bodies(listed(f"{url}/in/{{000..002}}.tar", s3.config), s3.config) == wanted
    (tmp_path / "a.txt").write_text("")
    found = listed(f"{url}/in/", s3.config, PassedOver())
    assert bodies(found, s3.config) == {f"in/{name}": data for name, data in wanted.items()}
    assert bodies(listed(tmp_path / "001.tar")) == {
        name: data for name, data in wanted.items() if name.startswith("001")
    }
    with pytest.raises(ConfigError, match="a compressed tar: unpack it"):
        listed(tmp_path / "004.tar.gz")
    with pytest.raises(UnreachableError, match="damaged or no tar"):
        listed(tmp_path / "003.tar")


def test_braces_stand_for_numbers() -> None:
    assert expand_braces("s3://b/{08..11}/{0..1}.tar") == [
        f"s3://b/{one:02d}/{two}.tar" for one in range(8, 12) for two in (0, 1)
    ]
    assert expand_braces("s3://b/{8..11}.tar")[::3] == ["s3://b/8.tar", "s3://b/11.tar"]  # pyright: ignore[reportOptionalSubscript]
    assert expand_braces("s3://b/{a}.tar") is None
    for odd in ("{3..1}", "{0..99999999}", "{0..9999}{0..9999}"):
        with pytest.raises(ConfigError, match="source is"):
            expand_braces(f"s3://b/{odd}.tar")


def test_a_listing_goes_on_within_a_container(s3: S3Server) -> None:
    table = parquet_of({"jpg": [b"1", b"2", b"3", b"4"]})
    url = s3.bucket("go-on", {"a.jpg": b"a", "b.tar": tar_of({"1.jpg": b"1", "2.jpg": b"2"}),
                              "c.parquet": table, "d.jpg": b"d"})  # fmt: skip
    whole = listed(url, s3.config)
    assert len(whole) == 8
    for at, one in enumerate(whole):
        rest = images_after(url, one.uri, s3.config, ALL)
        assert list(rest) == whole[at + 1 :]


def test_odd_ids_of_a_table_are_each_their_own(tmp_path: Path) -> None:
    data = {"image_id": list(ODD_KEYS), "image": [key.encode() for key in ODD_KEYS]}
    (tmp_path / "t.parquet").write_bytes(parquet_of(data))
    assert bodies(listed(tmp_path / "t.parquet")) == {key: key.encode() for key in ODD_KEYS}


@pytest.mark.parametrize("column", ["image", "a/b#c", "image.bytes", "ü %2F"])
def test_a_row_is_a_uri_and_a_key_that_looks_like_one_is_not(column: str) -> None:
    uri = row_uri("s3://b/t.parquet", Row(3, 17, column))
    assert split_row(uri) == ("s3://b/t.parquet", Row(3, 17, column))
    assert split_row(whole_uri(uri)) is None
    assert split_member(whole_uri(uri)) == (uri, None)
