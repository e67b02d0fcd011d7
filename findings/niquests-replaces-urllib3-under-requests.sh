#!/usr/bin/env bash
# Installing niquests replaces urllib3 under requests and botocore, and pip goes on listing the one that is not used
#
# Guess:   niquests is one more package. requests and botocore use the urllib3 that `pip freeze` lists.
# Version: niquests 3.21.2 (urllib3-future 2.25.904), urllib3 2.8.0, requests 2.34.2, botocore 1.44.8
# Seen:    `import urllib3` is urllib3-future in the whole environment, also for requests and botocore. pip and
#          importlib.metadata still list urllib3 2.8.0, and pip check finds nothing. Uninstalling niquests changes
#          nothing; uninstalling urllib3-future as well leaves requests and botocore without any urllib3.
# So:      a report about requests, botocore or a pool of urllib3 needs urllib3.__version__, not pip's list. To go back,
#          reinstall urllib3 after both are gone.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with urllib3==2.8.0 requests==2.34.2 botocore==1.44.8

cat > seen.py <<'PY'
from importlib.metadata import version

try:
    import botocore.httpsession
    import requests.adapters
    import urllib3
except ImportError:
    print(f"  listed {version('urllib3')}, not one of the three can be imported")
    raise SystemExit
users = (requests.adapters.PoolManager, botocore.httpsession.PoolManager)
is_same = all(one is urllib3.PoolManager for one in users)
print(f"  listed {version('urllib3')}, imported {urllib3.__version__}, the one of requests and botocore: {is_same}")
PY
echo "without niquests:" > now.txt
"$python" seen.py >> now.txt
"$python" -m pip -qq --disable-pip-version-check --no-input install niquests==3.21.2 urllib3-future==2.25.904
echo "with niquests:" >> now.txt
"$python" seen.py >> now.txt
"$python" -m pip --disable-pip-version-check check >> now.txt
"$python" -m pip -qq uninstall -y niquests
echo "after pip uninstall niquests:" >> now.txt
"$python" seen.py >> now.txt
"$python" -m pip -qq uninstall -y urllib3-future
echo "after pip uninstall urllib3-future:" >> now.txt
"$python" seen.py >> now.txt
"$python" -m pip -qq --disable-pip-version-check --no-input install --force-reinstall --no-deps urllib3==2.8.0
echo "after urllib3 was installed again:" >> now.txt
"$python" seen.py >> now.txt
expect now.txt <<'SEEN'
without niquests:
  listed 2.8.0, imported 2.8.0, the one of requests and botocore: True
with niquests:
  listed 2.8.0, imported 2.25.904, the one of requests and botocore: True
No broken requirements found.
after pip uninstall niquests:
  listed 2.8.0, imported 2.25.904, the one of requests and botocore: True
after pip uninstall urllib3-future:
  listed 2.8.0, not one of the three can be imported
after urllib3 was installed again:
  listed 2.8.0, imported 2.8.0, the one of requests and botocore: True
SEEN
