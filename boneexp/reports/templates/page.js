"use strict";
// What the page can do beyond being read: sort and filter tables, show one run's curves at a time.

function made(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function orderOf(cell) {
  if (cell.dataset.order !== undefined) return Number(cell.dataset.order);
  const text = cell.textContent.trim();
  if (text === "not reported") return null;
  return text;
}

function compared(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true, sensitivity: "base" });
}

// What is not reported comes last, whichever way the others are sorted.
function sort(table, column, direction) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [orderOf(row.cells[column]), row]);
  const known = rows.filter(([order]) => order !== null);
  const unknown = rows.filter(([order]) => order === null);
  known.sort(([one], [other]) => direction * compared(one, other));
  body.append(...[...known, ...unknown].map(([, row]) => row));
}

function makeSortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = made("button", { type: "button" }, ...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const rising = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
      sort(table, column, rising ? 1 : -1);
    });
  });
}

function makeFilterable(table) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 8) return;
  let texts = null;
  const field = made("input", { type: "search", autocomplete: "off", spellcheck: false });
  const count = made("output", {}, `${rows.length} rows`);
  field.addEventListener("input", () => {
    texts ??= new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const words = field.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !words.every((word) => texts.get(row).includes(word));
      shown += !row.hidden;
    }
    count.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
  });
  const label = made("label", {}, `Filter: ${table.caption.textContent} `, field);
  table.parentElement.before(made("p", { className: "tools" }, label, count));
}

function makeChooser(place) {
  const runs = [...place.querySelectorAll("details.run")];
  if (!runs.length) return;
  const options = runs.map((run) => made("option", { value: run.id }, run.querySelector("summary").textContent));
  const field = made("select", {}, ...options);
  function choose(id) {
    field.value = id;
    for (const run of runs) {
      run.open = run.id === id;
      run.classList.toggle("put-away", run.id !== id);
    }
  }
  function step(by) {
    choose(runs[(field.selectedIndex + by + runs.length) % runs.length].id);
  }
  function follow() {
    const id = location.hash.slice(1);
    if (!runs.some((run) => run.id === id)) return;
    choose(id);
    document.getElementById(id).scrollIntoView();
  }
  field.addEventListener("change", () => choose(field.value));
  const before = made("button", { type: "button", onclick: () => step(-1) }, "Previous");
  const after = made("button", { type: "button", onclick: () => step(1) }, "Next");
  const label = made("label", {}, `${place.dataset.chooser} `, field);
  place.prepend(made("p", { className: "tools" }, label, before, after));
  choose(runs[0].id);
  window.addEventListener("hashchange", follow);
  follow();
}

for (const table of document.querySelectorAll("table[data-tools]")) {
  makeSortable(table);
  makeFilterable(table);
}
document.querySelectorAll("[data-chooser]").forEach(makeChooser);
