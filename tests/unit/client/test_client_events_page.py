"""The code of docs/how-to/client-events.md runs as it is there."""

import logging
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.unit.client.conftest import Answer, Foreign

from affiant.client.credentials.file import Credentials
from affiant.client.events import Name
from affiant.errors import Refused
from affiant.jose.keys import PrivateKey

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "client-events.md").read_text("utf-8")


def test_code_of_the_page(foreign: Foreign, key: PrivateKey, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    path = tmp_path / "billing.affiant.json"
    Credentials(foreign.url, "billing", "private_key_jwt", key=key.to_jwk()).write(path)
    names: dict[str, Any] = {}
    exec(code.replace("billing.affiant.json", str(path)), names)
    foreign.script["/token"] = [Answer(400, {"error": "invalid_scope"})]
    with caplog.at_level(logging.WARNING, "billing.tokens"), pytest.raises(Refused):
        names["service"].token(scope="orders.write")
    names["service"].token()  # nothing to report
    (record,) = [one for one in caplog.records if one.name == "billing.tokens"]
    assert record.message.startswith(f"token.failed at {foreign.url}: invalid_scope, 0.")


def test_page_lists_every_event() -> None:
    assert re.findall(r"^\| `([a-z_.]+)` \|", PAGE, re.MULTILINE) == list(get_args(Name))
