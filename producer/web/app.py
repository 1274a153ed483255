"""The app: its routes, its guard, and every error as one line that a person can read."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from anyio import CapacityLimiter, to_thread
from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from core.errors import BrokerError, ClassyardError, DatabaseError, NoSuchJobError
from producer.thumbnails import Thumbnails, Wanted
from producer.web import pages
from producer.web.desk import WebDesk
from producer.web.guard import Guard
from producer.web.listening import names
from producer.web.render import STATIC, render

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from producer.submit import Desk

#: Thumbnails asked for at once; a page has more, browsers ask for six at a time.
THUMBNAILS: Final = 12
log = logging.getLogger(__name__)


def make_web(desk: Desk) -> Starlette:
    """Return the web page of a desk."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with Thumbnails(desk.settings) as thumbnails:
            web = WebDesk(desk, thumbnails, CapacityLimiter(THUMBNAILS))
            app.state.web = web
            await to_thread.run_sync(web.tidy)
            # Its process takes a second to start: the first picture must not wait for it.
            warm = CapacityLimiter(1)
            await to_thread.run_sync(_start, thumbnails, limiter=warm)
            yield

    return Starlette(
        routes=[
            Route("/", pages.home),
            Route("/classify", pages.classify, methods=["POST"]),
            Route("/parts/jobs", pages.jobs_part),
            Route("/parts/jobs/{job:int}", pages.job_part),
            Route("/parts/drops/{job:int}", pages.drop_part),
            Route("/jobs/{job:int}", pages.job_page),
            Route("/jobs/{job:int}/pictures/{position:int}/{side}", pages.thumbnail),
            Route("/favicon.ico", pages.icon),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(Guard, names=names(desk.settings), password=desk.settings.web_password)
        ],
        exception_handlers={
            HTTPException: _http,
            ClassyardError: _ours,
            DBAPIError: _database,
            Exception: _bug,
        },
        lifespan=lifespan,
    )


def _start(thumbnails: Thumbnails) -> None:
    thumbnails.make(Wanted("file:///"), seconds=0.01)


def _fault(request: Request, status: int, text: str) -> Response:
    template = "_fault.html" if "x-part" in request.headers else "fault.html"
    return render(request, template, status=status, text=text)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = _fault(request, error.status_code, error.detail)
    answer.headers.update(error.headers or {})
    return answer


def _ours(request: Request, error: Exception) -> Response:
    away = isinstance(error, BrokerError | DatabaseError)
    status = 404 if isinstance(error, NoSuchJobError) else 503 if away else 400
    return _fault(request, status, str(error))


def _database(request: Request, error: Exception) -> Response:
    assert isinstance(error, DBAPIError)
    said = str(error.orig).splitlines()[0]
    log.warning("the database failed: %s", said)
    return _fault(request, 503, "the database does not answer: try again")


def _bug(request: Request, error: Exception) -> Response:
    return _fault(request, 500, "an error of ours: see logs/web.log")
