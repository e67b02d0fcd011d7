// The activity as it happens: rows and plot come from the server, as the page has them.
import { localTimes, say } from "./console.js";
import { parse } from "./swap.js";

const MOST_ROWS = 300;
const control = document.getElementById("control");
const state = document.getElementById("state");
const pause = document.getElementById("pause");
const onRefuse = document.getElementById("on-refuse");
const rows = document.getElementById("rows");
let last = control.dataset.after;
let source = null;
let isPaused = false;

function show(text, kind) {
  state.textContent = text;
  state.className = `chip ${kind}`;
}

function open() {
  const url = new URL(control.dataset.stream, location.href);
  url.searchParams.set("after", last);
  source = new EventSource(url);
  source.addEventListener("open", () => show("live", "good"));
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) show("not live: load the page again", "bad");
    else show("reconnecting", "warn");
  });
  source.addEventListener("rows", take);
  source.addEventListener("over", (event) => {
    close();
    show(JSON.parse(event.data), "bad");
    pause.hidden = true;
  });
}

function close() {
  source?.close();
  source = null;
}

function take(event) {
  const news = JSON.parse(event.data);
  last = event.lastEventId;
  const fresh = parse(`<table><tbody>${news.rows}</tbody></table>`).querySelectorAll("tr");
  const known = rows.firstElementChild;
  for (const row of fresh) rows.insertBefore(document.adoptNode(row), known);
  while (rows.childElementCount > MOST_ROWS) rows.lastElementChild.remove();
  localTimes(rows);
  document.getElementById("none")?.remove();
  document.getElementById("plot").replaceWith(document.adoptNode(parse(news.plot).getElementById("plot")));
  if (news.cut) say("Some new records are not shown: load the page again");
  if (onRefuse.checked && [...fresh].some((row) => row.dataset.kind === "bad")) setPaused(true, "paused: refused");
}

function setPaused(wanted, text = "paused") {
  isPaused = wanted;
  pause.textContent = wanted ? "Resume" : "Pause";
  pause.setAttribute("aria-pressed", String(wanted));
  if (wanted) {
    close();
    show(text, "warn");
  } else {
    open();
  }
}

pause.addEventListener("click", () => setPaused(!isPaused));
// A browser has few connections to one server: hidden tabs give theirs back.
document.addEventListener("visibilitychange", () => {
  if (isPaused || pause.hidden) return;
  if (document.hidden) close();
  else if (!source) open();
});
control.hidden = false;
open();
