"""The chart, rendered by the libraries that Helm is made of; its pods' processes run here as a kubelet would start them."""

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest
import yaml
from tests.interop.conftest import PYTHON, program
from tests.loopback import free_port
from tests.postgres import Postgres
from tests.process import AFFIANT, Child, run

from affiant.server.settings import Settings

pytestmark = pytest.mark.interop
CHART = Path(__file__).parents[2] / "deploy" / "helm" / "affiant"
RENDERER = Path(__file__).with_name("helm") / "render.go"
LIBRARIES = Path("/usr/share/gocode")  # where Debian's packages of Go libraries are
VERSION = "1.37"  # of Kubernetes, whose schema the documents have
VALIDATE = f"import kubernetes_validate, sys, yaml\nfor d in yaml.safe_load_all(sys.stdin): kubernetes_validate.validate(d, '{VERSION}', strict=True)"
SECRETS = {"affiant-master-key": {"master.key": "5e" * 32}}

SQLITE = {"issuer": "https://as.example", "masterKey": {"existingSecret": "affiant-master-key"}}
POSTGRES = SQLITE | {"database": {"existingSecret": "affiant-database"}}
EVERYTHING = POSTGRES | {
    "settings": {"access_token_lifetime": 300, "trusted_proxies": "10.0.0.0/8"},
    "imagePullSecrets": [{"name": "registry"}],
    "extraEnv": [{"name": "AFFIANT_PKCS11_PIN", "valueFrom": {"secretKeyRef": {"name": "hsm", "key": "pin"}}}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "service": {"type": "LoadBalancer", "port": 8080, "annotations": {"example.com/a": "b"}},
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls", "annotations": {"example.com/a": "b"}},
    "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    "networkPolicy": {"enabled": True, "from": [{"podSelector": {}}], "metricsFrom": [{"namespaceSelector": {}}]},
    "serviceAccount": {"create": False, "name": "existing"},
    "podAnnotations": {"example.com/a": "b"},
    "podLabels": {"team": "platform"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "persistence": {"storageClassName": "fast"},
    "test": {"credentialsSecret": "billing"},
}
Documents = list[dict[str, Any]]


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = program("go")
    if not (LIBRARIES / "src" / "github.com" / "Masterminds" / "sprig").is_dir():
        pytest.skip(
            "Sprig is not installed: apt-get install golang-github-masterminds-sprig-dev golang-k8s-sigs-yaml-dev"
        )
    built = tmp_path_factory.mktemp("helm") / "render"
    environment = os.environ | {
        "GO111MODULE": "off",
        "GOPATH": str(LIBRARIES),
        "GOCACHE": str(built.with_name("cache")),
    }
    subprocess.run([go, "build", "-o", str(built), str(RENDERER)], env=environment, check=True, timeout=120)
    return built


def merged(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return the values with more of them, merged as Helm does."""
    both = values | more
    for name in values.keys() & more.keys():
        if isinstance(values[name], dict) and isinstance(more[name], dict):
            both[name] = merged(values[name], more[name])
    return both


def chosen(more: dict[str, Any]) -> dict[str, Any]:
    return merged(yaml.safe_load((CHART / "values.yaml").read_text()), more)


def check(values: dict[str, Any]) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(values, schema)


def render(renderer: Path, folder: Path, more: dict[str, Any]) -> dict[str, str]:
    values = chosen(more)
    check(values)
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    context = {
        "Values": values,
        "Chart": {name[0].upper() + name[1:]: value for name, value in about.items()},
        "Release": {"Name": "prod", "Namespace": "auth", "Service": "Helm"},
    }
    (folder / "context.json").write_text(json.dumps(context))
    done = subprocess.run(
        [renderer, CHART, folder / "context.json"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    rendered: dict[str, str] = json.loads(done.stdout)
    return rendered


def documents(rendered: dict[str, str]) -> Documents:
    texts = [text for name, text in rendered.items() if name != "NOTES.txt"]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def one(found: Documents, *kinds: str) -> dict[str, Any]:
    (document,) = (document for document in found if document["kind"] in kinds)
    return document


@pytest.mark.parametrize("more", [SQLITE, POSTGRES, EVERYTHING], ids=["sqlite", "postgres", "everything"])
def test_documents_are_of_their_schemas(renderer: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    found = documents(render(renderer, tmp_path, more))
    # Its schema is not Kubernetes's own, but the operator's.
    known = [document for document in found if document["kind"] != "ServiceMonitor"]
    given = yaml.safe_dump_all(known)
    done = subprocess.run(
        [PYTHON, "-W", "ignore", "-c", VALIDATE], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    kinds = {document["kind"] for document in found}
    assert ("PodDisruptionBudget" in kinds) is (more is not SQLITE)
    assert ("Deployment" in kinds) is (more is not SQLITE)
    assert {"Ingress", "NetworkPolicy", "ServiceMonitor"} <= kinds if more is EVERYTHING else True


@pytest.mark.parametrize("more", [SQLITE, EVERYTHING], ids=["sqlite", "everything"])
def test_pods_may_do_little(renderer: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    found = documents(render(renderer, tmp_path, more))
    pods = [
        document["spec"] if document["kind"] == "Pod" else document["spec"]["template"]["spec"]
        for document in found
        if document["kind"] in {"Deployment", "StatefulSet", "Pod"}
    ]
    assert len(pods) == 2
    for pod in pods:
        assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
    # Secrets come by reference: nothing that is rendered has a value of one.
    assert not [document for document in found if document["kind"] == "Secret"]


def test_no_value_is_more_than_a_value(renderer: Path, tmp_path: Path) -> None:
    """Names that YAML reads as something else, and a number that Go prints with an exponent."""
    name = "1}}, hostNetwork: true, x: {y: {z: on"
    more = {
        "settings": {"max_connections": 1048576, "failure_rate": 0.5, "console": "off"},
        "masterKey": {"existingSecret": name, "key": "true"},
        "database": {"existingSecret": name, "key": "0x10"},
        "ingress": {"host": "as.example # x", "className": name, "tlsSecret": "null"},
        "serviceAccount": {"create": True, "name": name},
        "priorityClassName": name,
        "test": {"credentialsSecret": name, "key": name},
    }
    found = documents(render(renderer, tmp_path, merged(EVERYTHING, more)))
    pod = one(found, "Deployment")["spec"]["template"]["spec"]
    given = {each["name"]: each.get("value", each.get("valueFrom")) for each in pod["containers"][0]["env"]}
    assert (given["AFFIANT_MAX_CONNECTIONS"], given["AFFIANT_FAILURE_RATE"]) == ("1048576", "0.5")
    assert given["AFFIANT_CONSOLE"] == "off"
    assert given["AFFIANT_DATABASE"] == {"secretKeyRef": {"name": name, "key": "0x10"}}
    secret = next(volume["secret"] for volume in pod["volumes"] if volume["name"] == "master-key")
    assert (secret["secretName"], secret["items"][0]["key"]) == (name, "true")
    assert (pod["serviceAccountName"], pod["priorityClassName"]) == (name, name)
    ingress = one(found, "Ingress")["spec"]
    assert ingress["rules"][0]["host"] == "as.example # x"
    assert (ingress["tls"][0]["secretName"], ingress["ingressClassName"]) == ("null", name)


@pytest.mark.parametrize(
    "more",
    [
        {"issuer": "http://as.example"},
        {"issuer": "https://as.example/"},
        {"masterKey": {"existingSecret": ""}},
        {"settings": {"database": "postgresql://user:password@db/affiant"}},
        {"settings": {"fapi": True}},
        {"replica": 3},
        {"replicas": 0},
    ],
    ids=str,
)
def test_wrong_values_are_refused(more: dict[str, Any]) -> None:
    check(chosen(SQLITE))
    with pytest.raises(jsonschema.ValidationError):
        check(chosen(merged(SQLITE, more)))


def test_settings_of_the_chart_are_settings_of_the_server(renderer: Path, tmp_path: Path) -> None:
    container = one(documents(render(renderer, tmp_path, EVERYTHING)), "Deployment")["spec"]["template"]["spec"][
        "containers"
    ][0]
    own = {"AFFIANT_MASTER_KEY_FILE", "AFFIANT_PKCS11_PIN"}
    named = {variable["name"] for variable in container["env"]} - own
    assert named <= {f"AFFIANT_{name.upper()}" for name in Settings.model_fields}


def kubelet(pod: dict[str, Any], folder: Path, secrets: dict[str, dict[str, str]]) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of a pod's container, with its volumes in this folder."""
    (container,) = pod["containers"]
    places = {}
    for mount in container["volumeMounts"]:
        volume: dict[str, Any] = next((v for v in pod.get("volumes", ()) if v["name"] == mount["name"]), {})
        place = folder / mount["name"]
        place.mkdir(mode=0o700, exist_ok=True)
        for item in volume.get("secret", {}).get("items", ()):
            target = place / item["path"]
            target.write_text(secrets[volume["secret"]["secretName"]][item["key"]])
            target.chmod(0o400)
        places[mount["mountPath"]] = str(place)

    def placed(text: str) -> str:
        for path, place in places.items():
            text = text.replace(path, place) if text.startswith(path) else text
        return text

    environment = {}
    for variable in container["env"]:
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        value = variable["value"] if reference is None else secrets[reference["name"]][reference["key"]]
        environment[variable["name"]] = placed(value)
    return [placed(word) for word in container["args"]], environment


@pytest.fixture(params=["sqlite", "postgres"])
def serving(
    request: pytest.FixtureRequest, renderer: Path, tmp_path: Path
) -> Iterator[tuple[Documents, Child, str, dict[str, str]]]:
    """The pod's container as a process of this machine, on ports of its own."""
    secrets, more = dict(SECRETS), SQLITE | {"metrics": {"port": free_port()}, "workers": 1}
    if request.param == "postgres":
        database: Postgres = request.getfixturevalue("postgres")
        secrets["affiant-database"] = {"url": database.create()}
        more |= POSTGRES
    found = documents(render(renderer, tmp_path, more))
    pod = one(found, "Deployment", "StatefulSet")["spec"]["template"]["spec"]
    words, environment = kubelet(pod, tmp_path, secrets)
    port = free_port()
    environment["AFFIANT_PORT"] = str(port)
    environment["AFFIANT_HOST"] = "127.0.0.1"
    environment["AFFIANT_METRICS"] = environment["AFFIANT_METRICS"].replace("0.0.0.0", "127.0.0.1")
    with Child.start(tmp_path, *AFFIANT, *words, name="pod", **environment) as child:
        yield found, child, f"http://127.0.0.1:{port}", environment


def test_pod_starts_and_passes_its_probes(
    serving: tuple[Documents, Child, str, dict[str, str]], tmp_path: Path
) -> None:
    found, child, base, environment = serving
    (container,) = one(found, "Deployment", "StatefulSet")["spec"]["template"]["spec"]["containers"]
    probes = [container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    child.until_healthy(base)
    assert [httpx2.get(f"{base}{path}").status_code for path in probes] == [200, 200, 200]
    assert httpx2.get(f"{base}/.well-known/oauth-authorization-server").json()["issuer"] == "https://as.example"
    metrics = f"http://{environment['AFFIANT_METRICS']}/metrics"
    child.until(lambda: "affiant_build_info" in httpx2.get(metrics).text)  # it is a second behind
    done = run(
        tmp_path,
        "api",
        "new",
        "orders",
        "--identifier",
        "https://orders.example",
        "--scope",
        "orders.read",
        **environment,
    )
    assert done.returncode == 0, done.stderr
    key = tmp_path / "master-key" / "master.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o400
    assert not (tmp_path / "data" / "affiant" / "master.key").exists()


def test_the_real_helm_agrees(tmp_path: Path) -> None:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not installed: its own lint and rendering are not tried")
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(EVERYTHING))
    for words in (("lint", "--strict"), ("template", "prod")):
        done = subprocess.run(
            [helm, *words, str(CHART), "-f", str(tmp_path / "values.yaml")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
