// The list of episodes: filters in the address, a search in all texts, and sorting by any column.

const PAGE = 50;
const RESULTS = { failed: (row) => row.success === false, succeeded: (row) => row.success === true, "no outcome": (row) => row.success === null };
const TOKENS = { "in this page": "page", "in the run's folder": "file" };
let latestSearch = 0;

// Which rows the filters in the address admit.
function chosen(query) {
  const tests = {
    run: (row) => String(row.run) === query.run, phase: (row) => row.phase === query.phase, kind: (row) => row.kind === query.kind,
    step: (row) => String(row.step) === query.step, task: (row) => row.task === query.task, code: (row) => row.code === query.code,
    result: (row) => RESULTS[query.result]?.(row), tokens: (row) => row.tokens === TOKENS[query.tokens], culprit: (row) => row.culprit === query.culprit, agent: (row) => row.agents.includes(query.agent),
    chain: (row) => row.chain === query.chain, signal: (row) => row.signals.includes(query.signal),
    broken: (row) => row.broken.some(([agent, artifact]) => `${agent} ${artifact}` === query.broken),
    least: (row) => row.score !== null && row.score >= Number(query.least), most: (row) => row.score !== null && row.score <= Number(query.most),
  };
  const active = Object.keys(tests).filter((name) => query[name]);
  return report.rows.filter((row) => active.every((name) => tests[name](row)));
}

const FIELDS = {
  run: (query) => (report.runs.length > 1 ? element("label", {}, "run", element("select", { name: "run" }, element("option", { value: "" }, "all"), report.runs.map((run, n) => element("option", { value: n, selected: query.run === String(n) }, run.name)))) : null),
  phase: (query) => choice("phase", "phase", values("phase"), query.phase), kind: (query) => choice("kind", "kind", values("kind"), query.kind),
  step: (query) => choice("step", "step", values("step").sort((a, b) => a - b), query.step), task: (query) => choice("task", "task", values("task").sort(), query.task),
  code: (query) => choice("code of the outcome", "code", known(values("code")).sort(), query.code), result: (query) => choice("result", "result", Object.keys(RESULTS), query.result),
  culprit: (query) => choice("culprit", "culprit", known(values("culprit")), query.culprit), agent: (query) => choice("agent", "agent", report.agents, query.agent),
  broken: (query) => choice("broken", "broken", unique(report.rows.flatMap((row) => row.broken.map(([agent, artifact]) => `${agent} ${artifact}`))).sort(), query.broken),
  signal: (query) => choice("signal", "signal", unique(report.rows.flatMap((row) => row.signals)).sort(), query.signal),
  tokens: (query) => (report.rows.some((row) => row.tokens) ? choice("tokens", "tokens", Object.keys(TOKENS), query.tokens) : null),
  least: (query) => bound("coach's score from", "least", query.least), most: (query) => bound("to", "most", query.most),
};

function values(column) {
  return unique(report.rows.map((row) => row[column])).filter((value) => value !== "");
}

function bound(label, name, value) {
  return element("label", {}, label, element("input", { name, type: "number", min: 0, max: 10, step: 0.1, value: value ?? "", style: "width:5.5rem" }));
}

function filters(query, names, view, ...more) {
  const form = element("form", { class: "filters", "aria-label": "Filters" }, names.map((name) => FIELDS[name](query)), more,
    element("button", { type: "button", class: "plain", onclick: () => { location.hash = link(view, {}); } }, "Clear"));
  const apply = () => {
    const given = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
    const hidden = Object.fromEntries(Object.entries(query).filter(([name]) => !form.elements[name]));
    location.hash = link(view, { ...hidden, ...given });
  };
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
  return form;
}

const COLUMNS = [
  ["episode", "id", (row) => episodeLink(row)], ["task", "task", (row) => row.task], ["kind", "kind", (row) => row.kind || "–"], ["phase", "phase", (row) => row.phase],
  ["step", "step", (row) => String(row.step), true], ["result", "code", (row) => element("span", { class: row.success ? "good" : "bad" }, row.code ?? "–")],
  ["fair", "fair", (row) => shown(row.fair), true], ["coach", "score", (row) => shown(row.score), true], ["lowest", "least", (row) => shown(row.least), true],
  ["turns", "turns", (row) => String(row.turns), true], ["culprit", "culprit", (row) => row.culprit ?? "–"], ["why", "reason", (row) => row.reason || "–"],
];

function episodesView(query) {
  const find = element("label", {}, "text in any turn", element("input", { name: "text", type: "search", value: query.text ?? "" }));
  const names = ["run", "phase", "kind", "step", "task", "result", "code", "culprit", "agent", "broken", "signal", "tokens", "least", "most"];
  const view = element("div", {}, element("h2", {}, "Episodes"), filters(query, names, "episodes", find));
  if (query.chain) view.append(element("p", {}, "Only: ", element("b", {}, query.chain)));
  const list = element("div", {});
  view.append(list);
  const rows = sorted(chosen(query), query.sort);
  if (query.text) searched(rows, query, list);
  else listed(rows, query, list);
  return view;
}

async function searched(rows, query, list) {
  const mine = ++latestSearch;
  const found = await search(rows, query.text, (share) => say(`Searching: ${percent(share)}`), () => mine !== latestSearch);
  if (found) listed(rows.filter((row) => found.has(row)), query, list);
}

function sorted(rows, by) {
  if (!by) return rows;
  const [column, down] = by.startsWith("-") ? [by.slice(1), true] : [by, false];
  const order = (a, b) => (a === b ? 0 : a === null ? 1 : b === null ? -1 : (a < b ? -1 : 1) * (down ? -1 : 1));
  return rows.toSorted((a, b) => order(a[column], b[column]));
}

function listed(rows, query, list, count = PAGE) {
  current.list = rows;
  const columns = COLUMNS.map(([title, name, cell, number]) => {
    const direction = query.sort === name ? "ascending" : query.sort === `-${name}` ? "descending" : null;
    const next = query.sort === name ? `-${name}` : name;
    return { title, number, cell, sort: direction, head: element("button", { type: "button", onclick: () => { location.hash = link("episodes", { ...query, sort: next }); } }, title, { ascending: " ▲", descending: " ▼" }[direction] ?? "") };
  });
  const more = rows.length > count ? element("button", { class: "plain", type: "button", onclick: () => listed(rows, query, list, count + 5 * PAGE) }, `Show more of ${rows.length}`) : "";
  list.replaceChildren(table(`${rows.length} of ${report.rows.length} episodes`, columns, rows.slice(0, count)), more);
  say(`${rows.length} of ${report.rows.length} episodes`);
}

function episodeLink(row, turn) {
  return element("a", { href: link(`episode/${row.run}/${row.place}`, turn === undefined ? {} : { turn }) }, row.id);
}
