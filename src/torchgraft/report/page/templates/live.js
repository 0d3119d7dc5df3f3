{
/** A page that asks its server for news and changes in place: what the reader opened, sorted, typed or focused
    stays. The news is the same page made anew, as text; it is parsed without running anything. */
const KEPT_ATTRIBUTES = new Set(["open", "data-sorted", "aria-sort", "tabindex", "hidden"]);
const EVERY = 1000; // milliseconds
const GIVE_UP_AFTER = 5; // failures in a row
let failures = 0;
let sheet = null;

function ofScript(node) {
  return node.nodeType === 1 && node.matches("button.copy, g.place, [data-theme-switch]");
}

function morphAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !KEPT_ATTRIBUTES.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !KEPT_ATTRIBUTES.has(name)) old.setAttribute(name, value);
  }
}

function morph(old, fresh) {
  morphAttributes(old, fresh);
  if (old.matches(".readout, [data-found], [data-news]")) return;
  const left = [...old.childNodes].filter((node) => !ofScript(node));
  const wanted = [...fresh.childNodes];
  wanted.forEach((node, i) => {
    const now = left[i];
    if (!now) return void old.append(document.importNode(node, true));
    if (now.nodeType !== node.nodeType || now.nodeName !== node.nodeName) now.replaceWith(document.importNode(node, true));
    else if (node.nodeType === 1) morph(now, node);
    else if (now.data !== node.data) now.data = node.data;
  });
  left.slice(wanted.length).forEach((node) => node.remove());
}

const headingOf = (section) => $("h2", section)?.textContent;

/** Sections keep their place by their heading, since new ones may come between them. */
function morphSections(main, fresh) {
  const known = new Map([...main.children].map((section) => [headingOf(section), section]));
  const order = [...fresh.children].map((section) => {
    const old = known.get(headingOf(section));
    if (!old) return document.importNode(section, true);
    morph(old, section);
    return old;
  });
  for (const section of known.values()) if (!order.includes(section)) section.remove();
  order.forEach((section, i) => {
    if (main.children[i] !== section) main.insertBefore(section, main.children[i] ?? null);
  });
}

function takeNews(html) {
  let style = "";
  const rest = html.replace(/<style>([^]*?)<\/style>/, (all, text) => { style = text; return ""; });
  const fresh = new DOMParser().parseFromString(rest, "text/html");
  sheet ??= new CSSStyleSheet();
  sheet.replaceSync(style); // its hash is another than the policy's, which doesn't ask this way in
  document.adoptedStyleSheets = [sheet];
  for (const selector of ["h1", ".subtitle", ".figures", "nav"]) {
    const [old, now] = [$(`header ${selector}`), $(`header ${selector}`, fresh)];
    if (old && now) morph(old, now);
    else if (old) old.remove();
    else if (now) $("header").append(document.importNode(now, true));
  }
  $$('script[type="application/json"]').forEach((block) => block.remove());
  $$('script[type="application/json"]', fresh).forEach((block) => document.body.append(document.importNode(block, true)));
  morphSections($("main"), $("main", fresh));
  document.title = fresh.title;
  document.dispatchEvent(new Event("torchgraft:updated"));
}

function tell(text) {
  const news = $("[data-news]");
  if (news && news.textContent !== text) news.textContent = text;
}

async function askForNews() {
  const state = $("[data-revision]");
  if (!state || state.dataset.status !== "running") return tell("");
  try {
    const answer = await fetch(`news?since=${encodeURIComponent(state.dataset.revision)}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const news = await answer.json();
    if (news.page) takeNews(news.page);
    failures = 0;
    tell(state.dataset.status === "running" ? "live" : "");
  } catch {
    failures += 1;
    tell("the viewer doesn't answer");
    if (failures >= GIVE_UP_AFTER) return tell("the viewer has stopped; this is the last that it said");
  }
  setTimeout(whenSeen, EVERY * 2 ** Math.min(failures, 5));
}

/** A page that nobody looks at asks nothing. */
function whenSeen() {
  if (!document.hidden) return void askForNews();
  document.addEventListener("visibilitychange", whenSeen, { once: true });
}
if (location.protocol === "http:") askForNews();
}
