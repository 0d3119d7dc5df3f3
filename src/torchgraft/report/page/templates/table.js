/** A sortable table of any length: only the rows in sight are in the document. */
class Table {
  constructor(box, items, hooks) {
    Object.assign(this, { box, items, hooks, view: 0, together: items.data.groups.length > 0, open: new Set(), by: null, down: false });
    this.columns = items.columns.filter((column) => column.table);
    this.head = make("tr", {});
    this.body = make("tbody", {});
    this.table = make("table", { class: "items" }, make("thead", {}, this.head), this.body);
    box.append(this.table);
    box.addEventListener("scroll", () => this.#rows(), { passive: true });
    this.body.addEventListener("click", (event) => this.#chosen(event.target.closest("tr")));
    this.body.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#rows()).observe(box);
    for (const media of [matchMedia("print")]) media.addEventListener("change", () => this.#rows());
    addEventListener("beforeprint", () => this.#rows(true));
    addEventListener("afterprint", () => this.#rows());
  }

  /** Everything anew: the entries in order, then the rows in sight. */
  draw() {
    this.#header();
    const { items } = this;
    const entries = [];
    if (this.together) {
      const groups = items.data.groups.map((group, g) => ({ g, group, items: group.items.filter((i) => items.shown[i]) })).filter((entry) => entry.items.length);
      if (this.by) groups.sort(this.#order((entry) => this.#groupValue(entry)));
      for (const entry of groups) {
        const alone = entry.items.length === 1;
        entries.push(alone ? { item: entry.items[0] } : entry);
        if (!alone && this.open.has(entry.g)) entries.push(...entry.items.map((item) => ({ item, inside: true })));
      }
    } else {
      for (let item = 0; item < items.count; item++) if (items.shown[item]) entries.push({ item });
      if (this.by) entries.sort(this.#order(({ item }) => this.#itemValue(item)));
    }
    this.entries = entries;
    this.table.setAttribute("aria-rowcount", entries.length + 1);
    this.#rows();
  }

  /** Bring a tensor's row into sight. */
  reveal(item) {
    if (this.together) {
      const g = this.items.data.groups.findIndex((group) => group.items.length > 1 && group.items.includes(item));
      if (g >= 0 && !this.open.has(g)) { this.open.add(g); this.draw(); }
    }
    const at = this.entries.findIndex((entry) => entry.item === item);
    if (at < 0) return;
    const height = this.#height(), top = at * height;
    if (top < this.box.scrollTop || top + 3 * height > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = Math.max(0, top - this.box.clientHeight / 2);
    this.#rows();
  }

  #height() {
    return this.box.clientWidth < 560 ? 48 : 30;
  }

  #itemValue(item) {
    const { by } = this;
    if (by === "state") return this.items.views[this.view].at[item];
    if (by === "name") return this.items.names[item];
    return this.items.value(by, item);
  }

  #groupValue({ items, group }) {
    const { by } = this;
    if (by === "name") return group.label;
    if (by === "count") return items.length;
    if (by.kind === "count" || by.kind === "bytes") return items.reduce((sum, i) => sum + (this.items.value(by, i) ?? 0), 0);
    if (by.kind === "number" || by.kind === "share") return items.reduce((most, i) => Math.max(most, this.items.value(by, i) ?? -Infinity), -Infinity);
    return this.#itemValue(items[0]);
  }

  #order(value) {
    const sign = this.down ? -1 : 1;
    return (one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a == null || a === "") return b == null || b === "" ? 0 : 1;
      if (b == null || b === "") return -1;
      return sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
    };
  }

  #header() {
    const heads = [["state", this.items.views[this.view].title, "state"], ["name", "Tensor", "name"], ...this.columns.map((column) => [column, column.title, `${column.kind}${column.narrow ? "" : " wide-only"}`])];
    const cells = heads.map(([by, title, style]) => {
      const sorted = this.by === by;
      const button = make("button", { type: "button", class: "sort" }, title, make("span", { "aria-hidden": "true" }, sorted ? (this.down ? " ↓" : " ↑") : ""));
      button.addEventListener("click", () => {
        this.down = sorted ? !this.down : !["state", "name"].includes(by) && ["count", "bytes", "number", "share"].includes(by.kind);
        this.by = by;
        this.draw();
        $$("button", this.head)[heads.findIndex(([each]) => each === by)].focus();
      });
      return make("th", { scope: "col", class: style, "aria-sort": sorted ? (this.down ? "descending" : "ascending") : null }, button);
    });
    this.head.replaceChildren(...cells);
  }

  #rows(all = matchMedia("print").matches) {
    if (!this.entries) return;
    const height = this.#height(), total = this.entries.length;
    const whole = all && total <= 3000;
    const first = whole ? 0 : Math.max(0, Math.floor(this.box.scrollTop / height) - 10);
    const last = whole ? total : Math.min(total, first + Math.ceil((this.box.clientHeight || 600) / height) + 20);
    const focused = this.body.contains(document.activeElement) ? document.activeElement.closest("tr")?.dataset.at : null;
    const gap = (n) => make("tr", { class: "gap", "aria-hidden": "true" }, make("td", { colspan: 2 }));
    const rows = [gap(), ...this.entries.slice(first, last).map((entry, k) => this.#row(entry, first + k)), gap()];
    rows[0].firstChild.style.height = `${first * height}px`;
    rows.at(-1).firstChild.style.height = `${(total - last) * height}px`;
    this.body.replaceChildren(...rows);
    if (focused != null) $(`tr[data-at="${focused}"] button`, this.body)?.focus({ preventScroll: true });
  }

  #row(entry, at) {
    const { items, view } = this;
    const group = entry.group;
    const first = group ? entry.items[0] : entry.item;
    const state = items.state(first, view);
    const mixed = group && new Set(entry.items.map((i) => items.views[view].at[i])).size > 1;
    const chosen = !group && entry.item === this.hooks.selected();
    const label = group
      ? make("button", { type: "button", class: "open", "aria-expanded": String(this.open.has(entry.g)) }, group.label, make("span", { class: "times" }, ` ×${entry.items.length}`))
      : make("button", { type: "button", class: "open" }, items.names[entry.item]);
    const cells = [
      make("td", { class: "state" }, make("i", { class: `swatch t-${state.key}`, "aria-hidden": "true" }), ` ${mixed ? "mixed" : state.word}`),
      make("th", { scope: "row", class: "name", title: group ? group.label : items.names[entry.item] }, label),
      ...this.columns.map((column) => {
        const text = group ? this.#groupText(column, entry) : items.text(column, entry.item);
        return make("td", { class: `${column.kind}${column.narrow ? "" : " wide-only"}`, title: text }, text);
      }),
    ];
    return make("tr", { "data-at": at, "aria-rowindex": at + 2, class: entry.inside ? "inside" : null, "aria-current": chosen ? "true" : null }, ...cells);
  }

  #groupText(column, { items: members, group }) {
    const { items } = this;
    if (column.kind === "shape" && members.length === group.items.length) return group.shape;
    if (column.kind === "count" || column.kind === "bytes") {
      const known = members.map((i) => items.value(column, i)).filter((value) => value != null);
      return known.length ? shownValue(column, known.reduce((sum, value) => sum + value, 0)) : "";
    }
    const texts = new Set(members.map((i) => column.at[i]));
    if (texts.size === 1) return items.text(column, members[0]);
    if (column.kind === "number" || column.kind === "share") {
      const values = members.map((i) => items.value(column, i)).filter((value) => value != null);
      if (!values.length) return "";
      const ends = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))].map((end) => shownValue(column, Number(end.toPrecision(2))));
      if (ends[0] === ends[1]) return ends[0];
      return values.every((value) => value >= 0) ? `≤ ${ends[1]}` : ends.join("…");
    }
    return `${items.text(column, members[0])} …`;
  }

  #chosen(row) {
    if (!row || row.dataset.at == null) return;
    const entry = this.entries[row.dataset.at];
    if (!entry.group) { this.hooks.select(entry.item); return; }
    if (!this.open.delete(entry.g)) this.open.add(entry.g);
    this.draw();
  }

  #key(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const row = event.target.closest("tr");
    if (!step || !row) return;
    event.preventDefault();
    const at = Math.min(this.entries.length - 1, Math.max(0, Number(row.dataset.at) + step));
    const height = this.#height(), top = at * height;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + 3 * height > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + 3 * height - this.box.clientHeight;
    this.#rows();
    $(`tr[data-at="${at}"] button`, this.body)?.focus({ preventScroll: true });
  }
}
