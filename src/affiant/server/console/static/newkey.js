// A client's key, made in this tab: its public half goes to the server, its private half into a file for the service.
import { make, say } from "./console.js";
import { generate } from "./keys.js";
import { swap } from "./swap.js";

const ALG = "ES256";

/** Offer a credentials file with this key: the browser downloads it, and a link does so again. */
function download(members, name, key) {
  const file = { ...members, alg: key.alg, kid: key.kid, key: key.privateJwk };
  const blob = new Blob([`${JSON.stringify(file, null, 2)}\n`], { type: "application/json" });
  const link = make("a", { class: "button", href: URL.createObjectURL(blob), download: name }, "Download it again");
  link.click();
  return link;
}

async function send(form, submitter) {
  const said = document.getElementById("newkey-said");
  said.textContent = "";
  const key = await generate(ALG);
  const body = new URLSearchParams(new FormData(form, submitter));
  body.set("public_key", JSON.stringify(key.publicJwk));
  const response = await swap(form.action, ["main"], { method: "POST", body });
  const made = document.getElementById("registered");
  watch();
  document.getElementById("main").focus();
  if (!response.ok || !made) return;
  const members = JSON.parse(made.dataset.members);
  const link = download(members, made.dataset.file, key);
  document.getElementById("newkey-done").append(
    make("section", { class: "note good", role: "status" },
      make("h2", {}, `Downloaded: ${made.dataset.file}`),
      make("p", {}, "The private key was made in this tab and is in that file alone: move it to the service, readable by it only (chmod 600)."),
      make("p", {}, link)),
  );
  say("Registered");
}

/** Whether this form is to be sent with a key of this tab. */
function wants(form) {
  return form.dataset.newkey === "always" || new FormData(form).get("by") === form.dataset.newkey;
}

function fold(form) {
  const chosen = new FormData(form).get("by");
  for (const part of form.querySelectorAll("[data-for]")) part.hidden = !part.dataset.for.split(" ").includes(chosen);
}

function watch() {
  for (const form of document.querySelectorAll("form[data-newkey]")) {
    fold(form);
    form.addEventListener("change", () => fold(form));
    form.addEventListener("submit", (event) => {
      if (!wants(form) || event.submitter?.name === "as_command") return;
      event.preventDefault();
      send(form, event.submitter).catch((error) => {
        document.getElementById("newkey-said").textContent = `The key could not be made here: ${error.message}`;
      });
    });
  }
}

watch();
