#!/usr/bin/env bash
# aiohttp calls client middleware for each hop of a redirect, so middleware that adds a token adds it to every origin
#
# Guess:   middleware is around the whole request, as auth= of httpx is; the Authorization header is dropped when a
#          redirect leads to another origin, as aiohttp does with a header of the request itself.
# Version: aiohttp 3.14.5
# Seen:    a header given with the request is dropped at the other origin. One that middleware sets is there, because
#          the middleware is called again with the second request, which looks like any first one.
# So:      middleware that authenticates compares the origin of each request with the one that its token is for.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with aiohttp==3.14.5

cat > seen.py <<'PY'
import asyncio

import aiohttp
from aiohttp import web

seen = []


def application(name, location):
    async def handle(request):
        seen.append(f"{name} {request.headers.get('Authorization')}")
        raise web.HTTPFound(location) if location else web.HTTPOk()

    app = web.Application()
    app.router.add_get("/", handle)
    return app


async def serve(app):
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}/"


async def add(request, handler):
    request.headers["Authorization"] = "Bearer t"
    return await handler(request)


async def main():
    other = await serve(application("other", None))
    first = await serve(application("first", other))
    async with aiohttp.ClientSession() as http:
        await http.get(first, headers={"Authorization": "Bearer t"})
    async with aiohttp.ClientSession(middlewares=[add]) as http:
        await http.get(first)
    print(*seen, sep="\n")


asyncio.run(main())
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
first Bearer t
other None
first Bearer t
other Bearer t
SEEN
