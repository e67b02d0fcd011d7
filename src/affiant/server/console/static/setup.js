// The first client and its first token: the key is made here, and its private half never leaves this tab.
import { say } from "./console.js";
import { encode, generate, read, sign } from "./keys.js";
import { swap } from "./swap.js";

const ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const LIFETIME = 300; // seconds that the assertion of the curl line is valid
let key = null;

const find = (id) => document.getElementById(id);

async function register(form) {
  const made = await generate("ES256");
  form.elements.jwks.value = JSON.stringify({ keys: [made.publicJwk] });
  const response = await swap(form.action, ["steps", "problem"], { method: "POST", body: new URLSearchParams(new FormData(form)) });
  if (!response.ok) return;
  key = made;
  save();
  await offer();
}

/** The one file that a program needs, as `affiant client new` writes it. */
function credentials() {
  const { issuer, client } = find("token").dataset;
  const file = { affiant: 1, issuer, client_id: client, auth_method: "private_key_jwt", alg: key.alg, kid: key.kid, key: key.privateJwk };
  return new Blob([`${JSON.stringify(file, null, 2)}\n`], { type: "application/json" });
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(credentials());
  link.download = find("token").dataset.file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say(`${link.download} was downloaded`);
}

/** Show what can be done with a key in this tab. */
async function offer() {
  if (!key || !find("here")) return;
  find("without").hidden = true;
  find("here").hidden = false;
  find("curl").textContent = curl(await prove());
}

async function prove() {
  const { issuer, client, now, read: seen } = find("token").dataset;
  // By the server's clock: that of this computer may be wrong.
  const at = Math.floor(Number(now) + (Date.now() - Number(seen)) / 1000);
  const jti = encode(crypto.getRandomValues(new Uint8Array(16)));
  const header = { typ: "client-authentication+jwt", alg: key.alg, kid: key.kid };
  return sign(key, header, { iss: client, sub: client, aud: issuer, iat: at, exp: at + LIFETIME, jti });
}

function form(assertion) {
  return { grant_type: "client_credentials", client_assertion_type: ASSERTION_TYPE, client_assertion: assertion };
}

function curl(assertion) {
  const lines = Object.entries(form(assertion)).map(([name, value]) => ` \\\n  -d ${name}=${value}`);
  return `curl ${find("token").dataset.endpoint}${lines.join("")}`;
}

async function ask() {
  const assertion = await prove();
  const body = new URLSearchParams(form(assertion));
  find("request").textContent = curl(assertion);
  const response = await fetch(find("token").dataset.path, { method: "POST", body, credentials: "omit" });
  const text = await response.text();
  find("answer").textContent = `HTTP ${response.status}\n${pretty(text)}`;
  find("exchange").hidden = false;
  await swap(location.pathname, ["arrived", "first-token"]);
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** Do it, and say what went wrong at the edge of the page. */
function attempt(work, button) {
  button.disabled = true;
  work().catch((error) => say(error.message)).finally(() => { button.disabled = false; });
}

document.addEventListener("submit", (event) => {
  if (event.target.id !== "client-form") return;
  event.preventDefault();
  attempt(() => register(event.target), event.submitter);
});

document.addEventListener("click", (event) => {
  const { id } = event.target;
  if (id === "get") attempt(ask, event.target);
  if (id === "save") save();
  if (id === "again") attempt(offer, event.target);
});

document.addEventListener("change", async (event) => {
  if (event.target.id !== "key-file" || !event.target.files.length) return;
  try {
    key = await read(await event.target.files[0].text());
    await offer();
  } catch (error) {
    say(error.message);
  }
});

/** Note when this tab has read the server's time. */
function note() {
  if (find("token")) find("token").dataset.read ??= String(Date.now());
  if (find("client-form")) find("client-form").hidden = false;
}

new MutationObserver(note).observe(find("main"), { childList: true, subtree: true });
note();
