// What every page has: local times, copying by a click, keys. Pages are complete without it.

const live = document.getElementById("live");
let hide;

/** Say a sentence at the edge of the page, also to screen readers. */
export function say(text) {
  live.textContent = text;
  live.classList.add("shown");
  clearTimeout(hide);
  hide = setTimeout(() => live.classList.remove("shown"), 2500);
}

/** Add the local time to every instant below an element. */
export function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const local = new Date(time.dateTime).toLocaleString();
    time.dataset.local = local;
    time.title = `${local} here, ${time.dateTime} UTC`;
  }
}

/** Make an element: its tag, attributes, and children, which are elements or text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Whether the reader is typing. */
function types(event) {
  return event.target.closest("input, textarea, select, [contenteditable]") !== null;
}

async function copy(element) {
  if (!getSelection().isCollapsed) return;
  await navigator.clipboard.writeText(element.dataset.copy || element.textContent.trim());
  say("Copied");
}

document.addEventListener("click", (event) => {
  const element = event.target.closest("[data-copy]");
  if (element) copy(element).catch(() => say("The browser did not allow copying"));
});

const pages = new Map([...document.querySelectorAll(".bar nav a[data-key]")].map((link) => [link.dataset.key, link]));

let isGoing = false;

const search = document.getElementById("search");
// A token or an assertion, wherever it is in what was pasted. In an address it would be read in histories and logs.
const CREDENTIAL = /eyJ[\w-]{8,}\./;
const SECRET = /BEGIN [A-Z ]*PRIVATE KEY|client_secret=|"d"\s*:/;

for (const form of document.querySelectorAll("form[role=search]")) {
  form.addEventListener("submit", (event) => {
    const box = form.elements.q;
    if (!CREDENTIAL.test(box.value) && !SECRET.test(box.value)) return;
    event.preventDefault();
    if (SECRET.test(box.value)) say("That looks like a secret: it was not sent");
    else debug(box.value);
    box.value = "";
  });
}

/** Open the debugger with this, which a POST keeps out of the address. */
function debug(text) {
  const form = make("form", { method: "post", action: search.form.dataset.debugger, hidden: "" });
  for (const [name, value] of [["csrf", document.querySelector(".out [name=csrf]").value], ["request", text]]) {
    form.append(make("input", { type: "hidden", name, value }));
  }
  document.body.append(form);
  form.submit();
}

/** Move along the results of a search: from the box to the first one, and back from it. */
function walk(event) {
  const stops = [...document.querySelectorAll("[data-results] a")];
  const place = stops.indexOf(document.activeElement);
  if (!stops.length || (place < 0 && document.activeElement !== search)) return;
  event.preventDefault();
  const next = place + (event.key === "ArrowDown" ? 1 : -1);
  (stops[Math.min(next, stops.length - 1)] ?? search).focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") walk(event);
  if (event.key === "Escape" && event.target === search) {
    search.value = "";
    document.getElementById("main").focus();
  }
  if (types(event)) return;
  if (isGoing) {
    isGoing = false;
    const link = pages.get(event.key);
    if (link) { event.preventDefault(); link.click(); }
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    search?.focus();
  } else if (event.key === "g") {
    isGoing = true;
    setTimeout(() => { isGoing = false; }, 1500);
  } else if (event.key === "?") {
    help().showModal();
  }
});

function help() {
  const known = document.getElementById("keys");
  if (known) return known;
  const rows = [["/", "search"], ["↓ ↑", "along the results"], ["Esc", "leave the search, close this"], ["?", "these keys"]];
  for (const [key, link] of pages) rows.push([`g ${key}`, link.textContent]);
  const list = make("dl", { class: "pairs" });
  for (const [key, text] of rows) list.append(make("dt", {}, make("kbd", {}, key)), make("dd", {}, text));
  const close = make("button", { class: "main" }, "Close");
  const dialog = make("dialog", { id: "keys", "aria-labelledby": "keys-title" }, make("h2", { id: "keys-title" }, "Keys"), list, close);
  close.addEventListener("click", () => dialog.close());
  document.body.append(dialog);
  return dialog;
}

localTimes(document);
