// Parts of a page that keep themselves up to date: every element with data-refresh, which is the number of seconds.
// It stops while the page is hidden or paused, while the reader is in that part, and when the server leaves it out.
import { swap } from "./swap.js";

const STEP = 2; // seconds between two looks at what is due
const LONGEST = 60; // seconds between two tries while they fail
const read = new Map(); // when each part was read, by its id
let failures = 0;
let isPaused = false;

/** The parts whose time has come, and in which the reader is not. */
function due(now) {
  const selected = getSelection();
  return [...document.querySelectorAll("[data-refresh][id]")].filter((part) => {
    if (!read.has(part.id)) read.set(part.id, now);
    const seconds = Math.min(Number(part.dataset.refresh) * 2 ** failures, Math.max(LONGEST, part.dataset.refresh));
    const isRead = part.contains(document.activeElement) || (!selected.isCollapsed && selected.containsNode(part, true));
    return now - read.get(part.id) >= seconds && !isRead;
  });
}

/** The page itself, without what one visit of it had to say; `parts` are all that is wanted of it. */
function here(parts) {
  const url = new URL(location.href);
  url.searchParams.delete("done");
  url.searchParams.set("parts", parts.join(" "));
  return url;
}

async function refresh() {
  const now = Date.now() / 1000;
  const ids = document.hidden || isPaused ? [] : due(now).map((part) => part.id);
  for (const id of ids) read.set(id, now);
  try {
    if (ids.length) {
      const { ok, redirected } = await swap(here(ids), ids);
      if (redirected) location.reload(); // the session has ended
      failures = ok ? 0 : failures + 1;
    }
  } catch {
    failures += 1;
  }
  setTimeout(refresh, 1000 * STEP);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-pause]");
  if (!button) return;
  isPaused = !isPaused;
  button.setAttribute("aria-pressed", String(isPaused));
  button.textContent = isPaused ? "Resume" : "Pause";
  const chip = button.previousElementSibling;
  chip.textContent = isPaused ? "paused" : "live";
  chip.classList.toggle("good", !isPaused);
});

for (const mark of document.querySelectorAll("[data-live]")) mark.hidden = false;
refresh();
