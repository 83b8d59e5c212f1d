"""Errors that leave as HTTP answers: each has a code, a status and one sentence."""

import math
from collections.abc import Callable, Mapping

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse

from ram_ray.errors import ImageError, ImageErrorCode
from ram_ray.serving.api import ErrorDetail, ErrorInfo, ErrorResponse, RequestErrorCode

STATUS: dict[RequestErrorCode | ImageErrorCode, int] = {
    RequestErrorCode.INVALID_REQUEST: 422,
    RequestErrorCode.UNSUPPORTED_OPTION: 422,
    RequestErrorCode.UNKNOWN_TAGS: 422,
    RequestErrorCode.UNKNOWN_MODEL: 404,
    RequestErrorCode.NO_SUCH_RESOURCE: 404,
    RequestErrorCode.METHOD_NOT_ALLOWED: 405,
    RequestErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
    RequestErrorCode.BODY_TOO_LARGE: 413,
    RequestErrorCode.TOO_MANY_IMAGES: 413,
    RequestErrorCode.REQUEST_TIMEOUT: 408,
    RequestErrorCode.URL_NOT_ALLOWED: 403,
    RequestErrorCode.UNAUTHORIZED: 401,
    RequestErrorCode.FORBIDDEN_ORIGIN: 403,
    RequestErrorCode.JOBS_DISABLED: 403,
    RequestErrorCode.LOCATION_NOT_ALLOWED: 403,
    RequestErrorCode.CONFLICT: 409,
    RequestErrorCode.JOBS_UNAVAILABLE: 503,
    RequestErrorCode.RATE_LIMITED: 429,
    RequestErrorCode.OVERLOADED: 503,
    RequestErrorCode.NOT_READY: 503,
    RequestErrorCode.DEADLINE_EXCEEDED: 503,
    RequestErrorCode.INTERNAL: 500,
    ImageErrorCode.EMPTY: 400,
    ImageErrorCode.NOT_AN_IMAGE: 415,
    ImageErrorCode.UNSUPPORTED_FORMAT: 415,
    ImageErrorCode.TOO_LARGE: 413,
    # the request is well formed, but nothing can be made of this image
    ImageErrorCode.TRUNCATED: 422,
    ImageErrorCode.CORRUPT: 422,
    ImageErrorCode.DECODE_TIMEOUT: 422,
    ImageErrorCode.DECODE_CRASH: 422,
    ImageErrorCode.MODEL_ERROR: 422,
    # of images given by URL
    ImageErrorCode.NOT_FOUND: 422,
    ImageErrorCode.ACCESS_DENIED: 422,
    ImageErrorCode.FETCH_TIMEOUT: 422,
    ImageErrorCode.FETCH_FAILED: 422,
    ImageErrorCode.CHANGED: 422,
}
"""HTTP status of each code; no code but INTERNAL is a 500."""


class Problem(HTTPException):
    """Ends a request with an error answer; raise it anywhere below a route."""

    def __init__(
        self,
        code: RequestErrorCode | ImageErrorCode,
        message: str,
        *,
        retry_after_s: float | None = None,
        details: list[ErrorDetail] | None = None,
    ) -> None:
        # HTTP wants whole seconds
        wait = (
            {} if retry_after_s is None else {"Retry-After": str(max(1, math.ceil(retry_after_s)))}
        )
        super().__init__(STATUS[code], message, wait)
        self.code = code
        self.message = message
        self.details = details or []

    @property
    def info(self) -> ErrorInfo:
        """The error as it stands in a body."""
        return ErrorInfo(code=self.code, message=self.message, details=self.details)

    @classmethod
    def of_image(cls, error: ImageError) -> "Problem":
        """Return the problem of a request whose only image failed."""
        return cls(error.code, error.message)


ErrorShape = Callable[[Problem, Request], JSONResponse]


def problem_response(problem: Problem, request: Request) -> JSONResponse:
    """Return the answer to a failed request, in the shape that its route's clients expect."""
    request.state.refused = problem.code.value
    shapes: Mapping[tuple[str, str], ErrorShape] = request.app.state.error_shapes
    shape = shapes.get((request.method, request.url.path), _own_shape)
    return shape(problem, request)


def _own_shape(problem: Problem, request: Request) -> JSONResponse:
    body = ErrorResponse(error=problem.info, request_id=request_id(request))
    return JSONResponse(body.model_dump(mode="json"), problem.status_code, problem.headers)


def request_id(request: Request) -> str:
    """Return the id that `app.py` gave this request."""
    return request.scope.get("state", {}).get("request_id", "")
