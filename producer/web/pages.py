"""The pages and the parts of them that renew themselves: reads of SQL, and the door for drops."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, RedirectResponse, Response

from core.meanings import MEANINGS
from db import browse, queries
from db.results import stream_results
from producer.glance import look
from producer.thumbnails import NoThumbnail, Wanted
from producer.web.desk import WebDesk, is_prepared, model_choices, submit_drop
from producer.web.listing import PAGE, read_choice, read_marks, turned
from producer.web.render import STATIC, render
from producer.web.shelf import new_folder
from producer.web.uploads import Limits, receive
from producer.web.views import drop_pictures, job_view, picture

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection
    from starlette.requests import Request

    from producer.web.uploads import Drop
    from producer.web.views import JobView

#: Jobs on a page of them.
JOBS: Final = 12
#: Newest jobs among which the latest drop is looked for.
RECENT: Final = 50
#: Longer sides of thumbnails, in pixels, by the name in the address.
SIDES: Final = {"small": 192, "large": 640}
#: Most labels offered to choose from.
LABELS: Final = 2000
#: Seconds that a browser may keep a thumbnail.
KEPT_SECONDS: Final = 3600


def home(request: Request) -> Response:
    """Show the place to drop pictures, the latest drop, and the newest jobs."""
    web = _web(request)
    latest = web.desk.database.read(browse.drop_jobs, RECENT)[:1]
    return render(
        request,
        "home.html",
        models=model_choices(web.settings),
        limits=Limits.of(web.settings),
        drop=_drop(web, latest[0]) if latest else None,
        **_jobs(web, _number(request, "before")),
    )


def jobs_part(request: Request) -> Response:
    """Show the list of jobs as it stands now."""
    return render(request, "_jobs.html", **_jobs(_web(request), _number(request, "before")))


def drop_part(request: Request) -> Response:
    """Show a drop as it stands now."""
    web, job_id = _web(request), request.path_params["job"]
    if "drop" not in web.desk.database.read(_options, job_id):
        raise HTTPException(404, f"job {job_id} was not dropped here")
    return render(request, "_drop.html", drop=_drop(web, job_id))


def job_page(request: Request) -> Response:
    """Show a job and a page of its results."""
    web, job_id = _web(request), request.path_params["job"]
    database = web.desk.database
    job = _job(web, job_id)
    choice = read_choice(request.query_params)
    after, before = read_marks(request.query_params, choice)
    found = database.read(browse.leaf, job_id, choice, PAGE, after=after, before=before)
    return render(
        request,
        "job.html",
        job=job,
        choice=choice,
        labels=database.read(browse.labels, job_id, LABELS),
        codes=database.read(browse.codes, job_id, LABELS),
        pictures=[picture(row) for row in found.rows],
        earlier=turned(choice, "before", found.before),
        later=turned(choice, "after", found.after),
    )


def job_part(request: Request) -> Response:
    """Show where a job stands now."""
    return render(request, "_job.html", job=_job(_web(request), request.path_params["job"]))


def icon(_: Request) -> Response:
    """Return the icon that browsers ask for by themselves."""
    return FileResponse(STATIC / "icon.svg")


async def thumbnail(request: Request) -> Response:
    """Return an image of a job, small: only one that a job named, only as workers may read it."""
    web, place = _web(request), request.path_params
    uri, content_hash, roots = await run_in_threadpool(
        web.desk.database.read, browse.picture, place["job"], place["position"]
    )
    side = SIDES.get(place["side"])
    if side is None:
        raise HTTPException(404, "small or large")
    wanted = Wanted(uri, roots, side, content_hash)
    make = partial(web.thumbnails.make, wanted)
    made = await to_thread.run_sync(make, limiter=web.thumbnail_room, abandon_on_cancel=True)
    if isinstance(made, NoThumbnail):
        return FileResponse(STATIC / "nothing.svg", headers={"x-classyard-code": made.code})
    kept = {"cache-control": f"private, max-age={KEPT_SECONDS}"}
    return Response(made.content, media_type=made.kind, headers=kept)


async def classify(request: Request) -> Response:
    """Receive dropped pictures and submit them; answer with the drop, or go to its job."""
    web = _web(request)
    limits = Limits.of(web.settings)
    if web.drop_room.locked():
        raise HTTPException(503, "others are sending pictures just now: try again")
    async with web.drop_room:
        await run_in_threadpool(web.tidy, limits.drop_bytes)
        folder = await run_in_threadpool(new_folder, web.shelf)
        drop = await receive(request, limits, folder)
        if not drop.pictures and not drop.refused:
            raise HTTPException(400, "no picture was sent")
        job_id = await run_in_threadpool(_submit, web, drop, folder)
    part = "x-part" in request.headers
    if job_id is not None and not part:
        return RedirectResponse(f"/jobs/{job_id}", 303)
    shown = None if job_id is None else await run_in_threadpool(_drop, web, job_id)
    return render(
        request,
        "_answer.html" if part else "refused.html",
        status=422 if job_id is None else 200,
        drop=shown,
        refused=drop.refused,
        meanings=MEANINGS,
    )


def _submit(web: WebDesk, drop: Drop, folder: Path) -> int | None:
    try:
        if drop.pictures:
            return submit_drop(web, drop.fields.get("model", ""), folder, drop.pictures)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return None


def _web(request: Request) -> WebDesk:
    web: WebDesk = request.app.state.web
    return web


def _options(connection: Connection, job_id: int) -> dict[str, Any]:
    queries.progress(connection, job_id)  # says so if there is no such job
    return queries.options(connection, job_id)


def _job(web: WebDesk, job_id: int) -> JobView:
    return job_view(look(web.desk.database, web.desk.settings, job_id))


def _jobs(web: WebDesk, before: int | None) -> dict[str, Any]:
    ids = web.desk.database.read(browse.job_ids, JOBS + 1, before)
    jobs = [_job(web, job_id) for job_id in ids[:JOBS]]
    older = ids[JOBS - 1] if len(ids) > JOBS else None
    return {"jobs": jobs, "older": older, "before": before, "live": any(job.live for job in jobs)}


def _drop(web: WebDesk, job_id: int) -> dict[str, Any]:
    database = web.desk.database
    waiting = database.read(browse.waiting_uris, job_id)
    rows = list(stream_results(database, job_id))
    job = _job(web, job_id)
    prepared = bool(rows) or is_prepared(web.settings, job.progress.model)
    pictures = drop_pictures(job.progress, rows, waiting)
    return {"job": job, "pictures": pictures, "prepared": prepared}


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 19 else None
