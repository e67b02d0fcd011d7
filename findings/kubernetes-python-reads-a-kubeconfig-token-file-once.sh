#!/usr/bin/env bash
# The Kubernetes client for Python reads the tokenFile of a kubeconfig once
#
# Guess:   a user with tokenFile gets the file's newest token, as with kubectl (client-go), and as with the same client's
#          load_incluster_config, which reads its file again after a minute.
# Version: kubernetes 37.0.2 (Python)
# Seen:    the token in the file at load_kube_config is sent for ever, here after two hours. With "token" beside
#          "tokenFile" the client sends "token"; the documentation of the kubeconfig says that tokenFile takes precedence.
# So:      give such a process an exec plugin in its kubeconfig, or load the configuration again before the token ends.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with kubernetes==37.0.2

cat > seen.py <<'PY'
import datetime, json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from kubernetes import client, config
from kubernetes.config import incluster_config

sent = []


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        sent.append(self.headers["authorization"])
        body = json.dumps({"major": "1", "minor": "36", "gitVersion": "v1.36.0", "gitCommit": "0", "gitTreeState": "clean",
                           "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1", "compiler": "gc", "platform": "x"}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
token, later = Path("token"), [datetime.timedelta(0)]


class Clock(datetime.datetime):
    """The clock of the package's modules, which this script sets forward."""

    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.now(tz) + later[0]


def kubeconfig(user):
    cluster = {"server": f"http://127.0.0.1:{server.server_port}"}
    document = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    config.load_kube_config_from_dict(document)


def in_cluster():
    Path("ca.crt").write_text("not read over http")
    configuration = client.Configuration()
    loader = incluster_config.InClusterConfigLoader(
        token_filename="token", cert_filename="ca.crt",
        environ={"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.server_port)},
    )
    loader.load_and_set(configuration)
    loader.host, loader.ssl_ca_cert = f"http://127.0.0.1:{server.server_port}", None
    configuration.host, configuration.ssl_ca_cert = loader.host, None
    client.Configuration.set_default(configuration)


fake = type("datetime", (), {"datetime": Clock, "timedelta": datetime.timedelta, "timezone": datetime.timezone})
incluster_config.datetime = fake
for name, load in {
    "tokenFile": lambda: kubeconfig({"tokenFile": str(token.absolute())}),
    "tokenFile and token": lambda: kubeconfig({"tokenFile": str(token.absolute()), "token": "of-the-kubeconfig"}),
    "load_incluster_config": in_cluster,
}.items():
    sent.clear()
    later[0] = datetime.timedelta(0)
    token.write_text("first")
    load()
    api = client.VersionApi()
    api.get_code()
    token.write_text("second")
    later[0] = datetime.timedelta(hours=2)
    api.get_code()
    print(f"{name}:", *sent)
PY
"$python" -W ignore seen.py > now.txt
expect now.txt <<'SEEN'
tokenFile: Bearer first Bearer first
tokenFile and token: Bearer of-the-kubeconfig Bearer of-the-kubeconfig
load_incluster_config: bearer first bearer second
SEEN
