// The page of sign-in: takes the token out of the address, and answers with a passkey.

import { answer, supported } from "./passkeys.js";

function takeToken() {
  const found = location.hash.slice(1);
  if (!/^[A-Za-z0-9_-]{43}$/.test(found)) return;
  document.getElementById("token").value = found;
  // Not in the history, from which another user of this browser could read it.
  history.replaceState(null, "", location.pathname + location.search);
  document.querySelector("#link button").focus();
}

takeToken();
addEventListener("hashchange", takeToken); // a link that is opened on this page loads nothing

const form = document.querySelector("form[data-passkey='sign-in']");
if (form) {
  const error = form.querySelector("[role='alert']");
  const fail = (text) => {
    error.textContent = text;
    error.hidden = false;
  };
  if (supported()) form.querySelector("button").disabled = false;
  else fail("This browser has no passkeys: sign in with a link.");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    error.hidden = true;
    try {
      const then = form.elements.then.value;
      const done = await answer("get", form.dataset.options, form.dataset.answer, { then });
      location.assign(done.location);
    } catch (problem) {
      fail(problem.message);
    }
  });
}
