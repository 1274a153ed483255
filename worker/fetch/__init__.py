"""From a URI to the bytes of one image, or to a typed failure.

Knows files and HTTP; knows neither pictures, nor Celery, nor SQL. `fetcher` is the door.
"""

from __future__ import annotations

from worker.fetch.fetcher import Fetcher

__all__ = ["Fetcher"]
