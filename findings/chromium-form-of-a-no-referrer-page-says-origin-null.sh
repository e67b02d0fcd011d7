#!/usr/bin/env bash
# A sign-in form on a page with Referrer-Policy: no-referrer is sent to its own server with Origin: null
#
# Guess:   no-referrer, the example of RFC 9700 section 4.2.4 for the pages of an authorization server, concerns Referer.
#          A POST to the page's own origin names that origin in Origin, by form as by fetch.
# Version: Chromium 153
# Seen:    fetch names it; the form says "null", as the Fetch standard has it for requests that are not CORS. All the same
#          Sec-Fetch-Site is same-origin. The policies same-origin and strict-origin keep Origin. rel=noreferrer at
#          the form, in place of the policy, removes neither Origin nor Referer.
# So:      a server that compares Origin serves its forms with Referrer-Policy: same-origin, as affiant's console does.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
chromium_with

cat > seen.mjs <<'JS'
import { answers, open } from "./chromium.mjs";

const form = (rel) => `<form method=post action=/form ${rel}><button>Sign in</button></form>`;
const pages = [
  ["no policy", {}, ""],
  ["no-referrer", { "referrer-policy": "no-referrer" }, ""],
  ["no policy, the form has rel=noreferrer", {}, "rel=noreferrer"],
  ["same-origin", { "referrer-policy": "same-origin" }, ""],
  ["strict-origin", { "referrer-policy": "strict-origin" }, ""],
];
for (const [name, headers, rel] of pages) {
  const seen = [];
  answers.body = `<!doctype html>${form(rel)}`;
  answers.headers = headers;
  answers.hear = ({ method, url, headers: { host, origin, referer, "sec-fetch-site": site } }) => {
    if (method !== "POST") return;
    seen.push([url, origin === `http://${host}` ? "its origin" : origin, site, referer ? "Referer" : "no Referer"]);
  };
  const page = await open("localhost");
  await page.evaluate(() => fetch("/fetch", { method: "POST" }).then((answer) => answer.text()));
  await Promise.all([page.waitForURL("**/form"), page.click("button")]);
  console.log(`${name}: ${seen.map((one) => one.join(" ")).join(", ")}`);
}
process.exit(0);
JS
node seen.mjs > now.txt
expect now.txt <<'SEEN'
no policy: /fetch its origin same-origin Referer, /form its origin same-origin Referer
no-referrer: /fetch its origin same-origin no Referer, /form null same-origin no Referer
no policy, the form has rel=noreferrer: /fetch its origin same-origin Referer, /form its origin same-origin Referer
same-origin: /fetch its origin same-origin Referer, /form its origin same-origin Referer
strict-origin: /fetch its origin same-origin Referer, /form its origin same-origin Referer
SEEN
