{
/** The numbers under the pointer, or under a place that the arrow keys move. Listeners are the document's, so
    that charts may be replaced under them. */
const chartData = new Map();

function chartOf(svg) {
  const charts = svg.closest("[data-charts]");
  const id = charts.dataset.charts;
  if (!chartData.has(id)) chartData.set(id, dataOf(id) || []);
  return chartData.get(id)[[...charts.children].indexOf(svg.closest("figure"))];
}

function chartPlaces(chart) {
  return [...new Set(chart.lines.flatMap((line) => line.x))].sort((a, b) => a - b);
}

function showPlace(svg, chart, x) {
  hidePlace(svg);
  const box = svg.viewBox.baseVal;
  const marks = [make("line", { class: "cross", x1: x, x2: x, y1: 16, y2: box.height - 40 })];
  const said = [];
  let place = "";
  for (const line of chart.lines) {
    const i = line.x.indexOf(x);
    if (i < 0) continue;
    place = line.at ? line.at[i] : place;
    said.push(`${line.name} ${line.text[i]}`);
    if (line.y[i] !== null) marks.push(circle(x, line.y[i], line.colour));
  }
  const group = make("g", { class: "place", "data-x": x }, ...marks);
  svg.append(group);
  const shown = said.length > 6 ? [...said.slice(0, 3), "…", ...said.slice(-2)] : said;
  $(".readout", svg.closest("figure")).textContent = `${chart.along} ${place}: ${shown.join(" · ")}`;
}

function circle(x, y, colour) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  for (const [name, value] of Object.entries({ cx: x, cy: y, r: 4, class: colour })) element.setAttribute(name, value);
  return element;
}

function hidePlace(svg) {
  $(".place", svg)?.remove();
  $(".readout", svg.closest("figure")).textContent = "";
}

function overChart(event) {
  return event.target.closest?.(".chart svg");
}

document.addEventListener("pointermove", (event) => {
  const svg = overChart(event);
  const chart = svg && chartOf(svg);
  if (!chart) return;
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  const places = chartPlaces(chart);
  if (!places.length) return;
  const nearest = places.reduce((best, x) => (Math.abs(x - point.x) < Math.abs(best - point.x) ? x : best));
  showPlace(svg, chart, nearest);
});
document.addEventListener("pointerout", (event) => {
  const svg = overChart(event);
  if (svg && !svg.contains(event.relatedTarget)) hidePlace(svg);
});
document.addEventListener("keydown", (event) => {
  const svg = overChart(event);
  const chart = svg && chartOf(svg);
  if (!chart || !["ArrowLeft", "ArrowRight", "Home", "End", "Escape"].includes(event.key)) return;
  event.preventDefault();
  if (event.key === "Escape") return void hidePlace(svg);
  const places = chartPlaces(chart);
  const now = places.indexOf(Number($(".place", svg)?.dataset.x));
  const step = { ArrowLeft: now < 0 ? places.length - 1 : now - 1, ArrowRight: now + 1, Home: 0, End: places.length - 1 };
  const next = Math.min(Math.max(step[event.key], 0), places.length - 1);
  if (places.length) showPlace(svg, chart, places[next]);
});
document.addEventListener("focusout", (event) => {
  const svg = overChart(event);
  if (svg) hidePlace(svg);
});

function reachCharts() {
  chartData.clear();
  for (const svg of $$(".chart svg")) svg.setAttribute("tabindex", "0");
}
reachCharts();
document.addEventListener("torchgraft:updated", reachCharts);
}
