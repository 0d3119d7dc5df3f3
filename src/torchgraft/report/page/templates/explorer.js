/** A map of the modules, a table and the details of what is selected, over one set of items. */
function explore(box) {
  const data = dataOf(box.dataset.explorer);
  const items = new Items(data);
  const state = { selected: -1, query: "", hidden: new Set(), view: 0 };
  const parts = Object.fromEntries(["search", "said", "legend", "crumbs", "map", "detail", "rows"].map((name) => [name, $(`[data-part="${name}"]`, box)]));

  const select = (item, reveal = true) => {
    state.selected = item;
    showItem(parts.detail, items, item);
    map.mark();
    table.draw();
    if (reveal) table.reveal(item);
  };
  const hooks = { selected: () => state.selected, select, zoomed: (node) => showModule(parts.detail, items, node, map) };
  const map = new Treemap(parts.map, parts.crumbs, items, hooks);
  const table = new Table(parts.rows, items, { ...hooks, select: (item) => select(item, false) });

  const filter = () => {
    items.filter(state.query, state.hidden, state.view);
    parts.said.textContent = items.shownCount === items.count ? plural(items.count, "tensor") : `${items.shownCount.toLocaleString("en")} of ${plural(items.count, "tensor")}`;
    parts.rows.scrollTop = 0;
    map.mark();
    table.draw();
  };
  const legend = () => {
    const { states, at } = items.views[state.view];
    const counts = new Array(states.length).fill(0), sizes = new Array(states.length).fill(0);
    for (let i = 0; i < items.count; i++) { counts[at[i]]++; sizes[at[i]] += items.sizes[i]; }
    parts.legend.replaceChildren(...states.map((each, k) => counts[k] > 0 && make("li", {}, make("button", {
      type: "button", class: "chip", "aria-pressed": String(!state.hidden.has(k)), title: each.meaning,
      onclick: (event) => {
        if (!state.hidden.delete(k)) state.hidden.add(k);
        event.currentTarget.setAttribute("aria-pressed", String(!state.hidden.has(k)));
        filter();
      },
    }, make("i", { class: `swatch t-${each.key}`, "aria-hidden": "true" }), make("b", {}, each.word), make("span", {}, ` ${counts[k].toLocaleString("en")} · ${compact(sizes[k])}`)))).filter(Boolean));
  };

  let waiting = 0;
  const search = () => {
    if (state.query === parts.search.value) return;
    state.query = parts.search.value;
    filter();
  };
  parts.search.addEventListener("input", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(search);
  });
  parts.search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    search();
    const first = items.shown.indexOf(1);
    if (first >= 0) select(first);
  });
  const choice = (name, chosen) => $(`[data-choice="${name}"]`, box)?.addEventListener("change", (event) => chosen(event.target.value));
  choice("view", (value) => {
    state.view = map.view = table.view = Number(value);
    state.hidden.clear();
    legend();
    filter();
    map.draw();
  });
  choice("area", (value) => { map.byCount = value === "one"; map.draw(); });
  choice("rows", (value) => { table.together = value === "together"; parts.rows.scrollTop = 0; table.draw(); });

  $(".explorer-body", box).hidden = false;
  legend();
  map.draw();
  filter();
  showModule(parts.detail, items, map.root, map);
  box.dataset.ready = "";
}

/** One tensor: everything that is known of it. */
function showItem(panel, items, item) {
  const facts = items.columns.filter((column) => items.text(column, item) !== "").map((column) => fact(column.title, exact(column, items, item), column.kind));
  panel.replaceChildren(
    make("h3", { class: "key" }, items.names[item]),
    make("p", { class: "badges" }, ...items.views.map((view, k) => badge(items.state(item, k)))),
    make("dl", {}, ...facts.flat()),
    make("div", { class: "histograms" }, ...items.data.plots.map((plot) => plot.at[item] && histogram(plot.title, ...plot.at[item])).filter(Boolean)),
    copyButton(() => items.names[item], "Copy the name", null),
  );
}

/** A module: how many of its tensors are in which state. */
function showModule(panel, items, node, map) {
  const { states } = items.views[map.view];
  panel.replaceChildren(
    make("h3", { class: "key" }, node.path || node.name),
    make("dl", {}, ...fact("elements", node.size.toLocaleString("en")), ...map.shares(node).flatMap(([at, n]) => fact(states[at].word, plural(n, "tensor")))),
    make("p", { class: "quiet" }, node.parent ? "Escape goes back up." : "Choose a tensor, on the map or in the table, to see what is known of it."),
  );
}

const fact = (title, text, kind = "text") => [make("dt", {}, title), make("dd", { class: kind }, text)];
const exact = (column, items, item) => (column.kind === "count" || column.kind === "bytes" ? items.value(column, item).toLocaleString("en") : items.text(column, item));
const badge = (state) => make("span", { class: "badge-state" }, make("i", { class: `swatch t-${state.key}`, "aria-hidden": "true" }), ` ${state.symbol} ${state.word}`, make("span", { class: "quiet" }, state.meaning ? ` – ${state.meaning}` : ""));

/** Bars from a text of base 36, a letter each, with the ends below. */
function histogram(title, low, high, bars) {
  const width = 8;
  const drawn = [...bars].map((letter, k) => make("rect", { x: k * width + 0.5, y: 36 - parseInt(letter, 36), width: width - 1, height: parseInt(letter, 36) }));
  const picture = make("svg", { viewBox: `0 0 ${bars.length * width} 37`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: histogram of the values from ${number(low)} to ${number(high)}` }, make("line", { x1: 0, x2: bars.length * width, y1: 36.5, y2: 36.5 }), ...drawn);
  return make("figure", { class: "histogram" }, make("figcaption", {}, title), picture, make("div", { class: "ends" }, make("span", {}, number(low)), make("span", {}, number(high))));
}

const boxes = $$("[data-explorer]");
boxes.forEach(explore);
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  event.preventDefault();
  $('[data-part="search"]', boxes[0]).focus();
});
