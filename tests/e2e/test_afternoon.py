"""docs/tutorial/operators-afternoon.md, as a reader follows it: with a real server, and a real Prometheus."""

import re
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from tests.e2e.test_readme import SERVER, Reader
from tests.loopback import free_port, listens
from tests.process import Child, Launch

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial" / "operators-afternoon.md"
METRICS, PROMETHEUS = "9377", "9090"
QUERIES = ("curl", "promtool query")  # whose answer may come a second later
SCOPE, REFUSED = "--scope orders.write", 4  # the page shows a refusal


class Operator(Reader):
    """A reader at a terminal with jobs."""

    def __init__(self, folder: Path, launch: Launch, ports: dict[str, str]) -> None:
        super().__init__(folder, launch, ports)
        self.jobs: dict[str, Child] = {}

    def types(self, line: str, *, warned: str = "") -> str:
        if line.startswith("kill "):
            self._signal(*line.split()[1:])
            return ""
        if line.endswith("&"):
            name = f"%{1 if 'serve' in line else 2}"
            shell = ("bash", "-c", f"source .venv/bin/activate && exec {self.adapted(line.removesuffix('&'))}")
            self.jobs[name] = job = self._launch(*shell, AFFIANT_PORT=self._ports[SERVER])
            job.until(lambda: listens(int(self._ports[SERVER if "serve" in line else PROMETHEUS])))
            return ""
        done = self._run(self.adapted(line))
        assert done is not None
        is_late = line.startswith(QUERIES)
        assert is_late or done.returncode == (REFUSED if SCOPE in line else 0), (line, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def _signal(self, *words: str) -> None:
        number = signal.SIGHUP if words[0] == "-HUP" else signal.SIGTERM
        for name in words[words[0] == "-HUP" :]:
            job = self.jobs[name]
            before = job.err.count("reloaded:")
            job.process.send_signal(number)
            if number == signal.SIGHUP:
                job.until(partial(_has_reloaded, job, before))
            else:
                job.process.wait(30)


def _has_reloaded(job: Child, before: int) -> bool:
    return job.err.count("reloaded:") > before


def looks_like(line: str) -> str:
    return re.escape(line).replace("…", ".*")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not installed: apt-get install prometheus")
def test_afternoon(tmp_path: Path, launch: Launch) -> None:
    ports = {name: str(free_port()) for name in (SERVER, METRICS, PROMETHEUS)}
    operator = Operator(tmp_path, launch, ports)
    for name in ("alerts.yaml", "prometheus.yaml"):  # the example asks every 15 seconds
        text = operator.adapted((ROOT / "deploy" / "prometheus" / name).read_text("utf-8"))
        (tmp_path / name).write_text(text.replace("_interval: 15s", "_interval: 1s"))
    output, queried = "", ""
    for language, body in re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        if language == "toml":
            (tmp_path / "affiant.toml").write_text(operator.adapted(body))
        elif language == "console":
            output = "".join(operator.types(line) for line in body.splitlines())
            queried = body.splitlines()[-1]
        else:
            for line in body.splitlines():
                wanted = re.compile(f"^{looks_like(operator.adapted(line))}$", re.MULTILINE)
                end = time.monotonic() + 30
                while queried.startswith(QUERIES) and not wanted.search(output) and time.monotonic() < end:
                    time.sleep(0.2)
                    output = operator.types(queried)
                assert wanted.search(output), (line, output)
    assert all(job.process.poll() is not None for job in operator.jobs.values())
