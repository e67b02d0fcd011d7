// The debugger: the time slider judges again, and a file gives its last request to /token.
import { say } from "./console.js";
import { swap } from "./swap.js";

const form = document.getElementById("judge");
const offset = document.getElementById("offset");
const text = document.getElementById("request");
let waiting, current;

/** Judge the form as it is now, without loading the page again. */
export async function judge() {
  current?.abort();
  current = new AbortController();
  const body = new URLSearchParams(new FormData(form));
  try {
    await swap(form.action, ["judged"], { method: "POST", body, signal: current.signal });
  } catch (error) {
    if (error.name !== "AbortError") say("The server did not answer");
  }
}

offset.addEventListener("input", () => {
  document.getElementById("moved").textContent = `${offset.value} s`;
  clearTimeout(waiting);
  if (text.value.trim()) waiting = setTimeout(judge, 150);
});

document.getElementById("from-file").hidden = false;
document.getElementById("file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  const given = await file.text();
  text.value = entry(given) ?? given.slice(0, 60000);
  judge();
});

/** The last request to /token in a HAR file, without its response; null for another file. */
function entry(given) {
  try {
    const entries = JSON.parse(given).log.entries;
    const { request } = entries.findLast((one) => one.request.url.includes("/token")) ?? entries.at(-1);
    return JSON.stringify({ request });
  } catch {
    return null;
  }
}
