"use strict";
// Sorts and narrows tables. The page is whole without it: what needs it is hidden until it runs.
for (const table of document.querySelectorAll("table.find")) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row, order) => ({ row, order, text: row.textContent.toLowerCase() }));
  const form = document.getElementById(table.dataset.form);
  const said = form.querySelector("output");

  const value = (row, column) => {
    const cell = row.cells[column];
    if (!cell) return null;
    if (cell.dataset.v !== undefined) return cell.dataset.v === "" ? null : Number(cell.dataset.v);
    const number = parseFloat(cell.textContent);
    return cell.classList.contains("n") && !Number.isNaN(number) ? number : cell.textContent.trim();
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number"
    ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });

  for (const header of table.tHead.rows[0].cells) {
    const button = header.querySelector("button");
    if (!button) continue;
    button.disabled = false;
    button.addEventListener("click", () => {
      const descending = header.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const keyed = rows.map((entry) => [value(entry.row, header.cellIndex), entry]);
      keyed.sort(([a, one], [b, two]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return (descending ? compare(b, a) : compare(a, b)) || one.order - two.order;
      });
      body.append(...keyed.map(([, entry]) => entry.row));
    });
  }
  const narrow = () => {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { row, text } of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    said.textContent = `${shown} of ${rows.length}`;
  };
  form.hidden = false;
  form.addEventListener("input", narrow);
  form.addEventListener("submit", (event) => event.preventDefault());
  narrow();
}
