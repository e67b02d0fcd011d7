"""django-oauth-toolkit in one file: client_secret_basic, and ES256 JWTs by its hook for access tokens.

It has no private_key_jwt. The secret is kept in plain text: its usual PBKDF2 would be nearly all that is measured.
Run as a program it makes the database.
"""

import json
import os
import secrets
import sys
import time
from pathlib import Path

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from jwcrypto import jwk, jwt

GIVEN = json.loads(Path(os.environ["CONFIGURATION"]).read_text())
KEY = jwk.JWK(**GIVEN["server_keys"]["keys"][0])
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    SECRET_KEY=secrets.token_hex(25),
    ROOT_URLCONF="django_server",
    USE_TZ=True,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],  # sets Content-Length
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "oauth2_provider",
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DATABASE"],
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "timeout": 30,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            },
        }
    },
    OAUTH2_PROVIDER={
        "SCOPES": {GIVEN["scope"]: GIVEN["scope"]},
        "ACCESS_TOKEN_EXPIRE_SECONDS": 600,
        "ACCESS_TOKEN_GENERATOR": "django_server.signed",
    },
)


def signed(request, refresh_token=False):
    now = int(time.time())
    claims = {
        "iss": GIVEN["issuer"],
        "sub": request.client_id,
        "client_id": request.client_id,
        "aud": GIVEN["api"],
        "iat": now,
        "exp": now + 600,
        "jti": secrets.token_urlsafe(16),
        "scope": GIVEN["scope"],
    }
    token = jwt.JWT(header={"alg": "ES256", "typ": "at+jwt", "kid": KEY.key_id}, claims=claims)
    token.make_signed_token(KEY)
    return token.serialize()


if __name__ == "__main__":
    sys.modules["django_server"] = sys.modules["__main__"]
django.setup()

from django.core.management import call_command  # noqa: E402 - Django is ready from here on
from django.urls import include, path  # noqa: E402
from oauth2_provider.models import Application  # noqa: E402

urlpatterns = [
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("health", lambda _request: HttpResponse("ok")),
]
application = get_wsgi_application()

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    Application.objects.create(
        name="bench",
        client_id=GIVEN["secret_client"],
        client_secret=GIVEN["secret"],
        hash_client_secret=False,
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
    )
