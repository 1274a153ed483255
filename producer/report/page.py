"""Page: a template filled, with its style and script inside and a policy that allows nothing else."""

from __future__ import annotations

import functools
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.errors import Code
from producer.words import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"

#: Why there is no thumbnail, where the code does not say it.
REASONS: Final = {
    "not_installed": "the worker's parts, which make them, are not installed where this was written",
    "changed": "the image is another one now than was classified",
    "timeout": "fetching took too long",
    "crash": "the picture could not be decoded",
}


@dataclass(frozen=True, slots=True)
class Written:
    """What a page holds: images, thumbnails, bytes. `missing` counts thumbnails that could not be made, by reason."""

    rows: int
    thumbnails: int
    missing: dict[str, int]
    bytes: int


def render(template: str, script: str, **values: Any) -> Iterator[bytes]:
    """Yield the page in pieces, as UTF-8; every value is escaped where it stands."""
    style = (_TEMPLATES / "report.css").read_text("utf-8") + _steps()
    program = (_TEMPLATES / script).read_text("utf-8")
    found = _environment().get_template(template)
    pieces = found.generate(
        style=style,
        script=program,
        policy=_policy(style, program),
        version=version("classyard"),
        now=datetime.now(UTC),
        **values,
    )
    for piece in pieces:
        # A lone surrogate, which a file name may hold, is no UTF-8.
        yield piece.encode(errors="replace")


def _policy(style: str, script: str) -> str:
    """Return a policy under which the page loads nothing and runs nothing but what it came with."""
    style_hash, script_hash = (
        b64encode(sha256(text.encode()).digest()).decode() for text in (style, script)
    )
    return (
        "default-src 'none'; img-src data:; "
        f"style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _steps() -> str:
    """Return the classes that give bars their length: the policy forbids style attributes."""
    return "".join(f".w{n}{{width:{n}%}}.h{n}{{height:{n}%}}" for n in range(101))


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[[Any], Any]] = {
        "percent": lambda share: f"{share:.1%}",
        "number": lambda value: f"{value:,}",
        "step": _step,
        "duration": duration,
        "moment": lambda moment: f"{moment:%Y-%m-%d %H:%M} UTC",
        "reason": lambda code: REASONS.get(code, code),
        "transient": lambda code: code in set(Code) and Code(code).transient,
    }
    environment.filters |= filters
    return environment


def _step(share: float) -> int:
    """Return a share in whole percent, 0 for nothing only."""
    return 0 if share <= 0 else min(100, max(1, round(share * 100)))
