"""What the API takes and gives: one type per body, the source of the OpenAPI document.

    POST /v1/tag         images -> tags            TagOptions, TagRequest -> TagResponse
    GET  /v1/tags        vocabulary search         TagSearchResponse
    GET  /v1/models      models and versions       ModelList
    /v1/jobs             tagging jobs              job_api.py
    GET  /healthz        this process answers      Health
    GET  /readyz         a model can be called     Readiness; 503 while none can
    GET  /metrics        Prometheus text
    POST /               AWS Rekognition's DetectLabels (rekognition.py)
    POST /computervision/imageanalysis:analyze, /vision/v3.2/{tag,analyze}    Azure (azure.py)

Images come in three ways, with the same options:

    multipart/form-data  any number of file parts; options as text fields or in the query
    image/*, application/octet-stream    the bytes of one image; options in the query
    application/json     TagRequest: base64 texts or, where enabled, URLs; options as fields

Every answer carries `X-Request-ID` (the caller's, if it sent one). Every error is an ErrorResponse
with a code of RequestErrorCode or of `ram_ray.errors.ImageErrorCode`; `STATUS` in problems.py gives
the HTTP status of each code. An image that cannot be tagged is the status of a request of one
image; among several it is the `error` of its result, and the others are answered.

With API keys: `Authorization: Bearer KEY`, `X-API-Key: KEY`, or as AWS and Azure clients send them.
Requests of other web sites (`Origin` is not the host) are refused with 403.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ram_ray.errors import ImageErrorCode

MAX_TAGS = 1_000
"""Most names in `tags`; the largest published open set has 600 (HICO)."""
MAX_TAG_LENGTH = 200

Score = Annotated[float, Field(ge=0, le=1)]
TagName = Annotated[str, Field(min_length=1, max_length=MAX_TAG_LENGTH)]
ModelName = Annotated[str, Field(min_length=1, max_length=200)]


class RequestErrorCode(StrEnum):
    """Why a request was refused; images have codes of their own (ImageErrorCode). Closed."""

    INVALID_REQUEST = "invalid_request"  # 422: a field is wrong; `details` names it
    UNSUPPORTED_OPTION = "unsupported_option"  # 422: this model cannot do it
    UNKNOWN_TAGS = "unknown_tags"  # 422: words that this model cannot look for
    UNKNOWN_MODEL = "unknown_model"  # 404
    NO_SUCH_RESOURCE = "no_such_resource"  # 404: path, job, ...
    METHOD_NOT_ALLOWED = "method_not_allowed"  # 405
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"  # 415
    BODY_TOO_LARGE = "body_too_large"  # 413
    TOO_MANY_IMAGES = "too_many_images"  # 413: also parts of a multipart body
    REQUEST_TIMEOUT = "request_timeout"  # 408: the body came too slowly
    URL_NOT_ALLOWED = "url_not_allowed"  # 403: URL input is off, or this address is not allowed
    UNAUTHORIZED = "unauthorized"  # 401: no API key, or a wrong one
    FORBIDDEN_ORIGIN = "forbidden_origin"  # 403: another web site's page sent it
    JOBS_DISABLED = "jobs_disabled"  # 403
    LOCATION_NOT_ALLOWED = "location_not_allowed"  # 403: of a job's source or output
    CONFLICT = "conflict"  # 409: another job writes to that output
    JOBS_UNAVAILABLE = "jobs_unavailable"  # 503, Retry-After: Ray's job server does not answer
    RATE_LIMITED = "rate_limited"  # 429, Retry-After
    OVERLOADED = "overloaded"  # 503, Retry-After: not accepted, nothing was done
    NOT_READY = "not_ready"  # 503, Retry-After: no model replica is up
    DEADLINE_EXCEEDED = "deadline_exceeded"  # 503, Retry-After: accepted, but not done in time
    INTERNAL = "internal"  # 500: a bug


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TagOptions(_Request):
    """Which tags; the same in the query, in form fields and in JSON. Unknown ones are refused."""

    json_body: ClassVar[bool] = False

    model: ModelName | None = Field(None, description="A model of /v1/models; default: the first.")
    tags: list[TagName] | None = Field(
        None,
        min_length=1,
        max_length=MAX_TAGS,
        description="Look only for these. Words outside the vocabulary need a model with "
        "`open_set`; in a query or form repeated, or with commas.",
    )
    threshold: Score | None = Field(
        None, description="One for all tags; default: each tag's own. A tag's score is above it."
    )
    score_floor: Score | None = Field(
        None, description="Also give tags with a score from here up (`above_threshold` is false)."
    )
    top_k: int | None = Field(None, ge=1, le=10_000, description="At most so many, the best.")
    caption: bool = Field(False, description="Also a sentence; needs a model with `caption`.")
    boxes: bool = Field(False, description="Also where it is; needs a model with `boxes`.")

    @field_validator("tags", mode="before")
    @classmethod
    def _split_tags(cls, given: object) -> object:
        """Read `dog,cat` as two tags; JSON has lists, so there a comma is part of a tag."""
        if cls.json_body or not isinstance(given, list):
            return given
        split: list[object] = []
        for text in given:
            parts = text.split(",") if isinstance(text, str) else []
            split += [part.strip() for part in parts if part.strip()] or [text]
        return split


class ImageInput(_Request):
    """One image of a JSON body: exactly one of `data` and `url`."""

    name: str | None = Field(None, max_length=1_000, description="Comes back with the result.")
    data: str | None = Field(None, description="Base64 of the file's bytes.")
    url: str | None = Field(
        None, max_length=4_000, description="http(s); only where the server enables it."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> "ImageInput":
        if (self.data is None) == (self.url is None):
            raise ValueError("an image has either `data` or `url`")
        return self


class TagRequest(TagOptions):
    """JSON body of /v1/tag."""

    json_body: ClassVar[bool] = True

    images: list[ImageInput] = Field(min_length=1)
    thresholds: dict[TagName, Score] | None = Field(
        None, max_length=MAX_TAGS, description="Per tag, over `threshold`; JSON bodies only."
    )


class ModelVersion(BaseModel):
    """What decided an answer: equal versions give equal answers for equal bytes and options."""

    id: str
    weights_sha256: str
    vocabulary_sha256: str = Field(description="Tag ids and names.")
    thresholds_sha256: str = Field(description="The model's own thresholds.")
    captions_sha256: str | None = Field(
        default=None, description="The caption side, where there is one."
    )


class Tag(BaseModel):
    """One tag of an image."""

    id: int = Field(description="Of the vocabulary; words new to the model follow its last id.")
    name: str
    name_zh: str = Field(description="Chinese; empty where the vocabulary has none.")
    kind: str = Field(description="object, scene, attribute, action or other.")
    score: float
    threshold: float = Field(description="The one that was applied.")
    above_threshold: bool = Field(description="False only for tags that `score_floor` let in.")


class Box(BaseModel):
    """Where a tag was seen; fractions of the image's width and height, origin top left."""

    tag_id: int
    left: float
    top: float
    width: float
    height: float
    score: float


class ErrorDetail(BaseModel):
    """One wrong field of a request."""

    field: str
    message: str


class ErrorInfo(BaseModel):
    """What went wrong, for programs (`code`) and for people (`message`)."""

    code: RequestErrorCode | ImageErrorCode
    message: str
    details: list[ErrorDetail] = []


class ErrorResponse(BaseModel):
    """Body of every status from 400 up."""

    error: ErrorInfo
    request_id: str


class ImageResult(BaseModel):
    """One image: tags by falling score, or an error."""

    name: str | None = Field(description="File name or `name` as given.")
    width: int | None = Field(description="Pixels as stored in the file; null with an error.")
    height: int | None
    tags: list[Tag]
    caption: str | None = None
    caption_confidence: float | None = Field(
        default=None, description="Mean probability of the caption's word pieces, 0..1."
    )
    boxes: list[Box] | None = None
    error: ErrorInfo | None = None


class TagResponse(BaseModel):
    """Answer of /v1/tag; `images` in the order they were sent."""

    request_id: str
    model: ModelVersion
    images: list[ImageResult]
    notes: list[str] = Field(description="What a reader should know, e.g. words new to the model.")


class VocabularyTag(BaseModel):
    """One row of a model's vocabulary."""

    id: int
    name: str
    name_zh: str
    kind: str
    threshold: float = Field(description="1 means that the tag is switched off.")
    aliases: list[str]
    parents: list[int]


class TagSearchResponse(BaseModel):
    """Tags whose name, alias or Chinese name contains the query; best match first."""

    model: ModelVersion
    total: int = Field(description="Matches in all; `tags` is the page asked for.")
    tags: list[VocabularyTag]


class Capabilities(BaseModel):
    """Which options a model takes."""

    open_set: bool = Field(description="`tags` may hold words that the vocabulary lacks.")
    caption: bool
    boxes: bool


class ModelInfo(BaseModel):
    """A model that this server answers with."""

    id: str = Field(description="What `model` names.")
    default: bool
    kind: str
    num_tags: int = Field(description="That it can give; more may be learned and never shown.")
    image_size_px: int
    chinese: bool = Field(description="The vocabulary has Chinese names.")
    capabilities: Capabilities
    version: ModelVersion
    notes: list[str]


class Limits(BaseModel):
    """What this server accepts; checked before anything is decoded."""

    max_body_bytes: int
    max_images_per_request: int
    max_image_bytes: int
    max_image_pixels: int
    url_input: bool


class ModelList(BaseModel):
    """Models, the default first, and the limits of a request."""

    models: list[ModelInfo]
    limits: Limits


class Health(BaseModel):
    """This process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether a request would be served now."""

    ready: bool
    reason: str = Field(description="Why not; empty when ready.")
