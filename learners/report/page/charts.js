// Line charts with bands, small enough to stand side by side; each is also there as a table.

const WIDTH = 340, HEIGHT = 190, LEFT = 42, RIGHT = 10, TOP = 10, BOTTOM = 26;

// series: [{name, points: [[x, y, low, high], …]}]; low and high may be missing.
function chart(title, series, about = "") {
  const points = series.flatMap((one) => one.points);
  if (!points.length) return null;
  const [left, right] = range(points.map((point) => point[0]), 0);
  const [low, high] = range(points.flatMap((point) => known(point.slice(1))), 0.06);
  const x = (value) => LEFT + ((value - left) / (right - left || 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - ((value - low) / (high - low || 1)) * (HEIGHT - TOP - BOTTOM);
  const drawing = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": described(title, series) },
    ticks(low, high).map((value) => [
      drawn("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
      drawn("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, compact(value)),
    ]),
    ticks(left, right).filter(Number.isInteger).map((value) => drawn("text", { x: x(value), y: HEIGHT - 8, "text-anchor": "middle" }, compact(value))),
    series.flatMap((one, n) => lines(one, `var(--c${n % 6})`, x, y)));
  return element("figure", {},
    element("figcaption", {}, element("b", {}, title), about ? ` – ${about}` : "",
      series.length > 1 ? element("span", {}, series.map((one, n) => [element("span", { class: "key", style: `background:var(--c${n % 6})` }), one.name])) : null),
    drawing,
    folded("as a table", () => asTable(title, series)));
}

function lines(one, colour, x, y) {
  const banded = one.points.filter((point) => known(point.slice(2)).length === 2);
  const edge = banded.map((point) => `${x(point[0])},${y(point[3])}`).concat(banded.toReversed().map((point) => `${x(point[0])},${y(point[2])}`));
  const path = one.points.map((point) => `${x(point[0]).toFixed(1)},${y(point[1]).toFixed(1)}`).join(" ");
  return [
    banded.length > 1 ? drawn("polygon", { class: "band", fill: colour, points: edge.join(" ") }) : null,
    drawn("polyline", { fill: "none", stroke: colour, "stroke-width": 1.8, points: path }),
    one.points.length > 16 ? null : one.points.map((point) => drawn("circle", { cx: x(point[0]), cy: y(point[1]), r: 2.6, fill: colour }, drawn("title", {}, `${one.name}, ${point[0]}: ${compact(point[1])}`))),
  ].flat().filter(Boolean);
}

function asTable(title, series) {
  const steps = unique(series.flatMap((one) => one.points.map((point) => point[0]))).sort((a, b) => a - b);
  const at = new Map(series.map((one) => [one.name, new Map(one.points.map((point) => [point[0], point]))]));
  const columns = [{ title: "step", cell: (step) => String(step) }].concat(series.map((one) => ({
    title: one.name, number: true,
    cell: (step) => { const point = at.get(one.name).get(step); return point ? compact(point[1]) + (known(point.slice(2)).length === 2 ? ` [${compact(point[2])}, ${compact(point[3])}]` : "") : "–"; },
  })));
  return table(title, columns, steps);
}

function described(title, series) {
  return `${title}: ` + series.filter((one) => one.points.length).map((one) => `${one.name} from ${compact(one.points[0][1])} to ${compact(one.points.at(-1)[1])}`).join("; ");
}

function range(values, margin) {
  const low = Math.min(...values), high = Math.max(...values), gap = (high - low || Math.abs(high) || 1) * margin;
  return [low - gap, high + gap];
}

function ticks(low, high) {
  const raw = (high - low || 1) / 4, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const first = Math.ceil(low / step) * step;
  return Array.from({ length: 12 }, (_, n) => Number((first + n * step).toPrecision(10))).filter((value) => value <= high);
}

function compact(value) {
  const size = Math.abs(value);
  return size >= 10000 || (size && size < 0.001) ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}
