{
/** Tables that are sorted by a click on a heading and searched by their first column. All listeners are the
    document's, so that rows and tables may be replaced under them. */
function sortValue(row, column) {
  const cell = row.cells[column];
  const value = cell.dataset.value;
  if (value === undefined) return cell.textContent.trim();
  return value === "" ? null : Number(value);
}

function compareCells(a, b) {
  if (a === null || b === null) return null;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortTable(table) {
  if (!table.dataset.sorted) return;
  const [column, direction] = table.dataset.sorted.split(" ");
  const sign = direction === "descending" ? -1 : 1;
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((row, i) => [sortValue(row, Number(column)), i, row]);
  keyed.sort(([a, i], [b, j]) => {
    if (a === null || b === null) return (a === null) - (b === null) || i - j; // what isn't known comes last
    return sign * compareCells(a, b) || i - j;
  });
  body.append(...keyed.map(([, , row]) => row));
  [...table.tHead.rows[0].cells].forEach((th, i) => {
    if (i === Number(column)) th.setAttribute("aria-sort", direction);
    else th.removeAttribute("aria-sort");
  });
}

function filterTable(field) {
  const table = document.getElementById(field.dataset.filter);
  if (!table) return;
  const wanted = field.value.trim().toLowerCase();
  let found = 0;
  for (const row of table.tBodies[0].rows) {
    row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    found += !row.hidden;
  }
  const said = $("[data-found]", field.closest("p"));
  const all = table.tBodies[0].rows.length;
  said.textContent = wanted ? `${found.toLocaleString("en")} of ${all.toLocaleString("en")} rows` : plural(all, "row");
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-sort]");
  if (!button) return;
  const th = button.closest("th");
  const table = th.closest("table");
  const first = th.classList.contains("number") ? "descending" : "ascending";
  const other = { ascending: "descending", descending: "ascending" };
  const now = th.getAttribute("aria-sort");
  table.dataset.sorted = `${th.cellIndex} ${now ? other[now] : first}`;
  sortTable(table);
});
document.addEventListener("input", (event) => {
  if (event.target.dataset.filter) filterTable(event.target);
});
document.addEventListener("torchgraft:updated", () => {
  $$("table.sortable").forEach(sortTable);
  $$("[data-filter]").forEach(filterTable);
});
}
