"""A request to its images and options, whichever of the three ways they were sent."""

import asyncio
import base64
import binascii
from collections.abc import Mapping

import pydantic
from fastapi.exceptions import RequestValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from ram_ray.serving.api import RequestErrorCode, TagOptions, TagRequest
from ram_ray.serving.config import ServeConfig
from ram_ray.serving.http.tagging import SentImage, check_count
from ram_ray.serving.models.backend import Selection
from ram_ray.serving.problems import Problem

_MAX_FIELDS = 1_100  # text fields of a form: MAX_TAGS `tags` and the other options
_MAX_FIELD_BYTES = 16 * 2**10


async def read_tag_request(
    request: Request, query: TagOptions, config: ServeConfig
) -> tuple[TagOptions, list[SentImage]]:
    """Return the options and the images, at least one.

    Args:
        query: the options in the address.

    Raises:
        Problem: unsupported_media_type (before the body is read), invalid_request,
            too_many_images, body_too_large, request_timeout, url_not_allowed.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_form(request, query, config)
    if kind == "application/json":
        if query.model_fields_set:
            raise _invalid("Options of a JSON request are fields of its body, not of the address.")
        return await _read_json(request, config)
    if kind == "application/octet-stream" or kind.startswith("image/"):
        return query, [SentImage(data=await read_body(request))]
    raise Problem(
        RequestErrorCode.UNSUPPORTED_MEDIA_TYPE,
        "Send multipart/form-data, application/json, or an image's bytes as image/* or "
        "application/octet-stream (Content-Type says which).",
    )


def selection_of(options: TagOptions) -> Selection:
    """Return what the models need of the options."""
    thresholds = options.thresholds if isinstance(options, TagRequest) else None
    asked = options.model_dump(include=set(TagOptions.model_fields) - {"model", "tags"})
    return Selection(
        tags=None if options.tags is None else tuple(options.tags),
        thresholds=tuple(sorted((thresholds or {}).items())),
        **asked,
    )


async def read_body(request: Request) -> bytes:
    """Return the whole body; the gate has bounded it.

    Raises:
        Problem: invalid_request, when the client leaves in the middle of it.
    """
    try:
        return await request.body()
    except ClientDisconnect:
        raise _invalid("The body ended early.") from None


def decode_base64(text: str, field: str) -> bytes:
    """Return the bytes; `text` may be a data URL and may have line breaks, as `base64` writes them.

    Raises:
        Problem: invalid_request.
    """
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise _invalid(f"{field} is a data URL that is not base64.")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise _invalid(f"{field} is not base64.") from None


async def _read_json(request: Request, config: ServeConfig) -> tuple[TagOptions, list[SentImage]]:
    body = await read_body(request)
    # off the event loop: tens of megabytes may be in there
    return await asyncio.to_thread(_parse_json, body, config)


def _parse_json(body: bytes, config: ServeConfig) -> tuple[TagOptions, list[SentImage]]:
    try:
        parsed = TagRequest.model_validate_json(body)
    except pydantic.ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from None
    check_count(config, len(parsed.images))
    images: list[SentImage] = []
    for position, image in enumerate(parsed.images):
        data = None
        if image.data is not None:
            data = decode_base64(image.data, f"images.{position}.data")
        images.append(SentImage(name=image.name, data=data, url=image.url))
    return parsed, images


async def _read_form(
    request: Request, query: TagOptions, config: ServeConfig
) -> tuple[TagOptions, list[SentImage]]:
    most = config.limits.max_images_per_request
    parser = _FormParser(
        request.headers,
        request.stream(),
        max_files=most,
        max_fields=_MAX_FIELDS,
        max_part_size=_MAX_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        code = RequestErrorCode.INVALID_REQUEST
        if error.message.startswith("Too many"):
            code = RequestErrorCode.TOO_MANY_IMAGES
        raise Problem(code, f"The multipart body is refused: {error.message}") from None
    except ClientDisconnect:
        raise _invalid("The body ended early.") from None
    try:
        fields: dict[str, list[str]] = {}
        images: list[SentImage] = []
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                images.append(SentImage(name=value.filename or name, data=await value.read()))
            else:
                fields.setdefault(name, []).append(value)
    finally:
        await _close(form)
    if not images:
        raise _invalid("The form has no file: send at least one image as a file part.")
    return _merged(query, fields), images


class _FormParser(MultiPartParser):
    """Takes a part for a file also where it has no file name (`curl -F 'files=<photo.jpg'`)."""

    def on_headers_finished(self) -> None:
        part = self._current_part
        _, options = parse_options_header(part.content_disposition)
        kind = dict(part.item_headers).get(b"content-type", b"").lower()
        is_file = kind.startswith((b"image/", b"application/octet-stream"))
        if b"filename" not in options and (is_file or options.get(b"name") == b"files"):
            part.content_disposition = (part.content_disposition or b"") + b'; filename=""'
        super().on_headers_finished()


async def _close(form: FormData) -> None:
    for _, value in form.multi_items():
        if isinstance(value, UploadFile):
            await value.close()


def _merged(query: TagOptions, fields: Mapping[str, list[str]]) -> TagOptions:
    """Return the options of a form and of the address together; one given twice is refused."""
    values: dict[str, object] = {}
    for name, texts in fields.items():
        if (name != "tags" and len(texts) > 1) or name in query.model_fields_set:
            raise _invalid(f"{name} is given more than once.")
        values[name] = texts if name == "tags" else texts[0]
    try:
        return TagOptions.model_validate(query.model_dump(exclude_unset=True) | values)
    except pydantic.ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from None


def _invalid(message: str) -> Problem:
    return Problem(RequestErrorCode.INVALID_REQUEST, message)
