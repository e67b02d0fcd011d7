// Build an assertion in the tab, judge it, and send it. The private key is only in this module.
import { judge } from "./debugger.js";
import { generate, read, sign } from "./keys.js";
import { parse } from "./swap.js";

const at = (id) => document.getElementById(id);
const section = at("builder");
let key = null;

function useKey(made, text) {
  key = made;
  at("key-state").textContent = `${text}: ${key.alg}, kid ${key.kid}. It stays in this tab.`;
  at("register-key").value = JSON.stringify(key.publicJwk, null, 1);
  at("register").hidden = false;
  build();
}

at("make-key").addEventListener("click", async () => useKey(await generate(at("alg").value), "A new key"));
at("key-file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  try {
    const text = await file.text();
    useKey(await read(text), file.name);
    named(text);
  } catch (error) {
    at("key-state").textContent = error.message;
  }
});

/** A credentials file also names its client. */
function named(text) {
  if (!text.trim().startsWith("{")) return;
  const { client_id: client } = JSON.parse(text);
  if (typeof client === "string") at("client").value = client;
  build();
}

function parts() {
  const client = at("client").value.trim();
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: client, sub: client, aud: at("aud").value.trim(), iat: now, exp: now + Number(at("life").value), jti: crypto.randomUUID() };
  const typ = at("typ").value;
  return [{ ...(typ ? { typ } : {}), alg: key.alg, kid: key.kid }, { ...claims, ...JSON.parse(at("more").value || "{}") }];
}

async function build() {
  at("register-client").value = at("client").value.trim();
  if (!key) return "";
  try {
    at("signed").value = await sign(key, ...parts());
  } catch (error) {
    at("signed").value = "";
    at("key-state").textContent = error instanceof SyntaxError ? "More claims: this is not JSON" : error.message;
  }
  return at("signed").value;
}

at("claims").addEventListener("input", build);
at("claims").addEventListener("submit", (event) => event.preventDefault());

at("judge-it").addEventListener("click", async () => {
  at("request").value = await build();
  if (!at("request").value) return;
  await judge();
  at("judged").scrollIntoView();
});

at("send-it").addEventListener("click", async () => {
  const assertion = await build();
  if (!assertion) return;
  const body = new URLSearchParams({
    grant_type: "client_credentials",
    client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    client_assertion: assertion,
  });
  for (const name of ["scope", "resource"]) {
    const value = at(`ask-${name}`).value.trim();
    if (value) body.set(name, value);
  }
  at("exchange").hidden = false;
  at("sent").textContent = `POST ${section.dataset.token} HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\n\n${body.toString().replaceAll("&", "\n&")}`;
  at("received").textContent = "";
  const response = await fetch(section.dataset.token, { method: "POST", body, credentials: "omit" });
  const answer = await response.json();
  at("received").textContent = `HTTP ${response.status}\n\n${JSON.stringify(answer, null, 2)}`;
  const trace = answer.trace_id ?? response.headers.get("x-trace-id");
  at("event").hidden = !trace;
  if (trace) at("event").href = section.dataset.events + encodeURIComponent(trace);
});

// The page stays: with another one the key of this tab would be gone.
at("register").addEventListener("submit", async (event) => {
  if (event.submitter.name) {
    event.target.target = "_blank";
    return;
  }
  event.preventDefault();
  const response = await fetch(event.target.action, { method: "POST", body: new URLSearchParams(new FormData(event.target)) });
  const shown = parse(await response.text()).querySelector("main .note");
  at("registered").textContent = response.ok ? "Registered. The server accepts it within a second." : shown?.innerText ?? "Not registered";
});

at("build").hidden = false;
