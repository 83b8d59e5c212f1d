"""POST /v1/tag: images in, tags out."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request

from ram_ray.serving.api import (
    Box,
    ErrorInfo,
    ErrorResponse,
    ImageResult,
    Tag,
    TagOptions,
    TagResponse,
)
from ram_ray.serving.context import Context
from ram_ray.serving.http.reading import read_tag_request, selection_of
from ram_ray.serving.http.tagging import TaggedImage, tag_images
from ram_ray.serving.models.backend import Prediction
from ram_ray.serving.problems import request_id

router = APIRouter(tags=["tagging"])

_IMAGE = {"type": "string", "format": "binary"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"files": {"type": "array", "items": _IMAGE, "minItems": 1}},
                    "required": ["files"],
                },
            },
            "application/json": {"schema": {"$ref": "#/components/schemas/TagRequest"}},
            "application/octet-stream": {"schema": _IMAGE},
            "image/*": {"schema": _IMAGE},
        },
    }
}


@router.post(
    "/v1/tag",
    openapi_extra=_BODY,
    responses={"4XX": {"model": ErrorResponse}, 503: {"model": ErrorResponse}},
)
async def tag(
    request: Request, options: Annotated[TagOptions, Query()], context: Context
) -> TagResponse:
    """Tag one image or many.

    Send files of a form, the bytes of one image, or JSON with base64 texts. A single image that
    cannot be tagged is this request's status; of several, each has its result or its error.
    """
    wanted, images = await read_tag_request(request, options, context.config)
    tagged = await tag_images(
        context,
        request.state.client,
        images,
        model=wanted.model,
        selection=selection_of(wanted),
    )
    if len(tagged.images) == 1 and (problem := tagged.images[0].problem()):
        raise problem
    return TagResponse(
        request_id=request_id(request),
        model=tagged.version,
        images=[_result(image) for image in tagged.images],
        notes=_notes(tagged.images),
    )


def _result(image: TaggedImage) -> ImageResult:
    if image.prediction is None:
        error = image.error and ErrorInfo(code=image.error.code, message=image.error.message)
        return ImageResult(name=image.name, width=None, height=None, tags=[], error=error)
    boxes = image.prediction.boxes
    return ImageResult(
        name=image.name,
        width=image.width,
        height=image.height,
        tags=_tags(image.prediction),
        caption=image.prediction.caption,
        caption_confidence=image.prediction.caption_confidence,
        boxes=None if boxes is None else [Box.model_validate(box) for box in boxes],
    )


def _tags(found: Prediction) -> list[Tag]:
    rows = zip(found.tag_ids.tolist(), found.scores, found.thresholds, strict=True)
    # model_construct: our own values need no validation, which took longer than all else here
    return [
        Tag.model_construct(
            id=tag_id,
            name=found.names[position],
            name_zh=found.names_zh[position],
            kind=found.kinds[position],
            score=_shortest(score),
            threshold=_shortest(threshold),
            above_threshold=bool(score > threshold),
        )
        for position, (tag_id, score, threshold) in enumerate(rows)
    ]


def _shortest(value: np.float32) -> float:
    """Return the shortest decimal that is this float32: 0.45, not 0.44999998807907104."""
    return float(str(value))


def _notes(images: list[TaggedImage]) -> list[str]:
    notes = [note for image in images if image.prediction for note in image.prediction.notes]
    return list(dict.fromkeys(notes))
