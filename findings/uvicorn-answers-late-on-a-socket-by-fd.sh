#!/usr/bin/env bash
# uvicorn answers each request of a kept connection about 40 ms later when its TCP socket came by --fd
#
# Guess:   a socket that systemd or a supervisor has opened (--fd) serves as one that uvicorn opens itself (--port).
# Version: uvicorn 0.54.0, h11 0.16.0, httptools 0.9.0
# Seen:    uvicorn takes the descriptor for AF_UNIX. asyncio then sets no TCP_NODELAY on its connections, headers and
#          body go in two packets, and the second waits until the client acknowledges the first. --port has no such wait.
# So:      give uvicorn's Server the socket itself, Server(config).serve(sockets=[socket.socket(fileno=3)]), in front of
#          anything that is asked per request: a token endpoint, a guard.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with uvicorn==0.54.0 h11==0.16.0 httptools==0.9.0

cat > app.py <<'PY'
import socket
import sys

import uvicorn


async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


if __name__ == "__main__":
    config = uvicorn.Config(app, http=sys.argv[2], log_level="error")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
PY
cat > ask.py <<'PY'
import http.client, socket, statistics, subprocess, sys, time


def median(how, protocol):
    """Milliseconds from a request to the end of its answer, on one connection."""
    listening = socket.create_server(("127.0.0.1", 0))
    port, descriptor = listening.getsockname()[1], str(listening.fileno())
    command = [sys.executable, "-m", "uvicorn", "app:app", "--http", protocol, "--log-level", "error"]
    if how == "--fd":
        command += ["--fd", descriptor]
    elif how == "--port":
        listening.close()
        command += ["--port", str(port)]
    else:
        command = [sys.executable, "app.py", descriptor, protocol]
    server = subprocess.Popen(command, pass_fds=[] if how == "--port" else [int(descriptor)])
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for _ in range(400):
            try:
                connection.connect()
                break
            except OSError:
                time.sleep(0.05)
        times = []
        for _ in range(60):
            begun = time.perf_counter()
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"ok"
            times.append((time.perf_counter() - begun) * 1000)
        # the kernel acknowledges the first packets of a connection at once
        return min(times[20:]), statistics.median(times[20:])
    finally:
        server.kill()
        listening.close()


for protocol in ("h11", "httptools"):
    for how in ("--fd", "--port", "sockets="):
        least, middle = median(how, protocol)
        print(protocol, how, "waits" if least > 30 else "at once" if least < 20 else f"{least} to {middle} ms", sep=" | ")
PY
"$python" ask.py > now.txt
expect now.txt <<'SEEN'
h11 | --fd | waits
h11 | --port | at once
h11 | sockets= | at once
httptools | --fd | waits
httptools | --port | at once
httptools | sockets= | at once
SEEN
