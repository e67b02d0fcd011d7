"""docs/tutorial/first-service.md, as a reader follows it: with real processes, and the output that it shows."""

import re
from pathlib import Path

from tests.e2e.test_readme import API, SERVER, Reader
from tests.loopback import free_port
from tests.process import Launch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial" / "first-service.md"
TRACE = "GmhkHuGxsVO1"  # on the page; each run has another one


def test_first_service(tmp_path: Path, launch: Launch) -> None:
    ports = {SERVER: str(free_port()), API: str(free_port())}
    reader = Reader(tmp_path, launch, ports)
    output, traces = "", list[str]()
    for language, body in re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        if language == "python":
            reader.writes(body)
        elif language == "console":
            typed = body.replace(TRACE, traces[-1]) if traces else body
            output = "".join(reader.says(line) for line in typed.splitlines())
            traces = re.findall(r"\(trace (\S+)\)", output)
        else:
            assert language == "text"
            for line in body.splitlines():
                found = re.escape(reader.adapted(line)).replace("…", ".*").replace(TRACE, r"\S+")
                assert re.search(f"^{found}$", output, re.MULTILINE), (line, output)
    assert len(reader.running) == 2
