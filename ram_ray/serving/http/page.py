"""The page at `/`: static files, and the example pictures it offers."""

from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles

from ram_ray.serving.context import Context

STATIC = Path(__file__).parents[1] / "static"
EXAMPLES = STATIC / "examples"
"""Pictures whose licence lets anybody ship them; examples.json credits their authors."""

# Nothing from elsewhere, nothing inline, no HTML made by scripts; pictures of the reader are blobs.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    # asked for again each time, answered 304 while unchanged: an update never mixes with old files
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(request: Request) -> Response:
    """Send the page."""
    return await _file(STATIC, "index.html", request)


@router.get("/static/examples/{name:path}")
async def example(name: str, context: Context, request: Request) -> Response:
    """Send an example picture, or examples.json, which lists them."""
    folder = context.config.page.examples
    return await _file(EXAMPLES if folder is None else Path(folder), name, request)


@router.get("/static/{name:path}")
async def static(name: str, request: Request) -> Response:
    """Send a part of the page."""
    return await _file(STATIC, name, request)


async def _file(folder: Path, name: str, request: Request) -> Response:
    # Starlette's own checks: nothing outside the folder, no symlink out of it, 404, 304
    files = StaticFiles(directory=folder, check_dir=False)
    response = await files.get_response(name, request.scope)
    response.headers.update(_HEADERS)
    return response
