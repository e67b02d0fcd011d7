#!/usr/bin/env bash
# Caddy moves request_header behind forward_auth, whatever the order in the Caddyfile
#
# Guess:   directives of a site run as they are written: request_header first removes the headers that a client forges,
#          then forward_auth copies those of the authentication service for the API.
# Version: caddy 2.6.2 (Debian 12)
# Seen:    the adapted configuration has forward_auth first. request_header then removes what copy_headers has set, and
#          the authentication service has seen what the client sent. Within route { } the order is that of the file.
# So:      put both into route { }.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
debian_with caddy

cat > order.py <<'PY'
import json, sys


def handlers(found):
    """Yield the handlers in their order; forward_auth is a reverse_proxy whose requests are GET."""
    if isinstance(found, dict):
        if found.get("handler") == "reverse_proxy":
            yield "forward_auth" if "rewrite" in found else "reverse_proxy"
        elif found.get("handler") == "headers" and "delete" in found.get("request", {}):
            yield "request_header -"
        else:
            for value in found.values():
                yield from handlers(value)
    elif isinstance(found, list):
        for value in found:
            yield from handlers(value)


print(sys.argv[1], *handlers(json.load(sys.stdin)), sep=" | ")
PY
site='request_header -Remote-User
forward_auth 127.0.0.1:9001 {
    uri /check
    copy_headers Remote-User
}
reverse_proxy 127.0.0.1:9000'
printf ':8080 {\n%s\n}\n' "$site" > plain
printf ':8080 {\nroute {\n%s\n}\n}\n' "$site" > route
for name in plain route; do
    root/usr/bin/caddy adapt --adapter caddyfile --config "$name" 2>/dev/null | python3 order.py "$name"
done > now.txt
expect now.txt <<'SEEN'
plain | forward_auth | request_header - | reverse_proxy
route | request_header - | forward_auth | reverse_proxy
SEEN
