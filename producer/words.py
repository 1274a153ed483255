"""Words: numbers as a person reads them at a glance."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return a span in words a person reads at a glance."""
    if seconds < 59.95:  # what is shown as 60.0 is a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
