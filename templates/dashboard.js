"use strict";
// Sorts and narrows the table. The page is whole without it: what needs it is hidden until it runs.
(() => {
  const table = document.getElementById("runs");
  const body = table.tBodies[0];
  const form = document.getElementById("narrow");
  const said = document.getElementById("shown");
  const rows = [...body.rows].map((row, order) => ({
    row, order,
    text: row.textContent.toLowerCase(),
    marks: document.querySelectorAll(`.trend [data-row="${row.dataset.row}"]`),
  }));

  function value(entry, column) {
    const cell = entry.row.cells[column];
    const raw = cell.dataset.v === undefined ? cell.textContent.trim().toLowerCase() : cell.dataset.v;
    if (raw === "") return null;
    return cell.dataset.v === undefined || cell.dataset.text !== undefined ? raw : Number(raw);
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function sort(header, descending) {
    const column = header.cellIndex;
    for (const other of table.tHead.rows[0].cells) {
      if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    }
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const keyed = rows.map((entry) => [value(entry, column), entry]);
    keyed.sort(([a, one], [b, other]) => {
      if (a === null || b === null) return (a === null) - (b === null) || one.order - other.order;
      return (descending ? compare(b, a) : compare(a, b)) || one.order - other.order;
    });
    body.append(...keyed.map(([, entry]) => entry.row));
  }

  function narrow() {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = ["outcome", "target", "image"].map((name) => [name, form.elements[name].value]);
    const odd = form.elements.odd.checked;
    let number = 0;
    for (const { row, text, marks } of rows) {
      const fits = words.every((word) => text.includes(word))
        && wanted.every(([name, choice]) => choice === "" || row.dataset[name] === choice)
        && (!odd || row.dataset.odd !== undefined);
      row.hidden = !fits;
      for (const mark of marks) mark.classList.toggle("off", !fits);
      number += fits;
    }
    said.textContent = `${number} of ${rows.length} rows`;
  }

  function show() {
    const row = document.getElementById(location.hash.slice(1));
    if (row && row.hidden) {
      form.reset();
      narrow();
      row.scrollIntoView();
    }
  }

  for (const header of table.tHead.rows[0].cells) {
    const button = header.querySelector("button");
    if (button) {
      button.disabled = false;
      button.addEventListener("click", () => sort(header, header.getAttribute("aria-sort") === "ascending"));
    }
  }
  form.hidden = false;
  form.addEventListener("input", narrow);
  form.addEventListener("reset", () => setTimeout(narrow));
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", show);
  narrow();
  show();
})();
