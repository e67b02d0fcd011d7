#!/usr/bin/env bash
# requests-oauth2client refuses a key without kid with a message about alg
#
# Guess:   PrivateKeyJwt takes a JWK without "kid" (RFC 7517 section 4.5: optional), and one without "alg" is RS256.
# Version: requests-oauth2client 1.8.0
# Seen:    a key with "alg" and without "kid" is refused; so is one with "kid" and without "alg". Both messages
#          speak of the private key and alg, neither of kid.
# So:      give the JWK both members.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with requests-oauth2client==1.8.0

cat > seen.py <<'PY'
from jwskate import Jwk
from requests_oauth2client import PrivateKeyJwt

for members in ({"alg": "ES256"}, {"kid": "k"}, {"alg": "ES256", "kid": "k"}):
    key = Jwk.generate(alg="ES256").to_dict()
    for name in ("alg", "kid"):
        key.pop(name, None)
    try:
        PrivateKeyJwt("billing", {**key, **members})
        print(sorted(members), "taken")
    except Exception as error:
        print(sorted(members), type(error).__name__, "-", str(error).splitlines()[0])
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
['alg'] InvalidClientAssertionSigningKeyOrAlg - An asymmetric private signing key, and an alg that is supported by the signing key is required.
['kid'] InvalidClientAssertionSigningKeyOrAlg - An asymmetric private signing key, and an alg that is supported by the signing key is required.
['alg', 'kid'] taken
SEEN
