// Parts of a page that keep themselves up to date: every element with data-refresh, which is the number of seconds.
// It stops while the page is hidden or paused, while the reader is in that part, and when the server leaves it out.
import { swap } from "./swap.js";

const LATER = 10;
const LONGEST = 60;
let failures = 0;
let isPaused = false;

function parts() {
  return [...document.querySelectorAll("[data-refresh][id]")];
}

function wait() {
  // Another script may put such a part into the page later.
  const seconds = Math.min(LATER, ...parts().map((part) => Number(part.dataset.refresh)));
  setTimeout(refresh, 1000 * Math.min(seconds * 2 ** failures, LONGEST));
}

/** The page itself, without what one visit of it had to say. */
function here() {
  const url = new URL(location.href);
  url.searchParams.delete("done");
  return url;
}

async function refresh() {
  const due = parts().filter((part) => !part.contains(document.activeElement) && getSelection().isCollapsed);
  if (due.length && !document.hidden && !isPaused) {
    try {
      const response = await swap(here(), due.map((part) => part.id));
      failures = response.ok ? 0 : failures + 1;
      document.dispatchEvent(new CustomEvent("refreshed"));
    } catch {
      failures += 1;
    }
  }
  wait();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-pause]");
  if (!button) return;
  isPaused = !isPaused;
  button.setAttribute("aria-pressed", String(isPaused));
});

for (const button of document.querySelectorAll("[data-pause]")) button.hidden = false;
wait();
