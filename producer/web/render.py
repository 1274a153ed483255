"""Templates: everything is escaped, undefined names are errors."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from producer.web import views

if TYPE_CHECKING:
    from starlette.requests import Request

FOLDER: Final = Path(__file__).parent
STATIC: Final = FOLDER / "static"


@cache
def environment() -> Environment:
    """Return the templates, compiled when they are first used."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": views.percent,
        "duration": views.duration,
        "count": views.count,
    }
    return made


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page, or a part of one."""
    queue = request.app.state.web.settings.queue
    text = environment().get_template(template).render(queue=queue, **values)
    return HTMLResponse(text, status)
