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

const pages = new Map();
for (const link of document.querySelectorAll(".bar nav a[data-key]")) {
  if (!pages.has(link.dataset.key)) pages.set(link.dataset.key, link);
}
// Two names begin with the same letter: these have the second one.
for (const [key, name] of [["p", "APIs"], ["v", "Audit"], ["k", "Signing keys"], ["x", "Trusts"]]) {
  const link = [...document.querySelectorAll(".bar nav a")].find((one) => one.textContent === name);
  if (link) pages.set(key, link);
}

let isGoing = false;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || types(event)) return;
  if (isGoing) {
    isGoing = false;
    const link = pages.get(event.key);
    if (link) { event.preventDefault(); link.click(); }
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("search")?.focus();
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
  const rows = [["/", "search"], ["?", "these keys"]];
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
