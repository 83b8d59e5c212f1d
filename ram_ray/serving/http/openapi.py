"""The OpenAPI document: bodies that routes read by themselves are added by their types."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from ram_ray.serving.api import ErrorResponse, TagRequest
from ram_ray.serving.http.rekognition import DetectLabelsRequest


def describe(app: FastAPI) -> None:
    """Let /openapi.json also define the types that routes refer to by name."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes
            )
            _, extra = models_json_schema(
                [
                    (TagRequest, "validation"),
                    (DetectLabelsRequest, "validation"),
                    (ErrorResponse, "serialization"),
                ],
                ref_template="#/components/schemas/{model}",
            )
            schemas = found.setdefault("components", {}).setdefault("schemas", {})
            found["components"]["schemas"] = extra["$defs"] | schemas
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = document
