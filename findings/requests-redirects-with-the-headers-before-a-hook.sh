#!/usr/bin/env bash
# requests follows a redirect with the headers of the first request, after a hook has sent another one
#
# Guess:   where a response hook answers a 401 by sending a copy of the request with a new token, and returns that
#          response, a redirect in it is followed with the headers of response.request, which is the copy.
# Version: requests 2.34.2 (niquests 3.21.2 does the same)
# Seen:    the second hop has the token of the first request, which the API has refused already. Where the hook
#          changes the request that it was called with as well, the hop has the new token.
# So:      a hook that renews a token changes both requests.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with requests==2.34.2

cat > seen.py <<'PY'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import requests


class API(BaseHTTPRequestHandler):
    """/old wants the token "new", and leads to /orders."""

    def do_GET(self):
        print(" ", self.path, self.headers["Authorization"])
        if self.path == "/orders":
            self.send_response(200)
        elif self.headers["Authorization"] == "Bearer new":
            self.send_response(307)
            self.send_header("Location", "/orders")
        else:
            self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), API)
threading.Thread(target=server.serve_forever, daemon=True).start()


def ask(both):
    def renew(response, **options):
        if response.status_code != 401:
            return response
        request = response.request.copy()
        for one in (request, response.request) if both else (request,):
            one.headers["Authorization"] = "Bearer new"
        again = response.connection.send(request, **options)
        again.history.append(response)
        return again

    with requests.Session() as session:
        session.trust_env = False
        url = f"http://127.0.0.1:{server.server_port}/old"
        session.get(url, headers={"Authorization": "Bearer old"}, hooks={"response": renew})


print("the hook changes the copy that it sends:")
ask(both=False)
print("and the request that it was called with:")
ask(both=True)
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
the hook changes the copy that it sends:
  /old Bearer old
  /old Bearer new
  /orders Bearer old
and the request that it was called with:
  /old Bearer old
  /old Bearer new
  /orders Bearer new
SEEN
