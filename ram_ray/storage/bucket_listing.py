"""List an S3 prefix exactly: every key as it is, in order, many pages at a time.

obstore drops slashes at the ends of keys, so the pages are read here: by URLs that boto3 signs.
"""

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

import requests
from botocore.exceptions import ClientError
from requests.adapters import HTTPAdapter

from ram_ray.config import StoreConfig
from ram_ray.errors import UnreachableError
from ram_ray.storage.again import STORE_ERRORS, UnsettledError, until_answered
from ram_ray.storage.clients import boto3_client
from ram_ray.storage.key_ranges import AT_ONCE, Page, walk_keys
from ram_ray.storage.reasons import describe

TIMEOUT_S = (10, 30)
"""To connect, and between two bytes."""

_ENCODED = b"<EncodingType>url</EncodingType>"
_FIRST_KEY = re.compile(rb"<Key>([\w%./-]+)</Key>", re.ASCII)

Entry = tuple[str, str | None, int]
"""Key, etag, size in bytes."""


def list_bucket(
    bucket: str, prefix: str, config: StoreConfig, *, after: str = ""
) -> Iterator[Entry]:
    """Yield the objects whose key begins with `prefix`, in the order of their keys.

    Args:
        after: only keys after this one.

    Raises:
        UnreachableError: the bucket cannot be listed.
    """
    pages = BucketPages(bucket, prefix, config)
    try:
        yield from walk_keys(pages.read, prefix=prefix, after=after)
    except STORE_ERRORS as error:
        raise UnreachableError(f"Cannot list s3://{bucket}/{prefix}: {describe(error)}") from error
    finally:
        pages.close()


def begins_any_key(bucket: str, prefix: str, config: StoreConfig) -> bool:
    """Tell whether there is an object whose key begins with `prefix`.

    Raises:
        UnreachableError: the bucket cannot be listed.
    """
    pages = BucketPages(bucket, prefix, config, max_keys=1)
    try:
        return bool(pages.read("").keys)
    except STORE_ERRORS as error:
        raise UnreachableError(f"Cannot list s3://{bucket}/{prefix}: {describe(error)}") from error
    finally:
        pages.close()


class BucketPages:
    """The pages of a prefix, each asked for until it is answered."""

    def __init__(
        self, bucket: str, prefix: str, config: StoreConfig, *, max_keys: int | None = None
    ) -> None:
        self._client = boto3_client(config, tries=1)
        self._wanted: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "EncodingType": "url"}
        if max_keys is not None:
            self._wanted["MaxKeys"] = max_keys
        self._session = requests.Session()
        self._session.verify = os.environ.get("AWS_CA_BUNDLE", True)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=AT_ONCE))

    def read(self, after: str, stop: str | None = None) -> Page[Entry]:
        """Return the first page of the keys after one: see `key_ranges.ReadPage`."""
        return until_answered(lambda: self._read(after, stop))

    def close(self) -> None:
        self._session.close()

    def _read(self, after: str, stop: str | None) -> Page[Entry]:
        wanted = self._wanted | ({"StartAfter": after} if after else {})
        url = self._client.generate_presigned_url("list_objects_v2", Params=wanted)
        answer = self._session.get(url, timeout=TIMEOUT_S, allow_redirects=False)
        if answer.status_code != 200:
            raise _refusal(answer)
        try:
            return parse_page(answer.content, stop)
        except (ET.ParseError, ValueError) as error:
            raise UnsettledError(f"a page of the listing cannot be read: {error}") from error


def parse_page(content: bytes, stop: str | None = None) -> Page[Entry]:
    """Return the keys of an answer to ListObjectsV2.

    Args:
        stop: where the first key comes after it, the rest is not looked at (4 ms a page).

    Raises:
        ET.ParseError, ValueError: it is not a whole answer.
    """
    first = _FIRST_KEY.search(content) if stop is not None and _ENCODED in content else None
    if first and stop is not None and unquote_plus(first[1].decode()) > stop:
        return Page([], [], False)
    root = ET.fromstring(content)
    space = root.tag[: root.tag.index("}") + 1] if root.tag.startswith("{") else ""
    if root.tag != f"{space}ListBucketResult":
        raise ValueError(f"the server answered {root.tag}")
    encoded = root.findtext(f"{space}EncodingType") == "url"
    keys: list[str] = []
    entries: list[Entry] = []
    for entry in root.iterfind(f"{space}Contents"):
        key = entry.findtext(f"{space}Key") or ""
        if encoded and ("%" in key or "+" in key):
            key = unquote_plus(key)
        keys.append(key)
        size_bytes = int(entry.findtext(f"{space}Size") or "")
        entries.append((key, entry.findtext(f"{space}ETag"), size_bytes))
    return Page(keys, entries, root.findtext(f"{space}IsTruncated") == "true")


def _refusal(answer: requests.Response) -> ClientError:
    try:
        root = ET.fromstring(answer.content)
        told = {child.tag.rpartition("}")[2]: child.text or "" for child in root}
    except ET.ParseError:
        told = {}
    error = {"Code": told.get("Code", str(answer.status_code))}
    error["Message"] = told.get("Message", answer.reason or "no reason given")
    whole: Any = {"Error": error, "ResponseMetadata": {"HTTPStatusCode": answer.status_code}}
    return ClientError(whole, "ListObjectsV2")
