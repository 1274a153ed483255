"""Every setting, read once at the entry points into one frozen object and handed down."""

from __future__ import annotations

import os
from difflib import get_close_matches
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from platformdirs import user_data_path
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core.errors import SettingsError
from core.limits import FetchLimits, ImageLimits

EngineName = Literal["auto", "litert", "openvino", "keras", "stub"]
Precision = Literal["single", "half"]
LogFormat = Literal["console", "json"]
TraceTarget = Literal["off", "console", "otlp"]
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
Seconds = Annotated[float, Field(gt=0)]
Words = Annotated[tuple[str, ...], NoDecode]
#: What a header of HTTP can carry.
_ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
#: What people call a format, where Pillow has another name.
_PILLOWS_NAME = {"JPG": "JPEG", "TIF": "TIFF", "HEIC": "HEIF", "JP2": "JPEG2000", "APNG": "PNG"}
#: Settings that are comma-separated in the environment.
LISTS = (
    "preload", "schemes", "ports", "allow_nets", "roots", "formats", "buckets", "anonymous",
    "web_hosts",
)  # fmt: skip


class Settings(BaseSettings):
    """All of Classyard's settings, from `CLASSYARD_<NAME>` or a `.env` file in the current folder."""

    model_config = SettingsConfigDict(
        env_prefix="CLASSYARD_", env_file=".env", frozen=True, extra="ignore"
    )

    # Places
    home: Path = Field(
        default_factory=lambda: user_data_path("classyard"),
        description="Folder of the embedded Redis, the SQLite database and converted models",
    )
    broker_url: str = Field("", description="Redis URL; empty: an embedded Redis in HOME")
    database_url: str = Field(
        "", description="SQLAlchemy URL (SQLite or PostgreSQL); empty: SQLite in HOME"
    )
    models_dir: Path | None = Field(
        None, description="Folder with one sub-folder per model; empty: HOME/models"
    )
    secrets_dir: Path = Field(
        Path("/run/secrets"),
        description="Folder of files named after settings (`classyard_broker_url`): for containers",
    )
    insecure_broker: bool = Field(
        False, description="Accept a Redis beyond this machine without a password"
    )

    # The worker
    engine: EngineName = Field("auto", description="auto, litert, openvino, keras or stub")
    concurrency: int = Field(
        0, ge=0, description="Child processes; 0 or auto: one per core, or some per GPU"
    )
    queue: str = Field("classyard", description="Queue that jobs are sent to and workers serve")
    precision: Precision = Field(
        "single", description="Arithmetic on GPUs and of openvino: single (32 bits) or half (16)"
    )
    batch_size: int = Field(0, ge=0, description="Most images in one model call; 0: the engine's")
    decode_threads: int = Field(
        0,
        ge=0,
        description="Threads that decode, per child process; 0: none on CPU, shared out on GPU",
    )
    preload: Words = Field((), description="Models that each child loads at start")
    model_memory: int = Field(
        2 * 2**30,
        ge=0,
        description="Bytes of model files that a child holds; the one not used longest makes room",
    )

    # Cutting and sending
    chunk_size: int = Field(0, ge=0, le=10_000, description="Images in a chunk; 0: chosen per job")
    window: int = Field(0, ge=0, description="Chunks of a job in Redis at once; 0: 2 x slots")
    max_images: int = Field(0, ge=0, description="Most images of one job; 0: any number")
    max_waiting: int = Field(
        0, ge=0, description="Waiting images of all jobs at which submissions are refused; 0: never"
    )

    # Fetching
    schemes: Words = Field(
        ("file", "http", "https", "zip", "tar", "data"),
        description="URI schemes that are fetched; s3, gs and az must be added",
    )
    ports: Words = Field(("80", "443"), description="TCP ports that are fetched from")
    allow_nets: Words = Field((), description="Networks (CIDR) opened besides the public addresses")
    roots: Words = Field(
        (), description="If set: only files below these folders, whatever a job allows"
    )
    max_bytes: int = Field(20 * 2**20, gt=0, description="Largest picture, in bytes")
    connect_timeout: Seconds = Field(5, description="Seconds to connect")
    read_timeout: Seconds = Field(10, description="Seconds to the first byte, and between bytes")
    fetch_timeout: Seconds = Field(30, description="Seconds for one try of one picture, in all")
    min_rate: int = Field(10 * 1024, ge=0, description="Bytes/s below which, after 5 s, we give up")
    max_redirects: int = Field(3, ge=0, description="Redirects followed, each one checked")
    fetch_tries: int = Field(3, ge=1, description="Tries of a transient failure inside a chunk")
    per_host: int = Field(
        16, ge=1, description="Requests at once to one host, of all children of a worker together"
    )
    rate_per_host: float = Field(
        0,
        ge=0,
        description="Requests per second to one host, of a worker; 0: any. Set it where you submit, too",
    )
    robots: bool = Field(False, description="Obey robots.txt of the hosts fetched from")
    fetch_ahead: int = Field(16, ge=1, description="Pictures fetched ahead, per child process")
    user_agent: str = Field(
        "classyard/0.1 (bulk image classifier)",
        pattern=_ONE_LINE,
        description="What servers are told of us",
    )
    contact: str = Field(
        "",
        pattern=_ONE_LINE,
        description="Mail or web address added to the user agent, for those who run the servers",
    )

    # Object stores
    buckets: Words = Field(
        (), description="If set: only these buckets are read, such as s3://scans; also prefixes"
    )
    anonymous: Words = Field((), description="Schemes read without credentials, such as s3")
    s3_endpoint: str = Field("", description="URL of an S3-compatible store; empty: Amazon's")

    # Decoding
    formats: Words = Field(
        ("JPEG", "PNG", "WEBP", "GIF", "BMP"), description="Pillow formats that are decoded"
    )
    max_pixels: int = Field(50_000_000, gt=0, description="Most pixels of a picture")
    max_side: int = Field(20_000, gt=0, description="Longest side of a picture, in pixels")
    max_tiff_pixels: int = Field(
        1_000_000_000, ge=0, description="Most pixels of a TIFF, which is read reduced"
    )
    accept_truncated: bool = Field(
        False, description="Classify pictures that are cut off; what is missing is black or grey"
    )
    decode_timeout: Seconds = Field(10, description="Seconds to decode one picture")

    # Time: each bound must be shorter than the next (checked below)
    stall_timeout: Seconds = Field(
        150, description="Seconds without progress after which a child ends itself"
    )
    soft_limit: Seconds = Field(900, description="Seconds after which a chunk is handed back")
    hard_limit: Seconds = Field(960, description="Seconds after which its child is killed")
    lease: Seconds = Field(1020, description="Seconds a claim is valid")
    visibility_timeout: Seconds = Field(3600, description="Seconds until Redis redelivers")
    grace: Seconds = Field(20, description="Seconds a stopping worker may finish its chunks")

    # Recovery
    heartbeat: Seconds = Field(10, description="Seconds between a worker's signs of life")
    dead_after: Seconds = Field(35, description="Seconds of silence after which a worker is dead")
    sweep_interval: Seconds = Field(15, description="Seconds between sweeps")
    lost_after: Seconds = Field(
        30, description="Seconds after which a queued chunk without a message is lost"
    )
    max_attempts: int = Field(5, ge=3, description="Claims after which a chunk is given up")

    # Completion notices
    webhook_secret: str = Field(
        "", description="Key that completion notices are signed with (HMAC-SHA256)"
    )

    # Watching
    log_format: LogFormat = Field("console", description="A worker's log lines: console or json")
    traces: TraceTarget = Field(
        "off",
        description="OpenTelemetry traces: off, console, or otlp (set OTEL_EXPORTER_OTLP_...)",
    )
    metrics_address: str = Field("127.0.0.1", description="Address that metrics are served on")
    metrics_port: int = Field(
        9464, ge=1, le=65535, description="Port of the yard's metrics ('classyard metrics')"
    )
    worker_metrics_port: int = Field(
        0, ge=0, le=65535, description="Port of a worker's own metrics; 0: none"
    )

    # Flower
    flower_address: str = Field(
        "127.0.0.1", description="Address Flower listens on; beyond loopback put a proxy before it"
    )
    flower_port: int = Field(5555, ge=1, le=65535, description="Port of Flower")
    flower_password: str = Field("", description="Password of user 'classyard'; empty: generated")

    # The web page
    web_address: str = Field(
        "127.0.0.1", description="Address it listens on; one beyond this machine needs a password"
    )
    web_port: int = Field(5550, ge=1, le=65535, description="Its port")
    web_password: str = Field("", description="Password of user 'classyard'; empty: none is asked")
    web_hosts: Words = Field((), description="Further host names under which browsers may reach it")
    web_pictures: int = Field(64, ge=1, le=1000, description="Most pictures dropped at once")
    web_drop_bytes: int = Field(256 * 2**20, gt=0, description="Most bytes dropped at once")
    web_keep_days: float = Field(7, gt=0, description="Days that dropped pictures are kept")
    web_keep_bytes: int = Field(
        2 * 2**30, gt=0, description="Most bytes of dropped pictures; the oldest go first"
    )

    @field_validator(*LISTS, mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Read comma-separated words from the environment."""
        if isinstance(value, str):
            return tuple(word.strip() for word in value.split(",") if word.strip())
        return value

    @field_validator("home", mode="before")
    @classmethod
    def _home_if_empty(cls, value: Any) -> Any:
        return value or user_data_path("classyard")  # not the current folder

    @field_validator("concurrency", mode="before")
    @classmethod
    def _read_auto(cls, value: Any) -> Any:
        return 0 if value == "auto" else value

    @field_validator("ports")
    @classmethod
    def _check_ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(port.isascii() and port.isdigit() and 0 < int(port) < 2**16 for port in value):
            msg = "a port is a number from 1 to 65535"
            raise ValueError(msg)
        return value

    @field_validator("allow_nets")
    @classmethod
    def _check_nets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for net in value:
            ip_network(net)  # its error names the network and what is wrong with it
        return value

    @field_validator("s3_endpoint")
    @classmethod
    def _check_endpoint(cls, value: str) -> str:
        place = urlsplit(value)
        if value and (place.scheme not in {"http", "https"} or not place.hostname or "@" in value):
            msg = "a URL such as https://minio.example.org, without a password"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _check_time(self) -> Self:
        """Refuse time limits that would let two owners of one chunk live at once."""
        chain = (
            "fetch_timeout", "stall_timeout", "soft_limit", "hard_limit", "lease",
            "visibility_timeout",
        )  # fmt: skip
        for shorter, longer in pairwise(chain):
            if getattr(self, shorter) >= getattr(self, longer):
                msg = f"{shorter.upper()} must be shorter than {longer.upper()}"
                raise ValueError(msg)
        if 2 * self.decode_timeout > self.stall_timeout:
            # A decoder is asked after each of its reads only, and one of them may take seconds.
            msg = "DECODE_TIMEOUT must be at most half of STALL_TIMEOUT"
            raise ValueError(msg)
        if 2 * self.fetch_timeout + 30 >= self.stall_timeout:
            # A picture is tried again for up to FETCH_TIMEOUT + 30 s after its first try.
            msg = "STALL_TIMEOUT must be longer than twice FETCH_TIMEOUT plus 30 s"
            raise ValueError(msg)
        if self.heartbeat * 2 >= self.dead_after:
            msg = "HEARTBEAT must be less than half of DEAD_AFTER"
            raise ValueError(msg)
        if self.grace + self.heartbeat >= self.dead_after:
            # A stopping worker gives no sign of life while its children finish.
            msg = "GRACE plus HEARTBEAT must be less than DEAD_AFTER"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _check_shelf(self) -> Self:
        if self.web_drop_bytes > self.web_keep_bytes:
            msg = "WEB_DROP_BYTES must not be more than WEB_KEEP_BYTES"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _check_broker(self) -> Self:
        """Refuse a Redis that anybody on the network could fill."""
        try:
            url = urlsplit(self.broker_url)
            _ = url.port
        except ValueError:
            # Without the text: what could not be read as host or port may be half the password.
            msg = "BROKER_URL is malformed; in a password write / ? # @ as %2F %3F %23 %40"
            raise ValueError(msg) from None
        if self.broker_url and not self.insecure_broker:
            local = url.scheme in {"redis+socket", "unix"} or url.hostname in LOOPBACK
            if not (local or url.password):
                msg = (
                    "BROKER_URL names a Redis beyond this machine without a password: "
                    "give it one (redis://:PASSWORD@host), or set CLASSYARD_INSECURE_BROKER=1"
                )
                raise ValueError(msg)
        return self

    @property
    def models_path(self) -> Path:
        """Folder with the user's models."""
        return (self.models_dir or self.home / "models").expanduser()

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.home / 'classyard.db'}"

    def as_environment(self) -> dict[str, str]:
        """Return the environment for a program that is to have these very settings."""
        environment = dict(os.environ)  # noqa: TID251 - this is the one file that may
        for name in self.model_fields_set:
            value = getattr(self, name)
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            environment[f"CLASSYARD_{name.upper()}"] = "" if value is None else text
        return environment

    @property
    def image_limits(self) -> ImageLimits:
        """The limits of the decode stage."""
        formats = tuple(_PILLOWS_NAME.get(name.upper(), name.upper()) for name in self.formats)
        return ImageLimits(
            formats,
            self.max_pixels,
            self.max_side,
            self.max_tiff_pixels,
            self.accept_truncated,
            self.decode_timeout,
        )

    @property
    def fetch_limits(self) -> FetchLimits:
        """The limits of the fetch stage; a job's roots are added by `worker.fetch`."""
        return FetchLimits(
            schemes=frozenset(self.schemes),
            ports=frozenset(int(port) for port in self.ports),
            networks=tuple(ip_network(net) for net in self.allow_nets),
            roots=tuple(Path(root).expanduser() for root in self.roots),
            max_bytes=self.max_bytes,
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
            total_timeout=self.fetch_timeout,
            min_rate=self.min_rate,
            max_redirects=self.max_redirects,
            tries=self.fetch_tries,
            per_host=self.per_host,
            user_agent=" ".join(
                filter(None, (self.user_agent, self.contact and f"+{self.contact}"))
            ),
            buckets=self.buckets,
            anonymous=frozenset(self.anonymous),
            s3_endpoint=self.s3_endpoint,
            rate_per_host=self.rate_per_host,
            robots=self.robots,
        )


def read_settings(**overrides: Any) -> Settings:
    """Read the settings; keyword arguments (a command's flags) win over the environment.

    Raises:
        SettingsError: naming the variable and what is wrong with it.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    named = os.environ.get("CLASSYARD_SECRETS_DIR")  # noqa: TID251 - this is the one file that may
    secrets = Path(named) if named else Settings.model_fields["secrets_dir"].default
    try:
        return Settings(_secrets_dir=secrets if secrets.is_dir() else None, **given)
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        # A check across settings begins with the name of the first of them.
        name = f"{str(first['loc'][0]).upper()}: " if first["loc"] else ""
        raise SettingsError(f"CLASSYARD_{name}{said}") from error


def unknown_settings() -> list[str]:
    """Return the variables that look like settings and are none, each with the likely one."""
    known = [f"CLASSYARD_{name.upper()}" for name in Settings.model_fields]
    given = {name.upper() for name in (*os.environ, *dotenv_values(".env"))}  # noqa: TID251 - as above
    found = []
    for name in sorted(given.difference(known)):
        if name.startswith("CLASSYARD_") and not name.startswith("CLASSYARD_TEST_"):
            close = get_close_matches(name, known, 1)
            found.append(f"{name} is no setting{f': {close[0]} is one' if close else ''}")
    return found
