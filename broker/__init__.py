"""The messages: the Celery app, the dispatch window, the sweep, the embedded Redis."""
