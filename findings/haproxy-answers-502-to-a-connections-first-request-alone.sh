#!/usr/bin/env bash
# HAProxy answers 502 for a server that hangs up only if the request is the first of its connection
#
# Guess:   a server reads a request and closes the connection without an answer: the client gets 502, and can tell its
#          failure from one of the network.
# Version: haproxy 2.6.12 (Debian 12)
# Seen:    the first request of a client's connection gets 502. For a later one on the same connection, HAProxy closes
#          the client's connection and sends nothing, also with option http-server-close.
# So:      a client of a token endpoint has to take a closed connection as an answer that was lost: it asks again with a
#          new assertion, since the old one may have been used.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
debian_with haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 || true
haproxy=root/usr/sbin/haproxy
[ -x "$haproxy" ]

cat > ask.py <<'PY'
import http.client, pathlib, socket, subprocess, sys, threading, time


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def serve(listening):
    """Answer GET, and hang up on POST."""
    while True:
        connection, _ = listening.accept()
        if connection.recv(65536).startswith(b"GET"):
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        connection.close()


listening = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(listening,), daemon=True).start()
front = port()
pathlib.Path("haproxy.cfg").write_text(f"""
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
    option http-server-close
listen front
    bind 127.0.0.1:{front}
    server one 127.0.0.1:{listening.getsockname()[1]}
""")
proxy = subprocess.Popen([sys.argv[1], "-f", "haproxy.cfg"], stderr=subprocess.DEVNULL)
try:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", front)) == 0:
                break
        time.sleep(0.05)
    for before in (0, 1):
        connection = http.client.HTTPConnection("127.0.0.1", front, timeout=10)
        for _ in range(before):
            connection.request("GET", "/")
            connection.getresponse().read()
        connection.request("POST", "/token", body="a=b")
        try:
            seen = connection.getresponse().status
        except http.client.RemoteDisconnected:
            seen = "closed without an answer"
        print(f"requests before it: {before} | {seen}")
finally:
    proxy.kill()
PY
python3 ask.py "$haproxy" > now.txt
expect now.txt <<'SEEN'
requests before it: 0 | 502
requests before it: 1 | closed without an answer
SEEN
