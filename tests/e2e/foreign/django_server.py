"""django-oauth-toolkit on Django, after its documentation: client secrets, in the header and in the form."""

import json
import os
from pathlib import Path
from wsgiref.simple_server import make_server

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

GIVEN = json.loads(Path(os.environ["CONFIGURATION"]).read_text())
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    OAUTH2_PROVIDER={"SCOPES": {GIVEN["scope"]: "orders"}, "ACCESS_TOKEN_EXPIRE_SECONDS": 600},
    ROOT_URLCONF=__name__,
    SECRET_KEY="only-for-tests",
    USE_TZ=True,
)
django.setup()

from oauth2_provider.models import Application  # noqa: E402 - models need the settings

urlpatterns = [path("o/", include("oauth2_provider.urls", namespace="oauth2_provider"))]
call_command("migrate", verbosity=0)
for one in GIVEN["clients"]:
    Application.objects.create(
        client_id=one["client_id"],
        client_secret=one["secret"],
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
        name=one["client_id"],
    )
make_server("127.0.0.1", int(os.environ["PORT"]), get_wsgi_application()).serve_forever()
