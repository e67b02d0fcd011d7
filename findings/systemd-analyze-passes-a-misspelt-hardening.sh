#!/usr/bin/env bash
# systemd-analyze verify ends with 0 for a unit whose hardening is misspelt
#
# Guess:   `systemd-analyze verify` in CI fails for a unit with an unknown setting or a value that cannot be read, since
#          systemd drops that line and starts the service without it.
# Version: systemd 252 (Debian 12)
# Seen:    each such line is named on standard error, and the exit code is 0. A capability that does not exist is not
#          even named. Only what keeps the unit from starting, such as a missing program, gives 1.
# So:      let CI fail for any output of `verify`, and compare the result of `systemd-analyze security --offline=true`.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
debian_with systemd libsystemd-shared libsystemd0 || true
tool=root/usr/bin/systemd-analyze
[ -x "$tool" ] || tool=root/bin/systemd-analyze
for library in root/usr/lib/*/systemd root/lib/*/systemd root/usr/lib/*-linux-gnu; do
    [ -d "$library" ] && export LD_LIBRARY_PATH="$here/$library:${LD_LIBRARY_PATH:-}"
done

verify() {
    printf '[Service]\nExecStart=%s\n%s\n' "$1" "$2" > as.service
    code=0
    "$tool" verify ./as.service 2> said.txt || code=$?
    grep -q "as.service" said.txt && said=named || said="not named"
    echo "$1 $2 | $said | exit code $code"
}
{
    verify /bin/true ProtectSystem=strict
    verify /bin/true ProtectSytem=strict
    verify /bin/true NoNewPrivileges=maybe
    verify /bin/true SystemCallFilter=@system-servce
    verify /bin/true CapabilityBoundingSet=CAP_NET_BINDSERVICE
    verify /bin/not-there ProtectSystem=strict
} > now.txt
expect now.txt <<'SEEN'
/bin/true ProtectSystem=strict | not named | exit code 0
/bin/true ProtectSytem=strict | named | exit code 0
/bin/true NoNewPrivileges=maybe | named | exit code 0
/bin/true SystemCallFilter=@system-servce | named | exit code 0
/bin/true CapabilityBoundingSet=CAP_NET_BINDSERVICE | not named | exit code 0
/bin/not-there ProtectSystem=strict | named | exit code 1
SEEN
