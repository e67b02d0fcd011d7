"""The settings with their sources, and the health of the server."""

from affiant.server.console.pages.page import page
from affiant.server.console.view import View
from affiant.server.request.http import Answer

_FAR = 1.0  # seconds by which a clock may be off without a word: assertions live for a minute
_LATE = 300  # seconds for which a record may wait for a sink
# The effect of a change, where the description of the setting does not say it.
CONSEQUENCES = {
    "issuer": "Credentials files, guards and trusts name it: with another one every client needs a new file, and every"
    " API a new setting. Tokens of the old issuer are refused.",
    "database": "Another database has other clients and keys. Move them first: affiant db backup, affiant db restore.",
    "workers": "More processes issue more tokens a second, up to one for each processor.",
    "trusted_proxies": "A proxy that is missing here makes all its clients one address for the limits; one too many"
    " lets clients invent their addresses.",
    "jwks_uri_allow": "Hosts named here are fetched although they are not public: name none that answers strangers.",
    "fapi": "Clients with shared secrets, and assertions with other algorithms, are refused at once.",
    "auth_methods": "Clients with a method that is no longer listed are refused at once.",
    "signing_alg": "It is for the first key alone. For the next one: affiant signing-key rotate --alg.",
    "signing_key_days": "A shorter time means that a leaked key is worth less; guards fetch the next one.",
    "signing_key_announce_days": "Verifiers that keep the key set for longer than this refuse tokens of a new key.",
    "dpop_nonces": "Clients that know no nonces are refused; others need one more trip.",
    "failure_rate": "Less slows guessing down; too little locks out a partner with a broken cron job.",
    "token_rate": "Clients that ask for a token on every call come to this limit first: see Overview.",
    "access_token_lifetime": "Shorter tokens end sooner when something leaks; clients ask more often.",
    "console": "Without it the same is done by the command line and the admin API.",
}


@page("/settings")
async def show_settings(view: View) -> Answer:
    if view.visitor.teams is not None:
        return view.show("settings/limited.html", title="Settings")
    found = await view.api.get("/settings")
    wanted = view.query.text("source")
    return view.show(
        "settings/server.html",
        settings=[one for one in found if wanted in ("", one["source"])],
        sources=sorted({one["source"] for one in found}),
        chosen=wanted,
        node=await view.api.get("/status"),
        head=await view.api.get("/audit/head"),
        sinks=(await view.api.get("/audit/sinks"))["items"],
        consequences=CONSEQUENCES,
        far=_FAR,
        late=_LATE,
    )
