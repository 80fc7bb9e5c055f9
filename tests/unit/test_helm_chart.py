"""The Helm chart: Helm takes it, Kubernetes' schemas take what comes out, no part may do more than it must."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.helm_rendered import CHART, Document, asked, rendered
from tests.needs import package
from tests.repository import ROOT

from loradex.service.api.server import DRAIN_SECONDS, LAST_WORDS_SECONDS
from loradex.service.settings import ServiceSettings
from loradex.worker.settings import WorkerSettings

VERSIONS = ("1.29", "1.37")
"""Of Kubernetes: the oldest that the chart takes, and the newest whose schemas are here."""

CUSTOM = {"ScaledObject", "PodMonitor"}
"""Kinds that are not Kubernetes' own, whose schemas are not here."""

PEER = {"ipBlock": {"cidr": "192.0.2.0/24"}}
FULL: Document = {
    "image": {
        "repository": "registry.example.com/loradex",
        "digest": "sha256:" + "a" * 64,
        "pullSecrets": [{"name": "pull"}],
    },
    "database": {"peers": [PEER], "readerPasswordKey": ""},
    "redis": {"peers": [PEER]},
    "api": {
        "peers": [PEER],
        "env": [
            {"name": "LORADEX_LISTEN_URL", "valueFrom": {"secretKeyRef": {"name": "direct", "key": "url"}}}
        ],
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "service": {"type": "LoadBalancer"},
    },
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "certificate", "annotations": {"a": "b"}},
    "workers": {
        "qwen": {
            "replicas": 1,
            "baseModel": "qwen",
            "baseModelPath": "/adapters/qwen",
            "device": "cuda",
            "dtype": "bfloat16",
            "gpus": 1,
            "env": [{"name": "LORADEX_BATCH_ROWS", "value": "128"}],
            "resources": {"requests": {"cpu": "4"}, "limits": {"memory": "32Gi"}},
            "stateClaim": "qwen-state",
            "stateSize": "1Gi",
            "nodeSelector": {"gpu": "yes"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}},
            "autoscaling": {
                "enabled": True,
                "minReplicas": 0,
                "maxReplicas": 8,
                "jobsPerWorker": 32,
                "cooldownSeconds": 60,
                "prometheusAddress": "http://prometheus:9090",
                "matchers": 'namespace="prod"',
            },
        }
    },
    "adapters": {"claim": "adapters", "sources": "s3://models/"},
    "metrics": {"podMonitor": True, "podMonitorLabels": {"release": "prometheus"}, "peers": [PEER]},
    "otel": {
        "endpoint": "http://collector:4318",
        "env": [{"name": "OTEL_TRACES_SAMPLER", "value": "parentbased_traceidratio"}],
    },
    "networkPolicy": {
        "workerEgress": [{"ports": [{"port": 443, "protocol": "TCP"}]}],
        "apiEgress": [{"ports": [{"port": 5433, "protocol": "TCP"}]}],
    },
}
BARE: Document = {
    "replicas": 1,
    "baseModel": "qwen",
    "device": "cpu",
    "dtype": "float32",
    "resources": {"limits": {"memory": "4Gi"}},
    "stateSize": "1Gi",
    "autoscaling": {"enabled": True},
}
"""A worker of one's own that says no more than it must."""
WRONG: tuple[tuple[Document, str], ...] = (
    ({"imagee": {}}, "imagee"),
    ({"image": {"digest": "latest"}}, "digest"),
    ({"database": {"secret": ""}}, "secret"),
    ({"database": {"url": "postgresql://u:p@h/d"}}, "url"),
    ({"workers": {"Not A Name": {}}}, "workers"),
    ({"workers": {"default": {"device": "tpu"}}}, "device"),
    ({"workers": {"default": {"autoscaling": {"enabled": True}}}}, "needs workers.default.baseModel"),
    ({"workers": {"default": {"autoscaling": {"matchers": "prod"}}}}, "matchers"),
    ({"otel": {"endpoint": "collector:4317"}}, "endpoint"),
)


@pytest.fixture(scope="module")
def told() -> list[list[Document] | str]:
    """What Helm makes of no values, of all there are, and of each wrong one."""
    return rendered({}, FULL, *(values for values, _ in WRONG))


@pytest.fixture(scope="module", params=[0, 1], ids=["as it comes", "with all that may be said"])
def manifests(request: pytest.FixtureRequest, told: list[Any]) -> list[Document]:
    found: list[Document] = told[request.param]
    assert not isinstance(found, str), found
    return found


@pytest.fixture(scope="module")
def full(told: list[Any]) -> list[Document]:
    found: list[Document] = told[1]
    return found


def of(manifests: list[Document], kind: str) -> dict[str, Document]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def pods(manifests: list[Document]) -> Iterator[Document]:
    for one in manifests:
        if one["kind"] in {"Deployment", "Job"}:
            yield one["spec"]["template"]


def containers(manifests: list[Document]) -> list[Document]:
    return [container for pod in pods(manifests) for container in pod["spec"]["containers"]]


def test_helm_has_nothing_to_say_against_it() -> None:
    for values in ({}, FULL):
        report = asked({"lint": values})
        assert report["errors"] == []
        assert [one["error"] for one in report["messages"] if one["severity"] > 1] == []
    metadata = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'version = "{metadata["appVersion"]}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_what_it_renders(manifests: list[Document], version: str) -> None:
    check = package("kubernetes_validate")
    for one in manifests:
        if one["kind"] not in CUSTOM:
            check.validate(one, version, strict=True)
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"] == f">={VERSIONS[0]}.0-0"


def test_the_parts(told: list[Any], full: list[Document]) -> None:
    def names(manifests: list[Document]) -> set[tuple[str, str]]:
        return {(one["kind"], one["metadata"]["name"].removeprefix("demo-loradex-")) for one in manifests}

    lasting = ("Deployment", "PodDisruptionBudget", "NetworkPolicy")
    common = {("Job", "migration"), ("Service", "api"), *((kind, "api") for kind in lasting)}
    assert names(told[0]) == common | {(kind, "worker-default") for kind in lasting}
    assert names(full) == common | {
        *((kind, "worker-default") for kind in lasting),
        *((kind, "worker-qwen") for kind in (*lasting, "ScaledObject")),
        ("Ingress", "api"),
        ("PodMonitor", "demo-loradex"),
    }


def test_no_secret_is_made_and_each_part_is_told_its_own(manifests: list[Document]) -> None:
    assert of(manifests, "Secret") == {}
    urls = {}
    for container in containers(manifests):
        told = {one["name"]: one for one in container["env"]}
        for name, one in told.items():
            if name.endswith(("_URL", "_PASSWORD")):
                assert set(one["valueFrom"]) == {"secretKeyRef"}, name
        urls[container["name"]] = told["LORADEX_DATABASE_URL"]["valueFrom"]["secretKeyRef"]["key"]
        assert len(told) == len(container["env"])
    assert urls == {"migration": "owner-url", "api": "client-url", "worker": "worker-url"}


def test_what_it_says_are_settings(manifests: list[Document]) -> None:
    known = {
        f"LORADEX_{name.upper()}" for one in (WorkerSettings, ServiceSettings) for name in one.model_fields
    }
    said = {one["name"] for container in containers(manifests) for one in container["env"]}
    assert {name for name in said if not name.startswith("OTEL_")} <= known


def test_no_pod_may_do_more_than_it_must(manifests: list[Document]) -> None:
    for pod in pods(manifests):
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["spec"]["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            mounted = {one["name"]: one for one in container["volumeMounts"]}
            assert {one["name"] for one in pod["spec"]["volumes"]} == set(mounted)
            assert mounted.get("adapters", {"readOnly": True})["readOnly"] is True


def test_each_lasting_part_is_guarded_and_reached_by_its_ports_only(manifests: list[Document]) -> None:
    budgets, policies = of(manifests, "PodDisruptionBudget"), of(manifests, "NetworkPolicy")
    for name, deployment in of(manifests, "Deployment").items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        for selector in (
            deployment["spec"]["selector"]["matchLabels"],
            budgets[name]["spec"]["selector"]["matchLabels"],
            policies[name]["spec"]["podSelector"]["matchLabels"],
        ):
            assert selector.items() <= labels.items()
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert {"startupProbe", "livenessProbe"} <= set(container)
        ports = {one["name"] for one in container["ports"]}
        assert {port["port"] for rule in policies[name]["spec"]["ingress"] for port in rule["ports"]} == ports
        assert set(policies[name]["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        assert {53, 5432, 6379} <= {
            port["port"] for rule in policies[name]["spec"]["egress"] for port in rule["ports"]
        }
    (service,) = of(manifests, "Service").values()
    api = of(manifests, "Deployment")[service["metadata"]["name"]]["spec"]["template"]
    assert service["spec"]["selector"].items() <= api["metadata"]["labels"].items()


def test_the_schema_is_brought_up_to_date_before_anything_else(manifests: list[Document]) -> None:
    (job,) = of(manifests, "Job").values()
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["migrate"]["command"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert container["command"] == compose


def test_what_was_said_is_heard(full: list[Document]) -> None:
    worker = of(full, "Deployment")["demo-loradex-worker-qwen"]["spec"]
    (container,) = worker["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example.com/loradex@sha256:{'a' * 64}"
    assert container["resources"]["limits"] == {"memory": "32Gi", "nvidia.com/gpu": 1}
    assert "replicas" not in worker
    assert worker["strategy"] == {"type": "Recreate"}
    told = {one["name"]: one.get("value") for one in container["env"]}
    assert told["LORADEX_BASE_MODEL"] == "qwen"
    assert told["LORADEX_BATCH_ROWS"] == "128"
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"
    (scaled,) = of(full, "ScaledObject").values()
    (trigger,) = scaled["spec"]["triggers"]
    assert scaled["spec"]["scaleTargetRef"]["name"] == "demo-loradex-worker-qwen"
    assert trigger["metadata"]["query"] == 'max(loradex_queue_open_jobs{base_model="qwen",namespace="prod"})'
    assert "loradex_queue_open_jobs" in (ROOT / "src/loradex/metrics.py").read_text()
    migration = next(one for one in containers(full) if one["name"] == "migration")
    assert not any("READER" in one["name"] for one in migration["env"])
    (monitor,) = of(full, "PodMonitor").values()
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    policies = of(full, "NetworkPolicy")
    for name, port in (("api", 5433), ("worker-qwen", 443)):
        assert policies[f"demo-loradex-{name}"]["spec"]["egress"][-1] == {
            "ports": [{"port": port, "protocol": "TCP"}]
        }


def test_a_worker_of_one_s_own_scales_as_the_one_that_is_there() -> None:
    default = {"baseModel": "qwen", "autoscaling": {"enabled": True}}
    (found,) = rendered({"workers": {"default": default, "mine": BARE}})
    assert not isinstance(found, str), found
    first, second = (one["spec"] for one in of(found, "ScaledObject").values())
    assert second.pop("scaleTargetRef") != first.pop("scaleTargetRef")
    assert second == first
    assert None not in (*first.values(), *first["triggers"][0]["metadata"].values())
    (zero,) = rendered(
        {"workers": {"mine": {**BARE, "autoscaling": {"enabled": True, "cooldownSeconds": 0}}}}
    )
    (scaled,) = of([one for one in zero if not isinstance(one, str)], "ScaledObject").values()
    assert scaled["spec"]["cooldownPeriod"] == 0


@pytest.mark.parametrize("name", ["2024", "1e3", "true", "2024-loradex"])
def test_a_release_may_be_called_what_reads_as_a_number(name: str) -> None:
    (found,) = rendered(FULL, name=name)
    assert not isinstance(found, str), found
    check = package("kubernetes_validate")
    for one in found:
        # A service's name begins with a letter, as RFC 1035 has it.
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,61}[a-z0-9]", one["metadata"]["name"])
        assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == name
        if one["kind"] not in CUSTOM:
            check.validate(one, VERSIONS[0], strict=True)
        else:
            assert all(isinstance(value, str) for value in one["metadata"]["labels"].values())
    (monitor,) = of(found, "PodMonitor").values()
    assert monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == name


def test_requests_that_still_arrive_are_answered_while_a_pod_of_the_api_ends(
    manifests: list[Document],
) -> None:
    pod = of(manifests, "Deployment")["demo-loradex-api"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    wait = container["lifecycle"]["preStop"]["exec"]["command"]
    assert wait == ["sleep", "5"]
    # Then it answers what is under way, and says its last words.
    assert pod["terminationGracePeriodSeconds"] >= int(wait[1]) + DRAIN_SECONDS + LAST_WORDS_SECONDS
    # Debian's has that program.
    image = (ROOT / "Dockerfile").read_text()
    assert re.findall("^FROM (\\S+?)-slim-bookworm", image, re.MULTILINE) == ["python:3.11"] * 2


def test_a_worker_is_restarted_for_what_is_its_own_alone(manifests: list[Document], tmp_path: Path) -> None:
    workers = [one for name, one in of(manifests, "Deployment").items() if "worker" in name]
    assert workers
    for one in workers:
        (container,) = one["spec"]["template"]["spec"]["containers"]
        # What the database heard of it takes it for unready, and ends nothing.
        assert container["readinessProbe"]["exec"]["command"] == ["loradex", "worker", "list", "--here"]
        for probe in ("startupProbe", "livenessProbe"):
            told = tmp_path / "worker.ready"
            command = container[probe]["exec"]["command"]

            def passes(command: list[str] = command, told: Path = told) -> bool:
                environment = {"PATH": "/usr/bin:/bin", "LORADEX_READY_FILE": str(told)}
                return subprocess.run(command, env=environment, check=False).returncode == 0

            assert not passes()
            told.write_text("{}")
            assert passes()
            for age, lives in ((60, True), (180, False)):
                os.utime(told, (time.time() - age,) * 2)
                assert passes() == lives
            told.unlink()


@pytest.mark.parametrize("place", range(len(WRONG)), ids=[word for _, word in WRONG])
def test_values_that_mean_nothing_are_refused(told: list[Any], place: int) -> None:
    refusal = told[2 + place]
    assert isinstance(refusal, str)
    assert re.search(re.escape(WRONG[place][1]), refusal), refusal
