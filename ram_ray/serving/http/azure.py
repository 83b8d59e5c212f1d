"""Azure's image tags: Image Analysis 4.0 (`imageanalysis:analyze`) and Computer Vision 3.2 (`tag`,
`analyze`).

Only the features `tags` and `caption` exist here; others are refused. `confidence` is our score,
and each tag's own threshold decides, as in /v1/tag. The key goes into Ocp-Apim-Subscription-Key.
"""

from typing import Annotated, Any

import pydantic
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from ram_ray.errors import ImageErrorCode
from ram_ray.images.formats import identify
from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.context import Context
from ram_ray.serving.http.reading import read_body
from ram_ray.serving.http.tagging import SentImage, TaggedImage, TaggedRequest, tag_images
from ram_ray.serving.models.backend import Prediction, Selection
from ram_ray.serving.problems import Problem, request_id

router = APIRouter(tags=["compatible with Azure"])

ANALYZE = "/computervision/imageanalysis:analyze"
ANALYZE_V32 = "/vision/v3.2/analyze"
TAG = "/vision/v3.2/tag"
_LANGUAGES = {"en": False, "zh": True, "zh-Hans": True}  # code: Chinese names

_ERRORS: Any = {"4XX": {"description": "{error: {code, message, innererror}}"}}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"url": {"type": "string"}},
                    "required": ["url"],
                }
            },
        },
    }
}


class _UrlBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    url: str


@router.post(ANALYZE, openapi_extra=_BODY, responses=_ERRORS)
async def analyze(
    request: Request,
    context: Context,
    api_version: Annotated[str, Query(alias="api-version")],
    features: Annotated[str, Query(description="tags, caption, or both with a comma.")],
    language: str = "en",
    model_version: Annotated[str, Query(alias="model-version")] = "latest",
) -> JSONResponse:
    """Answer Image Analysis 4.0's analyze, features `tags` and `caption`."""
    del api_version  # tags look the same in every version
    wanted = [feature.strip() for feature in features.split(",")]
    for feature in wanted:
        if feature not in ("tags", "caption"):
            raise Problem(
                RequestErrorCode.UNSUPPORTED_OPTION,
                f"This server has the features tags and caption, not {feature!r}.",
            )
    tagged, _ = await _tag(request, context, language, model_version, "caption" in wanted)
    image, found = _only(tagged)
    answer: dict[str, Any] = {
        "modelVersion": tagged.version.weights_sha256[:12],
        "metadata": {"width": image.width, "height": image.height},
    }
    if "tags" in wanted:
        answer["tagsResult"] = {"values": _tags(found, _LANGUAGES[language])}
    if "caption" in wanted:
        confidence = found.caption_confidence
        answer["captionResult"] = {"text": found.caption, "confidence": confidence}
    return JSONResponse(answer, headers={"apim-request-id": request_id(request)})


@router.post(TAG, openapi_extra=_BODY, responses=_ERRORS)
async def tag_v32(
    request: Request,
    context: Context,
    language: str = "en",
    model_version: Annotated[str, Query(alias="model-version")] = "latest",
) -> JSONResponse:
    """Answer Computer Vision 3.2's tag operation."""
    return await _answer_v32(request, context, language, model_version)


@router.post(ANALYZE_V32, openapi_extra=_BODY, responses=_ERRORS)
async def analyze_v32(
    request: Request,
    context: Context,
    features: Annotated[str, Query(alias="visualFeatures", description="Tags.")],
    language: str = "en",
    model_version: Annotated[str, Query(alias="model-version")] = "latest",
) -> JSONResponse:
    """Answer Computer Vision 3.2's analyze, visual feature `Tags`."""
    for feature in features.split(","):
        if feature.strip().lower() != "tags":
            raise Problem(
                RequestErrorCode.UNSUPPORTED_OPTION,
                f"This server has the visual feature Tags, not {feature.strip()!r}.",
            )
    if request.query_params.get("details"):
        raise Problem(RequestErrorCode.UNSUPPORTED_OPTION, "This server gives no details.")
    return await _answer_v32(request, context, language, model_version)


async def _answer_v32(
    request: Request, context: Context, language: str, model_version: str
) -> JSONResponse:
    tagged, data = await _tag(request, context, language, model_version, False)
    image, found = _only(tagged)
    metadata: dict[str, Any] = {"height": image.height, "width": image.width}
    if data is not None:
        metadata["format"] = identify(data).capitalize()
    answer = {
        "tags": _tags(found, _LANGUAGES[language]),
        "requestId": request_id(request),
        "metadata": metadata,
        "modelVersion": tagged.version.weights_sha256[:12],
    }
    return JSONResponse(answer, headers={"apim-request-id": request_id(request)})


def error_response(problem: Problem, request: Request) -> JSONResponse:
    """Return an error as Azure's clients expect it, with our code inside."""
    outer = _CODES.get(problem.status_code, "InvalidRequest")
    inner = _INNER_CODES.get(problem.code, str(problem.code))
    # Azure calls every bad image and every bad argument a 400
    status = 400 if problem.status_code in (413, 422) else problem.status_code
    body = {
        "error": {
            "code": outer,
            "message": problem.message,
            "innererror": {"code": inner, "message": problem.message},
        }
    }
    headers = {"apim-request-id": request_id(request)} | dict(problem.headers or {})
    return JSONResponse(body, status, headers)


_CODES = {
    401: "401",
    403: "403",
    404: "404",
    415: "InvalidRequest",
    429: "429",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}
_INNER_CODES: dict[RequestErrorCode | ImageErrorCode, str] = {
    ImageErrorCode.NOT_AN_IMAGE: "InvalidImageFormat",
    ImageErrorCode.UNSUPPORTED_FORMAT: "InvalidImageFormat",
    ImageErrorCode.TRUNCATED: "InvalidImageFormat",
    ImageErrorCode.CORRUPT: "InvalidImageFormat",
    ImageErrorCode.EMPTY: "InvalidImageFormat",
    ImageErrorCode.TOO_LARGE: "InvalidImageSize",
    ImageErrorCode.NOT_FOUND: "InvalidImageUrl",
    ImageErrorCode.ACCESS_DENIED: "InvalidImageUrl",
    ImageErrorCode.FETCH_FAILED: "InvalidImageUrl",
    ImageErrorCode.FETCH_TIMEOUT: "Timeout",
    RequestErrorCode.URL_NOT_ALLOWED: "InvalidImageUrl",
    RequestErrorCode.UNSUPPORTED_OPTION: "NotSupportedFeature",
    RequestErrorCode.BODY_TOO_LARGE: "InvalidImageSize",
}


async def _tag(
    request: Request, context: Context, language: str, model_version: str, caption: bool
) -> tuple[TaggedRequest, bytes | None]:
    """Return the answer, and the image's bytes where they came with the request."""
    if language not in _LANGUAGES:
        known = ", ".join(_LANGUAGES)
        raise Problem(RequestErrorCode.INVALID_REQUEST, f"language must be one of {known}.")
    if model_version != "latest":
        raise Problem(RequestErrorCode.INVALID_REQUEST, "model-version must be latest.")
    image = await _read(request, context)
    tagged = await tag_images(
        context, request.state.client, [image], model=None, selection=Selection(caption=caption)
    )
    return tagged, image.data


async def _read(request: Request, context: Context) -> SentImage:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/octet-stream" or kind.startswith("image/"):
        return SentImage(data=await read_body(request))
    if kind != "application/json":
        raise Problem(
            RequestErrorCode.UNSUPPORTED_MEDIA_TYPE,
            "Send the image as application/octet-stream, or its URL as application/json.",
        )
    try:
        url = _UrlBody.model_validate_json(await read_body(request)).url
    except pydantic.ValidationError:
        message = 'The body must be {"url": "..."}.'
        raise Problem(RequestErrorCode.INVALID_REQUEST, message) from None
    return SentImage(url=url)


def _only(tagged: TaggedRequest) -> tuple[TaggedImage, Prediction]:
    image = tagged.images[0]
    if image.prediction is None:
        raise image.problem() or AssertionError("an image without error has a prediction")
    return image, image.prediction


def _tags(found: Prediction, chinese: bool) -> list[dict[str, Any]]:
    """Return names with scores; where a tag has no Chinese name, its English one."""
    names = found.names
    if chinese:
        names = [zh or en for zh, en in zip(found.names_zh, found.names, strict=True)]
    return [
        {"name": name, "confidence": float(score)}
        for name, score in zip(names, found.scores, strict=True)
    ]
