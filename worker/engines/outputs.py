"""Which of a network's outputs are the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.modelspec import ModelSpec


def choose_output(spec: ModelSpec, network: Any, outputs: Any) -> Any:
    """Return the one of `outputs` (a tensor, or a list or dict of them) that holds the scores.

    Raises:
        ModelError: if there are several and the spec names none, or one that is not there.
    """
    named = by_name(network, outputs)
    return named[choose_name(spec, {name: tuple(one.shape) for name, one in named.items()})]


def by_name(network: Any, outputs: Any) -> dict[str, Any]:
    """Return a network's outputs, however they are structured, under their names."""
    if isinstance(outputs, dict):
        return dict(outputs)
    if isinstance(outputs, list | tuple):
        names = getattr(network, "output_names", None) or range(len(outputs))
        return {str(name): one for name, one in zip(names, outputs, strict=True)}
    return {"": outputs}


def choose_name(spec: ModelSpec, shapes: Mapping[str, tuple[int | None, ...]]) -> str:
    """Return the name of the output that holds the scores; `shapes` are those of all outputs.

    Raises:
        ModelError: if there are several and the spec names none, or one that is not there.
    """
    wanted = spec.output.name
    if wanted is None and len(shapes) == 1:
        return next(iter(shapes))
    if isinstance(wanted, int) and 0 <= wanted < len(shapes):
        return list(shapes)[wanted]
    if isinstance(wanted, str) and wanted in shapes:
        return wanted
    listed = ", ".join(f"{name!r} {shape}" for name, shape in shapes.items())
    if wanted is None:
        raise ModelError(f"model '{spec.name}' has several outputs: say output.name: {listed}")
    raise ModelError(f"model '{spec.name}' has no output {wanted!r}: it has {listed}")
