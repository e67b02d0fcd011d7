"""Envoy's configuration around the part of the HTTP connection manager that a page shows."""

import textwrap
from pathlib import Path

_MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def configure(folder: Path, manager: str, port: int, *, route: str, **clusters: int) -> list[str]:
    """Write it; return the arguments of a process that listens on this port. A cluster is a port of 127.0.0.1."""
    host = f'{{name: api, domains: ["*"], routes: [{{match: {{prefix: "/"}}, {route}}}]}}'
    head = f"""
static_resources:
  listeners:
  - name: web
    address: {_address(port)}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {_MANAGER}
          stat_prefix: web
          route_config: {{virtual_hosts: [{host}]}}
"""
    tail = "  clusters:\n" + "".join(
        f"  - name: {name}\n    type: STATIC\n    load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: "
        f"[{{endpoint: {{address: {_address(number)}}}}}]}}]}}\n"
        for name, number in clusters.items()
    )
    (folder / "envoy.yaml").write_text(head + textwrap.indent(manager, " " * 10) + tail)
    return ["-c", str(folder / "envoy.yaml"), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning"]


def _address(port: int) -> str:
    return f"{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}"
