// The page of a user's own passkeys: makes a new one.

import { answer, supported } from "./passkeys.js";

const form = document.querySelector("form[data-passkey='new']");
if (form) {
  const error = form.querySelector("[role='alert']");
  const fail = (text) => {
    error.textContent = text;
    error.hidden = false;
  };
  if (supported()) form.querySelector("button").disabled = false;
  else fail("This browser has no passkeys.");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    error.hidden = true;
    try {
      const label = form.elements.label.value;
      await answer("create", form.dataset.options, form.dataset.answer, { label }, form.elements.csrf.value);
      location.reload();
    } catch (problem) {
      fail(problem.message);
    }
  });
}
