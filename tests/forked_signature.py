"""A signature by a forked child of the test."""

import asyncio
import os
import warnings

from affiant.jose import compact
from affiant.jose.signer import AnySigner

SECONDS = 20


async def sign_in_a_child(signer: AnySigner) -> str:
    """Return a JWS with ``{"by": "child"}`` that a forked child made; an empty text if it could not."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that threads are left behind is what is tested
        child = os.fork()
    if child == 0:
        try:
            text = asyncio.run(asyncio.wait_for(compact.sign_with("JWT", {"by": "child"}, signer), SECONDS))
            os.write(write, text.encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = await asyncio.to_thread(pipe.read)
    await asyncio.to_thread(os.waitpid, child, 0)
    return text
