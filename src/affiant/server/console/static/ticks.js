// A box in the head of a table ticks those of its rows.
for (const all of document.querySelectorAll("[data-ticks]")) {
  const boxes = () => all.closest("table").querySelectorAll("tbody input[type=checkbox]");
  all.addEventListener("change", () => { for (const box of boxes()) box.checked = all.checked; });
}
