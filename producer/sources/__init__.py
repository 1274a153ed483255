"""Where images come from: folders, globs, manifests, URIs and pipes, read lazily into lists of URIs."""

from __future__ import annotations

from producer.sources.block import Block, Extra
from producer.sources.opening import open_sources
from producer.sources.source import Source, Sources
from producer.sources.uris import name_of, uri_of

__all__ = ["Block", "Extra", "Source", "Sources", "name_of", "open_sources", "uri_of"]
