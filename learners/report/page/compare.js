// Two runs, or two coaches, on the same episodes: what differs, the largest difference first.

function compareView(query) {
  const view = element("div", {}, element("h2", {}, "Compare"));
  if (report.runs.length < 2) return filled(view, {}, [element("p", {}, "Give two or more runs to the command to compare them.")]);
  const a = Number(query.a ?? 0), b = Number(query.b ?? 1);
  view.append(pickers(query, a, b));
  const pairs = paired(a, b);
  if (!pairs.length) return filled(view, {}, [element("p", {}, "They have no episode in common.")]);
  const wanted = query.id ? pairs.find((pair) => pair.left.id === query.id) : null;
  if (wanted) view.append(sideBySide(wanted, a, b));
  view.append(totals(pairs), differences(pairs, a, b, query));
  return view;
}

function pickers(query, a, b) {
  const pick = (label, name, chosenRun) => element("label", {}, label, element("select", { name }, report.runs.map((run, n) => element("option", { value: n, selected: n === chosenRun }, run.name))));
  const form = element("form", { class: "filters", "aria-label": "Runs" }, pick("first", "a", a), pick("second", "b", b));
  form.addEventListener("change", () => { location.hash = link("compare", Object.fromEntries(new FormData(form))); });
  return form;
}

function paired(a, b) {
  const key = (row) => JSON.stringify([row.id, row.task, row.phase, row.step]);
  const second = new Map(report.rows.filter((row) => row.run === b).map((row) => [key(row), row]));
  return report.rows.filter((row) => row.run === a && second.has(key(row))).map((left) => {
    const right = second.get(key(left)), gap = (name) => (left[name] === null || right[name] === null ? null : Number(right[name]) - Number(left[name]));
    return { left, right, success: gap("success"), fair: gap("fair"), score: gap("score") };
  });
}

function totals(pairs) {
  const rows = [["success", "success"], ["fair", "fair"], ["coach's score", "score"]].map(([label, name]) => {
    const gaps = known(pairs.map((pair) => pair[name])), average = mean(gaps);
    const error = gaps.length > 1 ? Math.sqrt(sum(gaps.map((gap) => (gap - average) ** 2)) / (gaps.length - 1) / gaps.length) : null;
    return { label, n: gaps.length, average, error };
  });
  return table("Second minus first, over the episodes that both have", [
    { title: "", cell: (row) => row.label }, { title: "n", number: true, cell: (row) => String(row.n) }, { title: "mean difference", number: true, cell: (row) => shown(row.average, 3) },
    { title: "standard error", number: true, cell: (row) => shown(row.error, 3) },
  ], rows);
}

function differences(pairs, a, b, query) {
  const size = (pair) => 10 * Math.abs(pair.success ?? 0) + Math.abs(pair.score ?? 0) + Math.abs(pair.fair ?? 0);
  const rows = pairs.filter((pair) => size(pair) > 1e-9 || pair.left.culprit !== pair.right.culprit).sort((one, other) => size(other) - size(one));
  const both = (pair, show) => `${show(pair.left)} → ${show(pair.right)}`;
  return table(`${rows.length} of ${pairs.length} episodes differ; the first 200`, [
    { title: "episode", cell: (pair) => element("a", { href: link("compare", { ...query, a, b, id: pair.left.id }) }, pair.left.id) }, { title: "task", cell: (pair) => pair.left.task },
    { title: "result", cell: (pair) => both(pair, (row) => row.code ?? "–") }, { title: "fair", number: true, cell: (pair) => both(pair, (row) => shown(row.fair)) },
    { title: "coach", number: true, cell: (pair) => both(pair, (row) => shown(row.score)) }, { title: "culprit", cell: (pair) => both(pair, (row) => row.culprit ?? "–") },
    { title: "blamed by the coach", cell: (pair) => both(pair, (row) => row.blamed ?? "–") },
  ], rows.slice(0, 200));
}

function sideBySide(pair, a, b) {
  const place = element("div", {}, element("h3", {}, `Episode ${pair.left.id}: `, episodeLink({ ...pair.left, id: report.runs[a].name }), " and ", episodeLink({ ...pair.right, id: report.runs[b].name })));
  Promise.all([detailsOf(pair.left), detailsOf(pair.right)]).then(([left, right]) => {
    const rows = Array.from({ length: Math.max(left.turns.length, right.turns.length) }, (_, n) => [left.turns[n], right.turns[n], n]);
    const say = (turn) => (turn ? `${turn.agent}, ${outcomeOf(turn)}: ${turn.verdict ? `${shown(turn.verdict.score)} – ${turn.verdict.rationale}` : "no verdict"}` : "–");
    place.append(table("Turn by turn", [{ title: "turn", cell: (row) => String(row[2] + 1) }, { title: report.runs[a].name, cell: (row) => say(row[0]) }, { title: report.runs[b].name, cell: (row) => say(row[1]) },
      { title: "action", cell: (row) => (row[0] && row[1] ? (row[0].action === row[1].action ? "same" : "differs") : "–") }], rows));
  });
  return place;
}
