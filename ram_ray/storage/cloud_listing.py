"""List a gs:// bucket or an az:// container, by obstore.

Of these clouds, obstore shows no key with slashes at its ends or in a row as it is: such keys are
told apart on S3 alone.
"""

import time
from collections.abc import Iterator

import obstore

from ram_ray.config import StoreConfig
from ram_ray.errors import UnreachableError
from ram_ray.storage.again import STORE_ERRORS, TRIES, may_help, pause_s
from ram_ray.storage.clients import open_cloud
from ram_ray.storage.reasons import describe
from ram_ray.storage.sources import SourceObject
from ram_ray.storage.stores import split_url
from ram_ray.storage.uris import whole_uri


def list_cloud(url: str, config: StoreConfig) -> Iterator[SourceObject]:
    """Yield the objects below a folder of a bucket, in the order of their keys.

    Raises:
        UnreachableError: it cannot be listed.
    """
    scheme, bucket, path = split_url(url)
    store = open_cloud(scheme, bucket, config, max_retries=0)
    last: str | None = None
    tries = 0
    while True:
        try:
            for page in obstore.list(store, path or None, offset=last):
                tries = 0
                for entry in page:
                    last = entry["path"]
                    place = whole_uri(f"{scheme}://{bucket}/{last}")
                    yield SourceObject(last, place, entry["e_tag"], entry["size"])
            return
        except STORE_ERRORS as error:
            tries += 1
            if tries == TRIES or not may_help(error):
                raise UnreachableError(f"Cannot list {url}: {describe(error)}") from error
        time.sleep(pause_s(tries))
