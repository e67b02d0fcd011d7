// See a revocation arrive in the feed that guards read, and say after how long.
const place = document.getElementById("feed");
const STEP = 200, LONGEST = 20000; // milliseconds

/** The payload of a compact JWS. Its signature is for guards: here the page of the same server is shown. */
function claims(jws) {
  const part = jws.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (one) => one.charCodeAt(0))));
}

async function has(feed, digest, at) {
  const response = await fetch(feed, { cache: "no-store" });
  if (!response.ok) return false;
  const found = claims(await response.text());
  return found.revoked.includes(digest) || found.revoked_before[digest] >= at;
}

async function watch() {
  const { feed, digest, at, ago } = place.dataset;
  const began = performance.now();
  while (performance.now() - began < LONGEST) {
    if (await has(feed, digest, Number(at))) {
      const seconds = Number(ago) + (performance.now() - began) / 1000;
      place.textContent = `In the feed, ${seconds.toFixed(1)} s after the revocation at most. Guards that read it refuse these tokens.`;
      place.dataset.seen = "yes";
      return;
    }
    await new Promise((done) => setTimeout(done, STEP));
  }
  place.textContent = "Not in the feed yet: check the health of the server in Settings, then reload this page.";
}

if (place) watch().catch(() => { place.textContent = "The feed cannot be read from here."; });
