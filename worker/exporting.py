"""Keeps the process running that serves this worker's metrics (`worker.exporter`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.meters import Meters

if TYPE_CHECKING:
    from core.settings import Settings

#: Seconds between the starts of an exporter that ends: another worker may have the port.
RESTART: Final = 30.0


class Exporting:
    """The folder of the metric files, the parent's meters, and the process that serves them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Not below HOME: containers may share that, and this is worth nothing once we are gone.
        self.folder = Path(tempfile.mkdtemp(prefix="classyard-metrics-"))
        self.meters = Meters(self.folder, "parent")
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at = 0.0

    def ensure(self) -> None:
        """Start the exporter if it does not run."""
        if self._process is not None and self._process.poll() is None:
            return
        if time.monotonic() < self._start_at:
            return
        self._start_at = time.monotonic() + RESTART
        self._process = subprocess.Popen(  # noqa: S603
            [
                *(sys.executable, "-P", "-m", "worker.exporter", str(self.folder)),
                *("--address", self._settings.metrics_address),
                *("--port", str(self._settings.worker_metrics_port)),
                *("--parent", str(os.getpid())),
            ],
            stdin=subprocess.DEVNULL,
        )

    def close(self) -> None:
        """End the exporter and remove the files."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def open_exporting(settings: Settings) -> Exporting | None:
    """Return what exports this worker's metrics, if it is to."""
    return Exporting(settings) if settings.worker_metrics_port else None
