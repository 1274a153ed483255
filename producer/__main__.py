"""`python -m producer` is the `classyard` command."""

from __future__ import annotations

from producer.cli import main

main()
