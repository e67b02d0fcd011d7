// Keys in this tab: made or read from a file here, and used here. A private key is sent nowhere.

const HASHES = { 256: "SHA-256", 384: "SHA-384", 512: "SHA-512" };
const CURVES = { ES256: "P-256", ES384: "P-384", ES512: "P-521" };
// What RFC 7638 section 3.2 takes of each type of key, in the order of their names.
const MEMBERS = { EC: ["crv", "kty", "x", "y"], RSA: ["e", "kty", "n"], OKP: ["crv", "kty", "x"] };
const OLD_PEM = "WebCrypto reads keys in PKCS #8: run  openssl pkcs8 -topk8 -nocrypt -in KEY.pem -out NEW.pem";

/** The algorithms of keys that a browser can make. */
export const ALGORITHMS = ["ES256", "ES384", "ES512", "EdDSA", "RS256", "PS256"];

/** Bytes as base64url without padding (RFC 7515 section 2). */
export function encode(bytes) {
  let text = "";
  for (const byte of new Uint8Array(bytes)) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The thumbprint of a JWK (RFC 7638), which is its kid here. */
export async function thumbprint(jwk) {
  const members = Object.fromEntries(MEMBERS[jwk.kty].map((name) => [name, jwk[name]]));
  return encode(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(members))));
}

/** Make a key: { alg, kid, publicJwk, privateJwk }. */
export async function generate(alg) {
  const rsa = { modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) };
  const pair = await crypto.subtle.generateKey({ ...parameters(alg), ...rsa }, true, ["sign", "verify"]);
  return describe(await crypto.subtle.exportKey("jwk", pair.privateKey), alg);
}

/** Read the text of a private key: a JWK, a credentials file, or PKCS #8 as PEM. Throws an Error that says what to do. */
export async function read(text) {
  const given = text.trim();
  if (given.startsWith("{")) return readJson(given);
  const pem = /-----BEGIN ([A-Z ]+)-----([A-Za-z0-9+/=\s]+)-----END \1-----/.exec(given);
  if (!pem || pem[1] !== "PRIVATE KEY") throw new Error(pemFault(given));
  const bytes = Uint8Array.from(atob(pem[2].replace(/\s/g, "")), (one) => one.charCodeAt(0));
  for (const alg of ALGORITHMS) {
    const key = await crypto.subtle.importKey("pkcs8", bytes, parameters(alg), true, ["sign"]).catch(() => null);
    if (key) return describe(await crypto.subtle.exportKey("jwk", key), alg);
  }
  throw new Error("this key is of a type that the browser cannot use");
}

/** Sign a header and claims: a compact JWS. The header is sent as it is. */
export async function sign(key, header, claims) {
  const input = [header, claims].map((part) => encode(new TextEncoder().encode(JSON.stringify(part)))).join(".");
  const own = await crypto.subtle.importKey("jwk", bare(key.privateJwk), parameters(key.alg), false, ["sign"]);
  const signature = await crypto.subtle.sign(signing(key.alg), own, new TextEncoder().encode(input));
  return `${input}.${encode(signature)}`;
}

function readJson(text) {
  let given;
  try {
    given = JSON.parse(text);
  } catch {
    throw new Error("this file begins like JSON, but is none");
  }
  const jwk = given.key ?? given.keys?.find((one) => one.d) ?? given;
  if (!jwk.kty || !MEMBERS[jwk.kty]) throw new Error("this JSON has no key that a browser can use: EC, OKP or RSA");
  if (!jwk.d) throw new Error("this is a public key: signing needs the private one");
  return describe(jwk, jwk.alg ?? defaultAlg(jwk));
}

function defaultAlg(jwk) {
  if (jwk.kty === "RSA") return "RS256";
  return jwk.kty === "OKP" ? "EdDSA" : Object.keys(CURVES).find((alg) => CURVES[alg] === jwk.crv);
}

function pemFault(text) {
  if (/BEGIN ENCRYPTED PRIVATE KEY/.test(text)) return `this key is encrypted. ${OLD_PEM}`;
  if (/BEGIN (EC|RSA) PRIVATE KEY/.test(text)) return OLD_PEM;
  if (/BEGIN (PUBLIC KEY|CERTIFICATE)/.test(text)) return "this is a public key: signing needs the private one";
  return "this is no private key: give a JWK, a credentials file, or PKCS #8 as PEM";
}

async function describe(jwk, alg) {
  const kid = await thumbprint(jwk);
  const publicJwk = { ...Object.fromEntries(MEMBERS[jwk.kty].map((name) => [name, jwk[name]])), kid: jwk.kid ?? kid, alg };
  return { alg, kid: jwk.kid ?? kid, publicJwk, privateJwk: { ...bare(jwk), kid: jwk.kid ?? kid, alg } };
}

/** A JWK without the members that say how it may be used: those of a file need not fit this use. */
function bare(jwk) {
  const { ext, key_ops, use, alg, kid, ...members } = jwk;
  return members;
}

function parameters(alg) {
  if (CURVES[alg]) return { name: "ECDSA", namedCurve: CURVES[alg] };
  if (alg === "EdDSA" || alg === "Ed25519") return { name: "Ed25519" };
  const name = { R: "RSASSA-PKCS1-v1_5", P: "RSA-PSS" }[alg[0]];
  if (!name) throw new Error(`a browser cannot sign with ${alg}`);
  return { name, hash: HASHES[alg.slice(2)] };
}

function signing(alg) {
  if (CURVES[alg]) return { name: "ECDSA", hash: HASHES[alg.slice(2)] };
  return alg[0] === "P" ? { name: "RSA-PSS", saltLength: Number(alg.slice(2)) / 8 } : { name: parameters(alg).name };
}
