"""What is dropped on the web page, and what the page shows of files."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from core.settings import read_settings
from tests.security.page import SAMPLE, ask, drop, form, shelf
from tests.support.ports import free_port
from tests.support.yard import Yard

if TYPE_CHECKING:
    from pathlib import Path


def test_dropped_files_are_their_owners_alone_and_cannot_choose_their_path(home: Path) -> None:
    yard = Yard(read_settings(home=home, engine="stub", web_port=free_port(), concurrency=1))
    with yard:
        running = yard.start("up")
        yard.until(lambda: "Ctrl-C stops" in running.log.read_text(), what="up")
        yard.until(lambda: up_answers(yard), what="the web page")
        names = ("../../evil.png", "a.txt", "%2e%2e", "photo.JPG", "photo.jpg", "<b>.png")
        answer = drop(yard, form(*((name, SAMPLE) for name in names)), X_Part="1")
        assert answer.status == 200, answer.text  # type: ignore[attr-defined]
        assert "<b>" not in answer.text  # type: ignore[attr-defined]
        kept = shelf(yard)
        assert [path.name for path in kept] == sorted(
            [
                "evil.png",
                "a.png",
                "_2e_2e.png",
                "photo.png",
                "photo (2).png",
                "_b_.png",
            ]
        )
        assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in kept} == {0}
        assert stat.S_IMODE(kept[0].parent.stat().st_mode) == 0o700
        job = yard.sql("SELECT max(id) FROM jobs")[0][0]
        assert yard.finish(job) == "completed"
        assert ask(yard, "GET", f"/jobs/{job}/pictures/77/small").status == 404
        assert ask(yard, "GET", f"/jobs/{job}/pictures/0/huge").status == 404
        secret = home / "secret.png"
        secret.write_bytes(SAMPLE)
        stolen = yard.submit([secret.as_uri(), "https://a.example/b.png?signature=SECRET"])
        yard.finish(stolen)
        page = ask(yard, "GET", f"/jobs/{stolen}").text  # type: ignore[attr-defined]
        assert "b.png" in page
        assert "SECRET" not in page
        shown = ask(yard, "GET", f"/jobs/{stolen}/pictures/0/small")
        assert shown.headers["content-type"].startswith("image/svg"), "a sign for: no picture"
        assert shown.headers["x-classyard-code"] == "path_forbidden"
        assert running.stop() == 0


def up_answers(yard: Yard) -> bool:
    try:
        return ask(yard, "GET", "/").status == 200
    except OSError:
        return False
