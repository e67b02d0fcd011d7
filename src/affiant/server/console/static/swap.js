// Parts of a page that change without loading it again: the server renders them, as it renders the whole page.
import { localTimes } from "./console.js";

const policy = self.trustedTypes
  ? trustedTypes.createPolicy("affiant", { createHTML: (text) => text })
  : { createHTML: (text) => text };

/** Fetch a page of the console, and put its elements with these ids in the places of ours. */
export async function swap(url, ids, options = {}) {
  const target = new URL(url, location.href);
  if (target.origin !== location.origin) throw new Error("only pages of the console");
  const response = await fetch(target, { ...options, credentials: "same-origin" });
  const text = await response.text();
  // Every value in a page of the console is escaped by its template, and the policy of the page forbids inline script.
  const parsed = new DOMParser().parseFromString(policy.createHTML(text), "text/html");
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
