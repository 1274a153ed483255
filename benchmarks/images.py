"""What the packages of each container image take on disk: its lock file, installed into a venv."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from benchmarks.measure import Figure, conclude, number, parser, say

#: Lock files of the images and the most their packages may take, in MB.
IMAGES = {"producer": 200, "flower": 220, "worker": 370}
#: The packages of ours, and what the base image brings with it (not counted here).
LOCKS = Path(__file__).parent.parent / "locks"


def main() -> None:
    """Install each one as the Dockerfile does, and measure it."""
    made = parser(__doc__)
    made.add_argument("--only", nargs="+", choices=tuple(IMAGES), default=tuple(IMAGES))
    options = made.parse_args()
    figures = []
    for name in options.only[:1] if options.quick else options.only:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "venv"
            venv.create(place, with_pip=True)
            pip = [str(place / "bin" / "pip"), "install", "--quiet", "--no-cache-dir"]
            for lock in dict.fromkeys(("producer", name)):
                subprocess.run(
                    [*pip, "--require-hashes", "-r", str(LOCKS / f"{lock}.txt")],
                    check=True, stdout=sys.stderr,
                )  # fmt: skip
            sizes = {path.name: _size(path) for path in _packages(place)}
        largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:4]
        note = ", ".join(f"{package} {number(sizes[package] / 1e6)}" for package in largest)
        total = sum(sizes.values()) / 1e6
        say(f"{name}: {number(total)} MB ({note})")
        figures.append(
            Figure(f"packages of the image `{name}`", total, "MB", IMAGES[name],
                   more_is_better=False, spread="n=1", note=note)
        )  # fmt: skip
    conclude(options, figures)


def _packages(place: Path) -> list[Path]:
    (folder,) = place.glob("lib/python*/site-packages")
    return list(folder.iterdir())


def _size(path: Path) -> int:
    """Return the disk space of a file or folder, in bytes."""
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(file.lstat().st_blocks * 512 for file in files)


if __name__ == "__main__":
    main()
