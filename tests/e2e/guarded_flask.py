"""The guarded API of test_gunicorn.py: `gunicorn --preload guarded_flask:app`, with issuer and audience in the environment."""

import os

from flask import Flask, Response, g

from affiant import Guard

guard = Guard(os.environ["GUARD_ISSUER"], audience=os.environ["GUARD_AUDIENCE"])
app = Flask(__name__)
guard.install(app)
guard.warm_up()  # before gunicorn forks: what the master has fetched and begun must harm no worker


@app.after_request
def name_worker(response: Response) -> Response:
    response.headers["X-Worker"] = str(os.getpid())
    return response


@app.get("/orders")
@guard.flask("orders.read")
def orders() -> dict[str, str]:
    return {"for": g.caller.client_id}
