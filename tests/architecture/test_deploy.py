"""What is under deploy/, the Dockerfile and docker-compose.yml: valid, closed, and in agreement."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.compose import COMPOSE, SERVICES, STAGES

ROOT = Path(__file__).parent.parent.parent
KUBERNETES = ROOT / "deploy" / "kubernetes"
BIN = Path(sys.executable).parent
OURS = [name for name, service in SERVICES.items() if "build" in service]


def ran(*command: str) -> str:
    """Run a checker; return what it complains of."""
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr if done.returncode else ""


def manifests() -> list[dict[str, Any]]:
    return [
        manifest
        for path in sorted(KUBERNETES.glob("*.yaml"))
        for manifest in yaml.safe_load_all(path.read_text())
    ]


def manifest(kind: str, name: str) -> dict[str, Any]:
    (found,) = (
        m for m in manifests() if (m["kind"], m.get("metadata", {}).get("name")) == (kind, name)
    )
    return found


def test_the_compose_file_fits_the_specification() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    assert ran(str(BIN / "check-jsonschema"), *schema, "docker-compose.yml") == ""


def test_docker_compose_itself_reads_the_file(tmp_path: Path) -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("no docker-compose: Debian's package has it")
    assert ran("docker-compose", "--project-directory", str(ROOT), "config", "--quiet") == ""


def test_the_dockerfile_passes_its_linter() -> None:
    assert ran(str(BIN / "hadolint"), "Dockerfile") == ""


def test_what_the_dockerfile_copies_is_there_and_not_ignored() -> None:
    text = (ROOT / "Dockerfile").read_text()
    named = re.findall(r"^COPY ([^-].*) \S+$", text, re.MULTILINE)
    sources = {word.rstrip("/") for words in named for word in words.split()}
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)
    locks = re.findall(r"-r (locks/\S+)", text)
    assert locks
    assert all((ROOT / lock).is_file() for lock in locks)


@pytest.mark.parametrize("target", ["worker", "worker-gpu"])
def test_a_worker_image_holds_models_prepared_for_its_own_engine(target: str) -> None:
    """It cannot prepare them itself: its file system is read-only."""
    text = (ROOT / "Dockerfile").read_text()
    stage = re.split(r"^FROM \S+ AS (\S+)$", text, flags=re.MULTILINE)
    own = stage[stage.index(target) + 1]
    (source,) = re.findall(r"^COPY --from=(\S+) .* /var/lib/classyard$", own, re.MULTILINE)
    engines = [STAGES[name].environment["CLASSYARD_ENGINE"] for name in (source, target)]
    assert engines[0] == engines[1]


def test_a_worker_image_on_cpu_has_no_tensorflow() -> None:
    text = (ROOT / "locks" / "worker.txt").read_text()
    assert not re.search(r"^(tensorflow|keras|torch)", text, re.MULTILINE)


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_is_shut_in(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["build"]["target"] in STAGES
    assert STAGES[service["build"]["target"]].user == "10001:10001"


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_needs_exists(name: str) -> None:
    service = SERVICES[name]
    for secret in service.get("secrets", []):
        source = secret if isinstance(secret, str) else secret["source"]
        assert source in COMPOSE["secrets"]
    for other, how in service.get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other], f"{name} waits for the health of {other}"
        else:
            assert SERVICES[other]["restart"] == "no", f"{name} waits for the end of {other}"
    for volume in service.get("volumes", []):
        source = volume.partition(":")[0]
        if source.startswith("./"):
            assert (ROOT / source).exists(), volume
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), f"{name} is open to the network"


def test_no_secret_is_in_the_files() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert "PASSWORD" not in name or value.startswith("/run/secrets/"), name


def test_every_program_of_ours_stops_before_it_is_killed() -> None:
    from core.settings import Settings

    grace = Settings.model_fields["grace"].default
    for name in ("worker", "worker-gpu"):
        assert int(SERVICES[name]["stop_grace_period"].rstrip("s")) > grace + 10
    worker = manifest("Deployment", "worker")
    assert worker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > grace + 10


def test_the_manifests_fit_the_schemas_of_kubernetes() -> None:
    import kubernetes_validate

    checked = set()
    for manifest in manifests():
        if manifest["apiVersion"].startswith(("keda.sh/", "kustomize.")):
            continue  # no schema of theirs is packaged
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
        checked.add(manifest["kind"])
    assert checked == {"Namespace", "Deployment", "Job", "PodDisruptionBudget"}


def test_kustomize_builds_the_base() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl")
    assert ran("kubectl", "kustomize", "deploy/kubernetes") == ""


def test_the_base_is_whole() -> None:
    base = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(base["resources"]) == files
    scaled = manifest("ScaledObject", "worker")
    assert manifest("Deployment", scaled["spec"]["scaleTargetRef"]["name"])
    used = {
        container["image"]
        for workload in manifests()
        if workload["kind"] in {"Deployment", "Job"}
        for container in workload["spec"]["template"]["spec"]["containers"]
    }
    assert used == {image["name"] for image in base["images"]}
    budget, worker = manifest("PodDisruptionBudget", "worker"), manifest("Deployment", "worker")
    assert budget["spec"]["selector"] == worker["spec"]["selector"]
