#!/usr/bin/env bash
# rsyslog makes two messages of one that is too long, although its length was announced
#
# Guess:   with octet counting (RFC 6587, as over TLS in RFC 5425), the receiver knows where a message ends: one above
#          maxMessageSize (8 KiB) is cut, and the next one begins after its announced length.
# Version: rsyslog 8.2302.0 (Debian 12)
# Seen:    the rest is kept as a message of its own, under another host and no application. Also the BOM, which RFC 5424 asks
#          for before UTF-8, stays in %msg%: a strict JSON parser refuses the record.
# So:      for JSON records, set global(maxMessageSize="64k") and discardTruncatedMsg="on", and send no BOM.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
debian_with rsyslog libestr0 libfastjson4 liblognorm5 || true
rsyslogd=root/usr/sbin/rsyslogd
[ -x "$rsyslogd" ]

cat > send.py <<'PY'
import json, os, pathlib, socket, subprocess, sys, time

here = os.getcwd()
TEMPLATE = "%hostname% | %app-name% | %msg%\\n"
HEAD = "<13>1 2026-11-29T10:00:00Z as.example affiant - audit - "
LONG = json.dumps({"n": 2, "text": " ".join(["word"] * 2000)})
SENT = [HEAD + '{"n": 1}', HEAD + LONG, HEAD + '\ufeff{"n": 3}', HEAD + '{"n": 4}']


def kept(size, option):
    """The lines that rsyslog wrote for SENT."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = pathlib.Path(f"{size}-{len(option)}.log")
    pathlib.Path("rsyslog.conf").write_text(f"""
global(workDirectory="{here}" maxMessageSize="{size}")
module(load="imtcp" {option})
template(name="line" type="string" string="{TEMPLATE}")
input(type="imtcp" port="{port}" address="127.0.0.1")
action(type="omfile" file="{here}/{out}" template="line")
""")
    (modules,) = pathlib.Path("root").resolve().glob("usr/lib/*/rsyslog")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(modules.parent)}
    command = [sys.argv[1], "-n", "-f", "rsyslog.conf", "-i", f"{here}/pid", "-M", str(modules)]
    server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(400):
            try:
                connection = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.05)
        for message in SENT:
            octets = message.encode()
            connection.sendall(f"{len(octets)} ".encode() + octets)
        for _ in range(400):
            lines = out.read_text().splitlines() if out.exists() else []
            if lines and '"n": 4}' in lines[-1]:
                break
            time.sleep(0.05)
        return lines
    finally:
        server.kill()
        server.wait()


def judged(line):
    host, application, text = line.split(" | ", 2)
    try:
        read = f"record {json.loads(text.strip())['n']}"
    except ValueError as error:
        read = "BOM" if "BOM" in str(error) else "no JSON"
    return f"{'ours' if application == 'affiant' else application}: {read}"


for size, option in (("8k", ""), ("8k", 'discardTruncatedMsg="on"'), ("64k", "")):
    print(size, option or "-", ", ".join(map(judged, kept(size, option))), sep=" | ")
PY
python3 send.py "$rsyslogd" > now.txt
expect now.txt <<'SEEN'
8k | - | ours: record 1, ours: no JSON, -: no JSON, ours: BOM, ours: record 4
8k | discardTruncatedMsg="on" | ours: record 1, ours: no JSON, ours: BOM, ours: record 4
64k | - | ours: record 1, ours: record 2, ours: BOM, ours: record 4
SEEN
