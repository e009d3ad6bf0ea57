"""Templates and static files: the environment that renders them, and the files they load."""

from __future__ import annotations

import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ..accounts.users import PASSWORD_LEAST, PASSWORD_MOST
from . import badges, formatting

_HERE = Path(__file__).parent
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FILTERS = (
    badges.attempt_badge,
    badges.campaign_badge,
    badges.device_badge,
    badges.target_badge,
    badges.in_order,
    formatting.breakable,
    formatting.clock,
    formatting.code,
    formatting.counted,
    formatting.detail,
    formatting.exact,
    formatting.indented,
    formatting.kind,
    formatting.moment,
    formatting.number,
    formatting.percent,
    formatting.size,
    formatting.span,
    formatting.tick,
)


def _assets() -> dict[str, tuple[bytes, str]]:
    """Return each static file's content and digest, by name."""
    found = {}
    for path in sorted((_HERE / "static").iterdir()):
        data = path.read_bytes()
        found[path.name] = data, hashlib.sha256(data).hexdigest()[:12]
    return found


_ASSETS = _assets()


def asset(name: str) -> str:
    """Return a static file's address. It changes with the content, so browsers may cache it."""
    return f"/static/{name}?{_ASSETS[name][1]}"


async def static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _ASSETS:  # only a known name, never a path
        raise HTTPException(404, "This file does not exist.")
    data, digest = _ASSETS[name]
    kept = request.url.query == digest
    headers = {"Cache-Control": "public, max-age=31536000, immutable" if kept else "no-cache"}
    return Response(data, 200, headers, media_type=_TYPES[Path(name).suffix])


def environment(templates: Path) -> Environment:
    """Load all templates now, so that an upgrade on disk takes effect only at the next start."""
    made = Environment(
        loader=FileSystemLoader(templates),
        auto_reload=False,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update((each.__name__, each) for each in _FILTERS)
    made.globals.update(asset=asset, password_least=PASSWORD_LEAST, password_most=PASSWORD_MOST)
    for name in made.list_templates():
        made.get_template(name)
    return made


PAGES = environment(_HERE / "templates")
