/** The modules as nested rectangles, in the file's order; the area is the number of elements. */
class Treemap {
  constructor(box, crumbs, items, hooks) {
    Object.assign(this, { box, crumbs, items, hooks, view: 0, byCount: false, at: 0 });
    this.root = this.top = items.tree();
    box.addEventListener("click", (event) => this.#chosen(event.target.closest("button")));
    box.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("focusin", (event) => this.#rove(event.target));
    new ResizeObserver(() => { if (box.clientWidth !== this.width) this.draw(); }).observe(box);
  }

  draw() {
    const { box, items } = this;
    this.width = box.clientWidth;
    this.least = items.count > 3000 ? 120 : 12; // square pixels that a child has to have
    this.weigh(this.root);
    this.cells = [];
    this.box.replaceChildren();
    const within = { x: 0, y: 0, w: this.width, h: box.clientHeight };
    this.#divide(this.root.children.length ? this.root.children : [this.root], within);
    box.append(...this.cells.map((cell) => cell.button));
    this.mark();
    this.cells[0]?.button.setAttribute("tabindex", "0");
    this.#path();
  }

  /** Sets each node's weight, and what its label says: its elements, its tensors by state. */
  weigh(node) {
    const { states, at } = this.items.views[this.view];
    node.counts = new Array(states.length).fill(0);
    if (node.item >= 0) {
      node.size = this.items.sizes[node.item];
      node.weight = this.byCount ? 1 : Math.max(1, node.size);
      node.counts[at[node.item]] = 1;
      return;
    }
    node.size = node.weight = 0;
    for (const child of node.children) {
      this.weigh(child);
      node.size += child.size;
      node.weight += child.weight;
      for (let state = 0; state < states.length; state++) node.counts[state] += child.counts[state];
    }
  }

  /** Sets whether anything of a node is shown. */
  #see(node) {
    node.shown = node.item >= 0 && this.items.shown[node.item] === 1;
    for (const child of node.children) if (this.#see(child)) node.shown = true;
    return node.shown;
  }

  /** What is filtered out is dimmed, what is selected outlined. */
  mark() {
    this.#see(this.root);
    for (const { node, button } of this.cells) {
      button.classList.toggle("dim", !(node.bundle ? node.children.some((child) => child.shown) : node.shown));
      button.classList.toggle("chosen", node.item >= 0 && node.item === this.hooks.selected());
    }
  }

  zoom(node, focus = true) {
    this.root = node;
    this.draw();
    if (focus) this.cells[0]?.button.focus();
    this.hooks.zoomed(node);
  }

  /** Halves of about equal weight, side by side along the longer side: the order stays, no strip is thin. */
  #divide(nodes, box) {
    if (nodes.length === 1) return this.#place(nodes[0], box);
    if (box.w * box.h < this.least) return this.#place(this.#bundle(nodes), box);
    const total = nodes.reduce((sum, node) => sum + node.weight, 0);
    let split = 0, left = 0;
    while (split < nodes.length - 1 && (split === 0 || left + nodes[split].weight / 2 <= total / 2)) left += nodes[split++].weight;
    const share = total ? left / total : split / nodes.length;
    const { x, y, w, h } = box;
    const first = w >= h * 0.9 ? { x, y, w: w * share, h } : { x, y, w, h: h * share };
    const second = w >= h * 0.9 ? { x: x + first.w, y, w: w - first.w, h } : { x, y: y + first.h, w, h: h - first.h };
    this.#divide(nodes.slice(0, split), first);
    this.#divide(nodes.slice(split), second);
    return undefined;
  }

  /** Neighbours that are too small to be told apart, as one that can be opened. */
  #bundle(nodes) {
    const [first, last] = [nodes[0], nodes.at(-1)];
    const bundle = { name: `${first.name} … ${last.name}`, path: `${first.path} … ${last.path}`, parent: this.root, children: nodes, item: -1, bundle: true };
    bundle.size = nodes.reduce((sum, node) => sum + node.size, 0);
    bundle.counts = first.counts.map((_, state) => nodes.reduce((sum, node) => sum + node.counts[state], 0));
    return bundle;
  }

  #place(node, box) {
    const { x, y, w, h } = box;
    if (w < 1.5 || h < 1.5) return;
    const leaf = node.item >= 0;
    const opens = node.children.length > 0 && !node.bundle && w >= 10 && h >= 10 && w * h >= 2 * this.least;
    const headed = opens && w >= 52 && h >= 38;
    const button = make("button", { type: "button", tabindex: -1, class: leaf ? "cell" : opens ? "frame" : "cell heap" });
    Object.assign(button.style, { left: `${x}px`, top: `${y}px`, width: `${w}px`, height: `${h}px` });
    const cell = { node, button, x: x + w / 2, y: y + h / 2 };
    cell.index = this.cells.length;
    button.dataset.cell = cell.index;
    this.cells.push(cell);
    this.#paint(cell, opens);
    if ((leaf || headed) && w >= 34 && h >= 15) button.append(make("span", {}, node.name));
    if (opens) {
      const top = headed ? 17 : 1;
      this.#divide(node.children, { x: x + (headed ? 3 : 1), y: y + top, w: w - (headed ? 6 : 2), h: h - top - (headed ? 3 : 1) });
    }
  }

  #paint({ node, button }, opens) {
    const { states } = this.items.views[this.view];
    const elements = compact(node.size);
    let said;
    if (node.item >= 0) {
      const state = this.items.state(node.item, this.view);
      button.classList.add(`t-${state.key}`);
      said = `${node.path}: ${state.word}, ${elements} elements`;
    } else {
      const parts = this.shares(node);
      const words = parts.map(([at, n]) => `${n.toLocaleString("en")} ${states[at].word}`).join(", ");
      said = `${node.path || node.name}, ${node.bundle ? `${node.children.length} together` : "module"}: ${words}; ${elements} elements`;
      if (!opens) {
        let from = 0;
        const total = parts.reduce((sum, [, n]) => sum + n, 0);
        const stops = parts.map(([at, n]) => {
          const to = from + (100 * n) / total;
          const stop = `var(--f-${states[at].key}) ${from}% ${to}%`;
          from = to;
          return stop;
        });
        button.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
      }
    }
    button.setAttribute("aria-label", said);
    button.title = said;
  }

  /** How many of a node's tensors are in each state. */
  shares(node) {
    return node.counts.map((n, state) => [state, n]).filter(([, n]) => n);
  }

  #path() {
    const nodes = [];
    for (let node = this.root; node; node = node.parent) nodes.unshift(node);
    const crumbs = nodes.map((node, k) => make("li", {}, k < nodes.length - 1
      ? make("button", { type: "button", class: "plain", onclick: () => this.zoom(node) }, node.name)
      : make("b", { "aria-current": "location" }, node.name)));
    this.crumbs.replaceChildren(...crumbs);
  }

  #chosen(button) {
    if (!button) return;
    const { node } = this.cells[button.dataset.cell];
    if (node.item >= 0) this.hooks.select(node.item);
    else this.zoom(node);
  }

  #rove(button) {
    if (!button.dataset.cell) return;
    for (const cell of this.cells) if (cell.button.tabIndex === 0) cell.button.tabIndex = -1;
    button.tabIndex = 0;
  }

  #key(event) {
    if ((event.key === "Escape" || event.key === "Backspace") && this.root.parent) {
      event.preventDefault();
      this.zoom(this.root.parent);
      return;
    }
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const from = this.cells[event.target.dataset?.cell];
    if (!step || !from) return;
    event.preventDefault();
    let best = null, least = Infinity;
    for (const cell of this.cells) {
      if (cell === from || cell.button.classList.contains("frame")) continue;
      const dx = cell.x - from.x, dy = cell.y - from.y;
      const along = dx * step[0] + dy * step[1], across = Math.abs(dx * step[1]) + Math.abs(dy * step[0]);
      if (along > 0.5 && along + 2.5 * across < least) [best, least] = [cell, along + 2.5 * across];
    }
    best?.button.focus();
  }
}
