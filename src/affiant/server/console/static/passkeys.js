// WebAuthn: options from the server, the answer of the authenticator to the server, both as JSON (WebAuthn section 5.1).

function decode(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function encode(buffer) {
  if (!buffer) return undefined;
  const binary = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Whether this browser has passkeys at this address. */
export function supported() {
  return window.isSecureContext && "PublicKeyCredential" in window;
}

async function post(url, body, csrf) {
  const headers = { "content-type": "application/json", accept: "application/json" };
  if (csrf) headers["x-csrf-token"] = csrf;
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  const said = await response.json();
  if (!response.ok) throw new Error(`Not done: ${said.title}. ${said.fix} Trace ${said.trace_id}.`);
  return said;
}

function read(options) {
  const known = (list) => (list || []).map((one) => ({ ...one, id: decode(one.id) }));
  const read = { ...options, challenge: decode(options.challenge) };
  if (options.user) read.user = { ...options.user, id: decode(options.user.id) };
  if (options.excludeCredentials) read.excludeCredentials = known(options.excludeCredentials);
  if (options.allowCredentials) read.allowCredentials = known(options.allowCredentials);
  return read;
}

function write(credential) {
  const { response } = credential;
  return {
    id: credential.id,
    rawId: encode(credential.rawId),
    type: credential.type,
    clientExtensionResults: {},
    response: {
      clientDataJSON: encode(response.clientDataJSON),
      attestationObject: encode(response.attestationObject),
      authenticatorData: encode(response.authenticatorData),
      signature: encode(response.signature),
      userHandle: encode(response.userHandle),
    },
  };
}

/** Get options, let the authenticator "get" or "create" a credential for them, and send it with more members. */
export async function answer(how, from, to, more = {}, csrf = undefined) {
  const publicKey = read(await post(from, {}, csrf));
  let credential;
  try {
    credential = await navigator.credentials[how]({ publicKey });
  } catch (error) {
    throw new Error(explain(error), { cause: error });
  }
  return post(to, { credential: write(credential), ...more }, csrf);
}

function explain(error) {
  switch (error.name) {
    case "NotAllowedError":
      return "Nothing was done: it was cancelled, took too long, or this device has no passkey for this server.";
    case "InvalidStateError":
      return "This device already has a passkey of yours for this server.";
    case "SecurityError":
      return "The browser allows no passkey at this address: open the console by https, at the server's own host name.";
    default:
      return `The browser could not use a passkey: ${error.message}`;
  }
}
