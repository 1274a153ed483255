"""docker-compose.yml and the Dockerfile, read so that a test can run what they say without Docker."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.support.yard import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
UNITS: Final = {"s": 1, "m": 60}


@dataclass
class Stage:
    """What the instructions of one stage of the Dockerfile, and of those before it, come to."""

    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    user: str = "root"


def stages() -> dict[str, Stage]:
    """Return the stages by name."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    found: dict[str, Stage] = {}
    stage = Stage()
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        match word:
            case "FROM":
                base, _, name = rest.split()
                known = found.get(base, Stage())
                stage = found[name] = Stage(**{**vars(known), "environment": {**known.environment}})
            case "ENV":
                stage.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            case "ENTRYPOINT":
                stage.entrypoint = yaml.safe_load(rest)
            case "CMD":
                stage.command = yaml.safe_load(rest)
            case "USER":
                stage.user = rest
            case "HEALTHCHECK":
                stage.health = yaml.safe_load(rest.partition(" CMD ")[2])
    return found


STAGES: Final = stages()


def sandbox(user: str) -> list[str]:
    """Return the beginning of a command line that gives away what a container would not have.

    That is root's rights and a writable file system but for /tmp. Empty where we may not do that.
    """
    script = (
        "mount --make-rprivate / && mount --bind / / && mount --bind /tmp /tmp"
        ' && mount -o remount,bind,ro / && exec "$@"'
    )
    uid, _, gid = user.partition(":")
    # The interpreter of the test may lie in a folder of root's: reading is allowed, nothing else.
    reading = "dac_read_search"
    outer = ["unshare", "--mount", "sh", "-euc", script, "sh"]
    inner = [
        *("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"),
        *(f"--inh-caps=-all,+{reading}", f"--ambient-caps=-all,+{reading}"),
        f"--bounding-set=-all,+{reading}",
    ]
    command = [*outer, *inner]
    if not all(map(shutil.which, ("unshare", "setpriv"))):
        return []
    works = subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0
    return command if works else []


@dataclass(frozen=True)
class Container:
    """A service of ours as its own command, user, environment and secrets, on this machine."""

    name: str
    secrets: Path
    replaced: Mapping[str, str]
    #: Where the texts that `replaced` changes are kept, and what else the service must be told.
    folder: Path
    further: Mapping[str, str] = field(default_factory=dict)

    @property
    def service(self) -> dict[str, Any]:
        return SERVICES[self.name]

    @property
    def stage(self) -> Stage:
        return STAGES[self.service["build"]["target"]]

    def command(self, words: Sequence[str] | None = None) -> list[str]:
        """The command line of the service, or of `docker compose run SERVICE WORDS`."""
        own = self.service.get("command", self.stage.command) if words is None else words
        return self._wrapped([*self.stage.entrypoint, *(self._local(word) for word in own)])

    def health(self) -> list[str]:
        """The command line of its health check."""
        declared = self.service.get("healthcheck")
        kind, *words = declared["test"] if declared else ["CMD", *self.stage.health]
        shell = ["sh", "-c"] if kind == "CMD-SHELL" else []
        return self._wrapped([*shell, *(self._local(word) for word in words)])

    def environment(self) -> dict[str, str]:
        """Its environment: of the image, of the service, and nothing of ours but the search path."""
        given = {**self.stage.environment, **self.service.get("environment", {})}
        local = {name: self._local(value) for name, value in given.items()}
        return {
            **local,
            "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
            "PYTHONPATH": str(ROOT),
            "CLASSYARD_SECRETS_DIR": str(self._secrets()),
            "NO_COLOR": "1",
            **self.further,
        }

    def start(self, words: Sequence[str] | None = None) -> subprocess.Popen[bytes]:
        """Start it; what it prints goes to a file in its folder."""
        log = self.folder / f"{self.name}.log"
        with log.open("wb") as output:
            return subprocess.Popen(
                self.command(words), env=self.environment(), cwd="/", stdin=subprocess.DEVNULL,
                stdout=output, stderr=output,
            )  # fmt: skip

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in its place to its end."""
        return subprocess.run(
            command, env=self.environment(), cwd="/", stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def stop_seconds(self) -> float:
        """How long Docker waits between SIGTERM and SIGKILL."""
        number, unit = re.fullmatch(r"(\d+)([sm])", self.service["stop_grace_period"]).groups()  # type: ignore[union-attr]
        return int(number) * UNITS[unit]

    def _wrapped(self, command: Sequence[str]) -> list[str]:
        return [*sandbox(self.stage.user), *command]

    def _local(self, text: str) -> str:
        for theirs, ours in self.replaced.items():
            text = text.replace(theirs, ours)
        return text

    def _secrets(self) -> Path:
        """Mount the service's secrets, and no others, under the names that it gives them."""
        mounted = self.folder / f"{self.name}-secrets"
        mounted.mkdir(exist_ok=True, mode=0o755)
        for secret in self.service.get("secrets", []):
            source = Path(COMPOSE["secrets"][secret["source"]]["file"]).name
            text = self._local((self.secrets / source).read_text())
            (mounted / secret["target"]).write_text(text)
        return mounted
