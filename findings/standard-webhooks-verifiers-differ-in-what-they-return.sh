#!/usr/bin/env bash
# Verifiers of Standard Webhooks differ in what they return, and three of four take one JSON value alone
#
# Guess:   verify() judges the signature of the bytes, and what is in them is the caller's matter; the four libraries of
#          one specification return the same.
# Version: standardwebhooks 1.1.0 and svix 2.9.1 (Python), standardwebhooks 1.1.1 and svix 1.99.1 (Node)
# Seen:    with a right signature over lines of JSON (NDJSON), three raise their language's JSON error, and no error of
#          their own; svix for Python accepts. But it returns None for every body, where the three return the value.
# So:      to receive batches as lines, catch the JSON error apart from the verification error (it comes after the
#          signature was found right), or use svix for Python; parse the body that you passed to verify().
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
node_with standardwebhooks@1.1.1 svix@1.99.1 &
python_with standardwebhooks==1.1.0 svix==2.9.1
wait $!

cat > ask.py <<'PY'
import datetime, importlib, json

SECRET = "whsec_" + "c2VjcmV0" * 4
for name in ("standardwebhooks", "svix"):
    library = importlib.import_module(name)
    for body in ('{"n":1}', '{"n":1}\n{"n":2}\n'):
        webhook, now = library.Webhook(SECRET), datetime.datetime.now(datetime.timezone.utc)
        headers = {"webhook-id": "one", "webhook-timestamp": str(int(now.timestamp()))}
        for signature, said in ((webhook.sign("one", now, body), "signed"), ("v1,AAAA", "not signed")):
            try:
                seen = f"returns {json.dumps(webhook.verify(body, {**headers, 'webhook-signature': signature}))}"
            except Exception as error:
                seen = type(error).__name__
            print("Python", name, f"{body.count('n')} records", said, seen, sep=" | ")
PY
cat > ask.mjs <<'JS'
import * as standardwebhooks from "standardwebhooks";
import * as svix from "svix";

const secret = "whsec_" + "c2VjcmV0".repeat(4);
for (const [name, library] of Object.entries({ standardwebhooks, svix })) {
  for (const body of ['{"n":1}', '{"n":1}\n{"n":2}\n']) {
    const webhook = new library.Webhook(secret), now = new Date();
    const headers = { "webhook-id": "one", "webhook-timestamp": String(Math.floor(now / 1000)) };
    for (const [signature, said] of [[webhook.sign("one", now, body), "signed"], ["v1,AAAA", "not signed"]]) {
      let seen;
      try {
        seen = `returns ${JSON.stringify(webhook.verify(body, { ...headers, "webhook-signature": signature }))}`;
      } catch (error) {
        seen = error.constructor.name;
      }
      console.log(["Node", name, `${body.split("n").length - 1} records`, said, seen].join(" | "));
    }
  }
}
JS
{ "$python" ask.py; node ask.mjs; } > now.txt
expect now.txt <<'SEEN'
Python | standardwebhooks | 1 records | signed | returns {"n": 1}
Python | standardwebhooks | 1 records | not signed | WebhookVerificationError
Python | standardwebhooks | 2 records | signed | JSONDecodeError
Python | standardwebhooks | 2 records | not signed | WebhookVerificationError
Python | svix | 1 records | signed | returns null
Python | svix | 1 records | not signed | WebhookVerificationError
Python | svix | 2 records | signed | returns null
Python | svix | 2 records | not signed | WebhookVerificationError
Node | standardwebhooks | 1 records | signed | returns {"n":1}
Node | standardwebhooks | 1 records | not signed | WebhookVerificationError
Node | standardwebhooks | 2 records | signed | SyntaxError
Node | standardwebhooks | 2 records | not signed | WebhookVerificationError
Node | svix | 1 records | signed | returns {"n":1}
Node | svix | 1 records | not signed | WebhookVerificationError
Node | svix | 2 records | signed | SyntaxError
Node | svix | 2 records | not signed | WebhookVerificationError
SEEN
