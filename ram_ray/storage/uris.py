"""How a URI names the bytes of an image: a whole object, or a part of a tar.

/photos/a.jpg, s3://bucket/a.jpg    a whole object: after the bucket's name comes its key, as it is
s3://bucket/x.tar#512+1000          1,000 bytes of x.tar from byte 512: a member
s3://bucket/x.tar#512+1000#         the object whose key is "x.tar#512+1000"
"""

import re

_MEMBER = re.compile(r"(?P<tar>.+\.(?i:tar))#(?P<offset>\d+)\+(?P<size>\d+)", re.DOTALL)
_LIKE_MEMBER = re.compile(_MEMBER.pattern + "#*", re.DOTALL)


def member_uri(tar_uri: str, offset: int, size: int) -> str:
    """Return the URI of some bytes of a tar: where a member's content lies."""
    return f"{tar_uri}#{offset}+{size}"


def whole_uri(place: str) -> str:
    """Return the URI of a whole object, whatever its name looks like.

    Args:
        place: an absolute path, a file:// URL, or s3://bucket/key.
    """
    return f"{place}#" if _LIKE_MEMBER.fullmatch(place) else place


def split_member(uri: str) -> tuple[str, tuple[int, int] | None]:
    """Return the object's place, and (offset, size) where only a part of a tar is meant."""
    match = _MEMBER.fullmatch(uri)
    if match is not None:
        return match["tar"], (int(match["offset"]), int(match["size"]))
    escaped = uri.endswith("#") and _LIKE_MEMBER.fullmatch(uri)
    return (uri[:-1] if escaped else uri), None


def object_key(place: str, bucket: str) -> str:
    """Return the key of s3://bucket/key, as it is: also with slashes at its ends."""
    return place.removeprefix(f"s3://{bucket}/")


def obstore_keeps(key: str) -> bool:
    """Tell whether obstore asks for this very key.

    It takes a leading or trailing slash away, silently, and refuses empty and dot segments.
    """
    return all(part not in ("", ".", "..") for part in key.split("/")) and key.isprintable()
