"""What can be asked for: the models, and the tags each of them knows."""

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query

from ram_model.vocabulary import OFF, Vocabulary
from ram_ray.serving.api import (
    ErrorResponse,
    Limits,
    ModelInfo,
    ModelList,
    ModelName,
    TagSearchResponse,
    VocabularyTag,
)
from ram_ray.serving.context import Context
from ram_ray.serving.http.tagging import model_name

router = APIRouter(tags=["models"], responses={"4XX": {"model": ErrorResponse}})


@router.get("/v1/models")
async def list_models(context: Context) -> ModelList:
    """Name the models with their versions, and the limits of a request; may wait for a load."""
    config = context.config
    models: list[ModelInfo] = []
    for name in config.models:
        models.append((await context.backend.card(name)).info)
    return ModelList(
        models=models,
        limits=Limits(
            max_body_bytes=config.limits.max_body_bytes,
            max_images_per_request=config.limits.max_images_per_request,
            max_image_bytes=config.decode.max_image_bytes,
            max_image_pixels=config.decode.max_image_pixels,
            url_input=bool(config.urls.hosts),
        ),
    )


@router.get("/v1/tags")
async def search_tags(
    context: Context,
    query: Annotated[str, Query(max_length=200, description="Empty: all, by id.")] = "",
    model: ModelName | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> TagSearchResponse:
    """Find tags by a part of their name, alias or Chinese name; the best match first."""
    card = await context.backend.card(model_name(context.config, model))
    found = search(card.vocabulary, query)
    return TagSearchResponse(
        model=card.info.version,
        total=len(found),
        tags=[_row(card.vocabulary, tag_id) for tag_id in found[offset : offset + limit]],
    )


def search(vocabulary: Vocabulary, query: str) -> list[int]:
    """Return the ids of matching tags: whole names first, then beginnings, then parts.

    Tags that are switched off are left out: no image is ever given one.
    """
    on = vocabulary.thresholds < OFF
    wanted = query.strip().casefold()
    if not wanted:
        return np.flatnonzero(on).tolist()
    ranked: list[tuple[int, int]] = []
    rows = zip(vocabulary.names, vocabulary.aliases, vocabulary.names_zh, strict=True)
    for tag_id, (name, aliases, name_zh) in enumerate(rows):
        if not on[tag_id]:
            continue
        ranks = [_rank(text.strip().casefold(), wanted) for text in (name, *aliases, name_zh)]
        if (best := min(ranks)) < _NO_MATCH:
            ranked.append((best, tag_id))
    return [tag_id for _, tag_id in sorted(ranked)]


_NO_MATCH = 3


def _rank(text: str, wanted: str) -> int:
    if text == wanted:
        return 0
    if text.startswith(wanted):
        return 1
    return 2 if wanted in text else _NO_MATCH


def _row(vocabulary: Vocabulary, tag_id: int) -> VocabularyTag:
    return VocabularyTag(
        id=tag_id,
        name=vocabulary.names[tag_id],
        name_zh=vocabulary.names_zh[tag_id].strip(),
        kind=vocabulary.kinds[tag_id],
        threshold=float(vocabulary.thresholds[tag_id]),
        aliases=list(vocabulary.aliases[tag_id]),
        parents=list(vocabulary.parents[tag_id]),
    )
