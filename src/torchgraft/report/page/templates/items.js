/** What an explorer shows: columns of numbers and texts, read from the page's data. */
class Items {
  constructor(data) {
    this.data = data;
    this.names = [];
    let before = "";
    for (let i = 0; i < data.names.length; i += 2) {
      before = before.slice(0, data.names[i]) + data.names[i + 1];
      this.names.push(before);
    }
    this.count = this.names.length;
    this.sizes = data.sizes;
    this.views = data.views;
    this.columns = data.columns;
    this.shown = new Uint8Array(this.count).fill(1);
    this.shownCount = this.count;
  }

  state(i, view = 0) {
    const { states, at } = this.views[view];
    return states[at[i]];
  }

  value(column, i) {
    return column.pool[column.at[i]];
  }

  text(column, i) {
    return shownValue(column, this.value(column, i));
  }

  /** Mark what matches all words of a query and is in no hidden state. */
  filter(query, hidden, view) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length && !this.haystack) {
      const others = this.columns.filter((column) => column.search);
      const pools = others.map((column) => column.pool.map((text) => String(text ?? "").toLowerCase()));
      this.haystack = this.names.map((name, i) => [name.toLowerCase(), ...others.map((column, k) => pools[k][column.at[i]])].join("\n"));
    }
    const { at } = this.views[view];
    let count = 0;
    for (let i = 0; i < this.count; i++) {
      const fits = !hidden.has(at[i]) && words.every((word) => this.haystack[i].includes(word));
      this.shown[i] = fits ? 1 : 0;
      count += this.shown[i];
    }
    this.shownCount = count;
  }

  /** The modules as a tree, in order; chains of single children are one node. */
  tree() {
    const root = { name: this.data.title, path: "", parent: null, children: [], item: -1, byName: new Map() };
    const child = (node, name, path) => {
      let found = node.byName.get(name);
      if (!found) {
        found = { name, path, parent: node, children: [], item: -1, byName: new Map() };
        node.byName.set(name, found);
        node.children.push(found);
      }
      return found;
    };
    const { roots } = this.data;
    for (let i = 0; i < this.count; i++) {
      let node = roots ? child(root, `\0${roots.at[i]}`, "") : root;
      if (roots) Object.assign(node, { name: roots.names[roots.at[i]], path: "", fixed: true });
      const parts = this.names[i].split(".");
      for (let k = 0; k < parts.length - 1; k++) node = child(node, parts[k], `${node.path}${node.path && "."}${parts[k]}`);
      node.children.push({ name: parts.at(-1), path: this.names[i], parent: node, children: [], item: i });
    }
    const finish = (node) => {
      delete node.byName;
      while (node.parent && !node.fixed && node.item < 0 && node.children.length === 1) {
        const only = node.children[0];
        Object.assign(node, { name: `${node.name}.${only.name}`, path: only.path, item: only.item, children: only.children });
        for (const each of node.children) each.parent = node;
      }
      node.children.forEach(finish);
    };
    finish(root);
    return root;
  }
}

function shownValue(column, value) {
  if (value == null || value === "") return "";
  if (column.kind === "count") return compact(value);
  if (column.kind === "bytes") return memory(value);
  if (column.kind === "number") return number(value);
  if (column.kind === "share") return value === 0 ? "0 %" : value < 0.0005 ? "<0.1 %" : `${Number((100 * value).toPrecision(3))} %`;
  return String(value);
}
