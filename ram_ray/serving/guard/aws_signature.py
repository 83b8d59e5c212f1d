"""AWS Signature Version 4, the receiving side: who signed a request, and whether it is theirs.

Algorithm: AWS "Signature Version 4 signing process" (create a signed AWS API request).
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.datastructures import Headers

_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM} Credential=(?P<name>[^/,\s]+)/(?P<day>\d{{8}})/(?P<region>[^/,\s]+)/"
    r"(?P<service>[^/,\s]+)/aws4_request,\s*SignedHeaders=(?P<headers>[a-z0-9;-]+),\s*"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
_MAX_CLOCK_SKEW = timedelta(minutes=15)  # that AWS allows


@dataclass(frozen=True, slots=True)
class AwsSignature:
    """What an Authorization header says."""

    name: str
    """Access key id: here the name of an API key."""
    day: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str

    def is_of(self, secret: str, *, headers: Headers, body: bytes) -> bool:
        """Return whether the owner of `secret` signed this `POST /` just now."""
        date = headers.get("x-amz-date", "")
        try:
            signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            return False
        if not date.startswith(self.day) or "host" not in self.signed_headers:
            return False
        if abs(datetime.now(UTC) - signed_at) > _MAX_CLOCK_SKEW:
            return False
        expected = self._sign(secret, date, self._canonical_request(headers, body))
        return hmac.compare_digest(expected, self.signature)

    def _canonical_request(self, headers: Headers, body: bytes) -> str:
        lines = [
            f"{name}:{' '.join(headers.get(name, '').split())}" for name in self.signed_headers
        ]
        signed = ";".join(self.signed_headers)
        payload = hashlib.sha256(body).hexdigest()
        return "\n".join(["POST", "/", "", *lines, "", signed, payload])

    def _sign(self, secret: str, date: str, canonical_request: str) -> str:
        scope = f"{self.day}/{self.region}/{self.service}/aws4_request"
        hashed = hashlib.sha256(canonical_request.encode()).hexdigest()
        key = f"AWS4{secret}".encode()
        for part in (self.day, self.region, self.service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        text = "\n".join([_ALGORITHM, date, scope, hashed])
        return hmac.new(key, text.encode(), "sha256").hexdigest()


def read_signature(headers: Headers) -> AwsSignature | None:
    """Return the signature of a request; None where there is none of this kind."""
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", "").strip())
    if found is None:
        return None
    return AwsSignature(
        name=found["name"],
        day=found["day"],
        region=found["region"],
        service=found["service"],
        signed_headers=tuple(found["headers"].split(";")),
        signature=found["signature"],
    )
