# Sourced by every script of this folder: a temporary folder, pinned packages in it, and the comparison at the end.
set -euo pipefail
here=$(mktemp -d)
pids=()
trap 'for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; rm -rf "$here"' EXIT
cd "$here"

# python_with PACKAGE==VERSION...: a virtual environment; its interpreter is $python
python_with() {
    python3 -m venv "$here/venv"
    python="$here/venv/bin/python"
    "$python" -m pip -qq --disable-pip-version-check --no-input install "$@"
}

# node_with PACKAGE@VERSION...: packages for ECMAScript modules that lie in $here
node_with() {
    printf '{"private": true, "type": "module"}' > "$here/package.json"
    npm install --silent --no-audit --no-fund --prefix "$here" "$@" >/dev/null
}

# chromium_with PACKAGE@VERSION...: the same, and Chromium (for x86-64; it needs the libraries that Debian's has), with
# chromium.mjs: open(HOST) is a page at http://HOST:PORT, of a server that sends answers.body and answers.headers
chromium_with() {
    node_with @sparticuz/chromium@153.0.0 playwright-core@1.65.1 "$@"
    export TMPDIR="$here"
    cat > "$here/chromium.mjs" <<'JS'
import http from "node:http";
import packed from "@sparticuz/chromium";
import { chromium } from "playwright-core";

export const answers = { body: "<!doctype html>", headers: {}, hear() {} };
const server = http.createServer((request, response) => {
  answers.hear(request);
  response.writeHead(200, { "content-type": "text/html", ...answers.headers });
  response.end(answers.body);
});
await new Promise((done) => server.listen(0, "::", done));
const browser = await chromium.launch({
  executablePath: await packed.executablePath(), args: ["--headless", "--no-sandbox"],
});

export async function open(host) {
  const page = await browser.newPage();
  await page.goto(`http://${host}:${server.address().port}/`);
  return page;
}
JS
}

# debian_with PACKAGE...: Debian packages, unpacked below $here/root and not installed
debian_with() {
    (cd "$here" && apt-get download -qq "$@" >/dev/null 2>&1 && for deb in *.deb; do dpkg -x "$deb" root; done)
}

# expect FILE: what was seen (stdin) must be what the library does now
expect() {
    if diff -u --label "seen when this was written" --label "seen now" - "$1"; then
        echo "as written: $(basename "$0" .sh)"
    else
        echo "changed: $(basename "$0" .sh): correct this script, and docs/how-to/interop.md" >&2
        exit 1
    fi
}
