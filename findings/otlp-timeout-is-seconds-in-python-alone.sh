#!/usr/bin/env bash
# OTEL_EXPORTER_OTLP_TIMEOUT is seconds for Python's exporter and milliseconds for Node's
#
# Guess:   one value for all containers of a cluster, as the specification has it: milliseconds, 10000 unless set.
# Version: opentelemetry-exporter-otlp-proto-http 1.45.2; @opentelemetry/exporter-trace-otlp-http 0.223.1
# Seen:    with 2, towards a collector that does not answer, Node gives up at once and Python after two seconds. With
#          2000 Node gives up after two seconds; Python would wait for more than half an hour.
# So:      set OTEL_EXPORTER_OTLP_TIMEOUT for each language apart: 10 for Python, 10000 for Node.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
node_with @opentelemetry/api@1.9.1 @opentelemetry/exporter-trace-otlp-http@0.223.1 &
python_with opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2
wait $!

cat > export.py <<'PY'
import logging, time

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

logging.disable()
exporter, begun = OTLPSpanExporter(), time.monotonic()
exporter.export([])
print(time.monotonic() - begun)
PY
cat > export.mjs <<'JS'
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";

const exporter = new OTLPTraceExporter(), begun = Date.now();
exporter.export([], () => {
  console.log((Date.now() - begun) / 1000);
  process.exit();
});
JS
cat > ask.py <<'PY'
import os, socket, subprocess, sys, time

collector = socket.create_server(("127.0.0.1", 0))  # connections open, and nothing is answered
endpoint = f"http://127.0.0.1:{collector.getsockname()[1]}"
running, begun = [], time.monotonic()
for language, command in (("Python", [sys.executable, "export.py"]), ("Node", ["node", "export.mjs"])):
    for value in ("2", "2000"):
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": value}
        process = subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.PIPE)
        running.append((language, value, process))
for language, value, process in running:
    try:
        took = float(process.communicate(timeout=max(1, begun + 12 - time.monotonic()))[0])
        seen = "at once" if took < 1.5 else "after two seconds" if took < 10 else f"after {took}"
    except subprocess.TimeoutExpired:
        process.kill()
        seen = "waits"
    print(language, value, seen, sep=" | ")
PY
"$python" ask.py > now.txt
expect now.txt <<'SEEN'
Python | 2 | after two seconds
Python | 2000 | waits
Node | 2 | at once
Node | 2000 | after two seconds
SEEN
