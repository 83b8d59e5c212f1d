"""AWS Rekognition's DetectLabels: boto3 works unchanged with `endpoint_url` set to this server.

Shapes: botocore's service description of Rekognition (2016-06-27), JSON 1.1 over `POST /`.
Differences: without MinConfidence the model's own thresholds decide, not 55; Categories are the
kinds of our vocabularies; Instances are empty; IMAGE_PROPERTIES are refused, and S3 objects but of
buckets that the operator has named.
"""

from collections.abc import Iterable
from typing import Any, Literal

import pydantic
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ram_model.config import KINDS
from ram_model.vocabulary import Vocabulary
from ram_ray.errors import ImageErrorCode
from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.context import Context
from ram_ray.serving.guard.aws_signature import read_signature
from ram_ray.serving.guard.bucket_input import SCHEME
from ram_ray.serving.http.reading import decode_base64, read_body
from ram_ray.serving.http.tagging import SentImage, TaggedRequest, tag_images
from ram_ray.serving.models.backend import Selection
from ram_ray.serving.problems import Problem, request_id

router = APIRouter(tags=["compatible with AWS Rekognition"])

CONTENT_TYPE = "application/x-amz-json-1.1"
_TARGET = "RekognitionService.DetectLabels"
_REQUEST_SCHEMA = "#/components/schemas/DetectLabelsRequest"
_DEFAULT_MAX_LABELS = 1_000


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _S3Object(_Shape):
    Bucket: str = Field(min_length=3, max_length=255)
    Name: str = Field(min_length=1, max_length=1_024)


class _Image(_Shape):
    Bytes: str | None = None
    S3Object: _S3Object | None = None


class _GeneralLabels(_Shape):
    LabelInclusionFilters: list[str] = []
    LabelExclusionFilters: list[str] = []
    LabelCategoryInclusionFilters: list[str] = []
    LabelCategoryExclusionFilters: list[str] = []

    @field_validator("LabelCategoryInclusionFilters", "LabelCategoryExclusionFilters")
    @classmethod
    def _known(cls, given: list[str]) -> list[str]:
        for category in given:
            if category.casefold() not in KINDS:
                known = ", ".join(_title(kind) for kind in KINDS)
                raise ValueError(f"there is no category {category!r}; there are {known}")
        return given

    def lets_in(self, names: Iterable[str], kind: str) -> bool:
        """Return whether a label passes the filters.

        Args:
            names: its own and its aliases; case does not matter.
            kind: its category.
        """
        own = {name.casefold() for name in names}

        def hits(labels: list[str], categories: list[str]) -> bool:
            return any(label.casefold() in own for label in labels) or kind.casefold() in {
                category.casefold() for category in categories
            }

        wanted = self.LabelInclusionFilters or self.LabelCategoryInclusionFilters
        named = hits(self.LabelInclusionFilters, self.LabelCategoryInclusionFilters)
        unwanted = hits(self.LabelExclusionFilters, self.LabelCategoryExclusionFilters)
        return (named or not wanted) and not unwanted


class _Settings(_Shape):
    GeneralLabels: _GeneralLabels = _GeneralLabels()
    ImageProperties: dict[str, Any] | None = None


class DetectLabelsRequest(_Shape):
    """Body of DetectLabels."""

    Image: _Image
    MaxLabels: int = Field(_DEFAULT_MAX_LABELS, ge=0)
    MinConfidence: float | None = Field(None, ge=0, le=100)
    Features: list[Literal["GENERAL_LABELS", "IMAGE_PROPERTIES"]] = ["GENERAL_LABELS"]
    Settings: _Settings = _Settings()


@router.post(
    "/",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {CONTENT_TYPE: {"schema": {"$ref": _REQUEST_SCHEMA}}},
        },
        "parameters": [
            {
                "name": "X-Amz-Target",
                "in": "header",
                "required": True,
                "schema": {"type": "string", "enum": [_TARGET]},
            }
        ],
    },
    responses={"4XX": {"description": "{__type, Message}"}, 503: {"description": "the same"}},
)
async def detect_labels(request: Request, context: Context) -> JSONResponse:
    """Answer AWS Rekognition's DetectLabels."""
    if request.headers.get("x-amz-target") != _TARGET:
        raise Problem(
            RequestErrorCode.NO_SUCH_RESOURCE,
            f"X-Amz-Target must be {_TARGET}, the one operation of this server; POST /v1/tag else.",
        )
    body = await read_body(request)
    _check_signature(request, context, body)
    asked = _parse(body)
    confidence = asked.MinConfidence
    tagged = await tag_images(
        context,
        request.state.client,
        [_sent(asked.Image)],
        model=None,
        selection=Selection(threshold=None if confidence is None else confidence / 100),
    )
    if problem := tagged.images[0].problem():
        raise problem
    card = await context.backend.card(context.config.models[0])
    answer = {
        "Labels": _labels(tagged, asked, _same(card.vocabulary, card.info.version, tagged)),
        "LabelModelVersion": f"{tagged.version.id} {tagged.version.weights_sha256[:12]}",
    }
    headers = {"x-amzn-RequestId": request_id(request)}
    return JSONResponse(answer, headers=headers, media_type=CONTENT_TYPE)


def error_response(problem: Problem, request: Request) -> JSONResponse:
    """Return an error as AWS clients expect it; 429 and 503 stay, which they retry."""
    name = _EXCEPTIONS.get(problem.code, "InvalidParameterException")
    status = problem.status_code if problem.status_code in (429, 500, 503) else 400
    headers = {"x-amzn-RequestId": request_id(request), "x-amzn-ErrorType": name}
    return JSONResponse(
        {"__type": name, "Message": problem.message},
        status,
        headers | dict(problem.headers or {}),
        media_type=CONTENT_TYPE,
    )


_EXCEPTIONS: dict[RequestErrorCode | ImageErrorCode, str] = (
    {
        RequestErrorCode.RATE_LIMITED: "ProvisionedThroughputExceededException",
        RequestErrorCode.OVERLOADED: "ThrottlingException",
        RequestErrorCode.NOT_READY: "ThrottlingException",
        RequestErrorCode.DEADLINE_EXCEEDED: "ThrottlingException",
        RequestErrorCode.INTERNAL: "InternalServerError",
        RequestErrorCode.BODY_TOO_LARGE: "ImageTooLargeException",
        RequestErrorCode.UNAUTHORIZED: "AccessDeniedException",
        RequestErrorCode.FORBIDDEN_ORIGIN: "AccessDeniedException",
        RequestErrorCode.NO_SUCH_RESOURCE: "UnknownOperationException",
        ImageErrorCode.TOO_LARGE: "ImageTooLargeException",
    }
    | {
        code: "InvalidImageFormatException"
        for code in (
            ImageErrorCode.NOT_AN_IMAGE,
            ImageErrorCode.UNSUPPORTED_FORMAT,
            ImageErrorCode.TRUNCATED,
            ImageErrorCode.CORRUPT,
            ImageErrorCode.DECODE_TIMEOUT,
            ImageErrorCode.DECODE_CRASH,
        )
    }
    | {
        code: "InvalidS3ObjectException"
        for code in (
            RequestErrorCode.URL_NOT_ALLOWED,
            ImageErrorCode.NOT_FOUND,
            ImageErrorCode.ACCESS_DENIED,
            ImageErrorCode.FETCH_FAILED,
            ImageErrorCode.FETCH_TIMEOUT,
        )
    }
)


def _sent(image: _Image) -> SentImage:
    if image.S3Object is not None:
        return SentImage(url=f"{SCHEME}{image.S3Object.Bucket}/{image.S3Object.Name}")
    return SentImage(data=decode_base64(image.Bytes or "", "Image.Bytes"))


def _check_signature(request: Request, context: Context, body: bytes) -> None:
    signature = read_signature(request.headers)
    if not context.access.keys or signature is None:
        return  # nobody is asked, or the gate has let in another kind of key
    secret = context.access.keys.get(signature.name, "")
    if not signature.is_of(secret, headers=request.headers, body=body):
        raise Problem(RequestErrorCode.UNAUTHORIZED, "The request's signature does not fit.")
    request.state.body.prove(signature.name)
    request.state.client = signature.name


def _parse(body: bytes) -> DetectLabelsRequest:
    try:
        asked = DetectLabelsRequest.model_validate_json(body)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Problem(RequestErrorCode.INVALID_REQUEST, f"{where}: {first['msg']}") from None
    if (asked.Image.Bytes is None) == (asked.Image.S3Object is None):
        message = "Image must have either Bytes or S3Object."
        raise Problem(RequestErrorCode.INVALID_REQUEST, message)
    if "IMAGE_PROPERTIES" in asked.Features or asked.Settings.ImageProperties is not None:
        message = "This server gives no IMAGE_PROPERTIES."
        raise Problem(RequestErrorCode.UNSUPPORTED_OPTION, message)
    return asked


def _same(vocabulary: Vocabulary, version: Any, tagged: TaggedRequest) -> Vocabulary | None:
    """Return the vocabulary if the answer was made with it, not with that of an update."""
    return vocabulary if version.vocabulary_sha256 == tagged.version.vocabulary_sha256 else None


def _labels(
    tagged: TaggedRequest, asked: DetectLabelsRequest, vocabulary: Vocabulary | None
) -> list[dict[str, Any]]:
    found = tagged.images[0].prediction
    if found is None:
        raise AssertionError("an image without error has a prediction")
    labels: list[dict[str, Any]] = []
    for position, name in enumerate(found.names):
        kind = found.kinds[position]
        tag_id = int(found.tag_ids[position])
        aliases = () if vocabulary is None else vocabulary.aliases[tag_id]
        if not asked.Settings.GeneralLabels.lets_in((name, *aliases), kind):
            continue
        parents = [] if vocabulary is None else _ancestors(vocabulary, tag_id)
        labels.append(
            {
                "Name": _title(name),
                "Confidence": round(float(found.scores[position]) * 100, 4),
                "Instances": [],
                "Parents": [{"Name": _title(parent)} for parent in parents],
                "Aliases": [{"Name": _title(alias)} for alias in aliases],
                "Categories": [{"Name": _title(kind)}],
            }
        )
    return labels[: asked.MaxLabels]


def _title(name: str) -> str:
    """Return a name as Rekognition writes them: "Ice Cream"; "TV" stays."""
    return " ".join(word[:1].upper() + word[1:] for word in name.split())


def _ancestors(vocabulary: Vocabulary, tag_id: int) -> list[str]:
    """Return the names of all tags above one, nearest first."""
    found: list[int] = []
    waiting = list(vocabulary.parents[tag_id])
    while waiting:
        parent = waiting.pop(0)
        if parent not in found and parent != tag_id:
            found.append(parent)
            waiting += vocabulary.parents[parent]
    return [vocabulary.names[parent] for parent in found]
