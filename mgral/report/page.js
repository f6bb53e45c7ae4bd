// Tables that are sorted by a click on the head of a column, and folded parts that are printed. Without "less than" and
// "and" signs, so that the page is well-formed XML too.
(function () {
  "use strict";
  // The number that a cell starts with; null where it has none.
  function number(cell) {
    const text = cell.textContent.trim().replace(/−/g, "-").replace(/,/g, "");
    const found = text.match(/^(?:at most |> )?([+-]?\d+(?:\.\d+)?)/);
    return found ? Number(found[1]) : null;
  }
  function order(rows, column, up) {
    const cells = new Map(rows.map((row) => [row, row.cells[column]]));
    const known = rows.filter((row) => number(cells.get(row)) !== null);
    const dashes = rows.filter((row) => cells.get(row).textContent.trim() === "–");
    const numeric = known.length + dashes.length === rows.length;
    const compare = (one, other) =>
      numeric
        ? number(cells.get(one)) - number(cells.get(other))
        : cells.get(one).textContent.trim().localeCompare(cells.get(other).textContent.trim());
    const sorted = (numeric ? known : rows).slice().sort((one, other) => (up ? 1 : -1) * compare(one, other));
    return numeric ? sorted.concat(dashes) : sorted;
  }
  for (const table of document.querySelectorAll("table")) {
    const body = table.tBodies[0];
    const heads = Array.from(table.tHead.rows[0].cells);
    if (body.rows.length > 1) {
      heads.forEach((head, column) => {
        const button = document.createElement("button");
        button.type = "button";
        button.append(...head.childNodes);
        head.append(button);
        button.addEventListener("click", () => {
          const up = head.getAttribute("aria-sort") !== "ascending";
          heads.forEach((other) => other.removeAttribute("aria-sort"));
          head.setAttribute("aria-sort", up ? "ascending" : "descending");
          body.append(...order(Array.from(body.rows), column, up));
        });
      });
    }
  }
  const folded = () => Array.from(document.querySelectorAll("details:not([open])"));
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = folded();
    opened.forEach((part) => (part.open = true));
  });
  window.addEventListener("afterprint", () => opened.forEach((part) => (part.open = false)));
})();
