// Parts of a page that change without loading it again: the server renders them, as it renders the whole page.
import { localTimes } from "./console.js";

const policy = self.trustedTypes
  ? trustedTypes.createPolicy("affiant", { createHTML: (text) => text })
  : { createHTML: (text) => text };

/** Parse markup of the console's own templates, in which every value is escaped; no script in it runs. */
export function parse(text) {
  return new DOMParser().parseFromString(policy.createHTML(text), "text/html");
}

/** Fetch a page of the console, and put its elements with these ids in the places of ours. */
export async function swap(url, ids, options = {}) {
  const target = new URL(url, location.href);
  if (target.origin !== location.origin) throw new Error("only pages of the console");
  const response = await fetch(target, { ...options, credentials: "same-origin" });
  const text = await response.text();
  const parsed = parse(text);
  for (const id of ids) {
    const fresh = parsed.getElementById(id);
    const old = document.getElementById(id);
    if (!fresh || !old) continue;
    const moved = document.adoptNode(fresh);
    localTimes(moved);
    old.replaceWith(moved);
  }
  return response;
}
