#!/usr/bin/env bash
# redis-py sends SET NX again when the answer is lost, and reports its own key as taken
#
# Guess:   set(key, value, nx=True) returns None only if another caller has set the key: enough to use a jti once.
# Version: redis 8.1.0 (the Python client)
# Seen:    where the connection ends after the server has run the command and before its answer arrives, a client with
#          default options sends the command again, finds its own key and returns None, without an error. The key was
#          new. With retry=Retry(NoBackoff(), 0) the same is a ConnectionError.
# So:      a claim by SET NX, of a jti or of a lock, turns retries off, or writes a value by which it knows its own key.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with redis==8.1.0

cat > seen.py <<'PY'
import socketserver, threading

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


class Server(socketserver.ThreadingTCPServer):
    """As much of Redis as is needed. In place of the first answer to SET it closes the connection."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.keys, self.is_lost = set(), False
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:-2])
            if words[0].upper() != b"SET":
                self.wfile.write(b"-ERR unknown command\r\n" if words[0].upper() == b"HELLO" else b"+OK\r\n")
                continue
            is_new = words[1] not in self.server.keys
            self.server.keys.add(words[1])
            if not self.server.is_lost:
                self.server.is_lost = True
                return
            self.wfile.write(b"+OK\r\n" if is_new else b"$-1\r\n")


for name, options in (("default options", {}), ("no retry", {"retry": Retry(NoBackoff(), 0)})):
    client = redis.Redis(port=Server().server_address[1], protocol=2, **options)
    try:
        print(f"{name}: a new key:", client.set("jti", "", nx=True, px=60_000))
    except redis.ConnectionError:
        print(f"{name}: a new key: ConnectionError")
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
default options: a new key: None
no retry: a new key: ConnectionError
SEEN
