const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

/** An element with attributes and children. Strings become text nodes: nothing is ever parsed as HTML. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "rect", "path", "line", "g", "text", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

/** What a section's view gave as `data`. */
function dataOf(id) {
  const element = document.getElementById(id);
  return element && JSON.parse(element.textContent);
}

/** `4652008` → `4.65 M`, as in the tables that Python writes. */
function compact(n) {
  for (const [unit, factor] of [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (n >= factor) return `${n < 999.5 * factor ? Number((n / factor).toPrecision(3)) : Math.round(n / factor)} ${unit}`;
  }
  return String(n);
}

function memory(bytes) {
  for (const unit of ["bytes", "KiB", "MiB", "GiB"]) {
    if (bytes < 1024) return unit === "bytes" ? `${bytes} bytes` : `${bytes.toFixed(1)} ${unit}`;
    bytes /= 1024;
  }
  return `${bytes.toFixed(1)} TiB`;
}

function number(value) {
  if (value == null) return "–";
  return value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

const plural = (n, thing) => `${n.toLocaleString("en")} ${thing}${n === 1 ? "" : "s"}`;

/** Light, dark, or what the system says; remembered where the browser lets a page remember. */
const theme = {
  system: matchMedia("(prefers-color-scheme: dark)"),
  chosen: null,
  dark() { return this.chosen ? this.chosen === "dark" : this.system.matches; },
  show() {
    const button = $("[data-theme-switch]");
    if (this.chosen === "dark" || this.chosen === "light") document.documentElement.dataset.theme = this.chosen;
    button.lastElementChild.textContent = this.dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", this.dark() ? "Use light colours" : "Use dark colours");
    button.hidden = false;
    button.onclick = () => {
      this.chosen = this.dark() ? "light" : "dark";
      try { localStorage.setItem("torchgraft-theme", this.chosen); } catch { /* it is forgotten then */ }
      this.show();
    };
  },
};
try { theme.chosen = localStorage.getItem("torchgraft-theme"); } catch { /* a page of a file may not */ }
theme.system.addEventListener("change", () => theme.show());

/** A button that copies a text; where the clipboard is closed, the text is selected for the reader to copy. */
function copyButton(text, label, shown) {
  const button = make("button", { type: "button", class: "plain copy" }, label);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      if (shown) getSelection().selectAllChildren(shown);
      button.textContent = shown ? "Selected: press Ctrl C" : "The clipboard is closed";
    }
    setTimeout(() => { button.textContent = label; }, 1600);
  });
  return button;
}

/** What every page has; again when a live page was updated. */
function start() {
  theme.show();
  for (const block of $$("[data-copy]")) {
    const code = $("code", block);
    if (!$(".copy", block)) block.prepend(copyButton(() => code.textContent, "Copy", code));
  }
}
start();
document.addEventListener("torchgraft:updated", start);
addEventListener("beforeprint", () => $$("details[data-print]").forEach((each) => { each.open = true; }));
