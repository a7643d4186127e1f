// Where the next hour of work should go: who breaks what, and what follows.

function handoffsView(query) {
  const view = element("div", {}, element("h2", {}, "Handoffs"), filters(query, ["run", "phase", "kind", "step"], "handoffs"));
  const rows = chosen(query), failed = rows.filter((row) => row.success === false);
  view.append(element("p", {}, `${failed.length} of ${rows.length} episodes failed.`));
  view.append(heat(failed, query), chains(failed, query), blame(failed, query), overTime(rows));
  return view;
}

function heat(rows, query) {
  const cells = new Map(), pairs = unique(rows.flatMap((row) => row.broken.map(([agent, artifact]) => `${report.agents.indexOf(agent)} ${artifact}`)));
  const artifacts = unique(pairs.sort().map((pair) => pair.slice(pair.indexOf(" ") + 1)));
  if (!artifacts.length) return element("p", { class: "quiet" }, "No artifact was left broken.");
  for (const row of rows) for (const [agent, artifact, code, turn] of row.broken) {
    const cell = cells.get(`${agent}\n${artifact}`) ?? { count: 0, first: 0, codes: new Map(), turns: [] };
    cell.count += 1;
    cell.first += row.culprit === agent && row.artifact === artifact ? 1 : 0;
    cell.codes.set(code, (cell.codes.get(code) ?? 0) + 1);
    cell.turns.push(turn);
    cells.set(`${agent}\n${artifact}`, cell);
  }
  const most = Math.max(...[...cells.values()].map((cell) => cell.count));
  const agents = report.agents.filter((agent) => artifacts.some((artifact) => cells.has(`${agent}\n${artifact}`)));
  const columns = [{ title: "agent", cell: (agent) => agent }].concat(artifacts.map((artifact) => ({
    title: artifact, cell: (agent) => heatCell(cells.get(`${agent}\n${artifact}`), most, agent, artifact, query),
  })));
  return element("section", {}, element("h3", {}, "Who left which artifact broken"),
    table("Failed episodes in which the artifact was not in order when the agent's part ended; in how many it was the first that broke", columns, agents, { class: "heat" }));
}

function heatCell(cell, most, agent, artifact, query) {
  if (!cell) return "–";
  const codes = [...cell.codes].sort((a, b) => b[1] - a[1]).map(([code, count]) => `${code} ${count}`).join(", ");
  const turns = cell.turns.toSorted((a, b) => a - b), middle = turns[Math.floor(turns.length / 2)] + 1;
  const shade = Math.round(12 + 50 * (cell.count / most));
  return element("a", {
    href: link("episodes", { ...query, result: "failed", broken: `${agent} ${artifact}` }), style: `background:color-mix(in srgb, var(--bad) ${shade / 2}%, transparent)`,
    title: `${codes}; written last in turn ${middle} (median)`,
  }, element("b", {}, String(cell.count)), ` (${cell.first} first)`, element("br"), element("small", {}, codes, `; turn ${middle}`));
}

function chains(failed, query) {
  const groups = Map.groupBy(failed.filter((row) => row.chain), (row) => row.chain);
  if (!groups.size) return "";
  const rows = [...groups].sort((a, b) => b[1].length - a[1].length);
  const show = (some) => table("Commonest chains of failure", [
    { title: "n", cell: ([, group]) => String(group.length) },
    { title: "what broke first, and what followed", cell: ([chain]) => element("a", { href: link("episodes", { ...query, chain }) }, chain) },
    { title: "culprit", cell: ([, group]) => unique(group.map((row) => row.culprit)).join(", ") },
    { title: "kinds", cell: ([, group]) => counts(group.map((row) => row.kind)) },
    { title: "example", cell: ([, group]) => episodeLink(group[0]) },
  ], some);
  return element("section", {}, element("h3", {}, "What fails most often"), show(rows.slice(0, 15)),
    rows.length > 15 ? folded(`${rows.length - 15} more`, () => show(rows.slice(15))) : null);
}

function blame(failed, query) {
  const agents = report.agents.filter((agent) => failed.some((row) => row.agents.includes(agent)));
  const judged = failed.filter((row) => row.score !== null);
  return element("section", {}, element("h3", {}, "Whose fault"), table(`Failed episodes by the agent that explains them: from the files (${failed.length}), and by the coach's last blame (${judged.length} have verdicts)`, [
    { title: "agent", cell: (agent) => agent },
    { title: "from the files", number: true, cell: (agent) => { const n = failed.filter((row) => row.culprit === agent).length; return element("a", { href: link("episodes", { ...query, culprit: agent, result: "failed" }) }, `${n} (${percent(n / failed.length)})`); } },
    { title: "by the coach", number: true, cell: (agent) => { const n = judged.filter((row) => row.blamed === agent).length; return judged.length ? `${n} (${percent(n / judged.length)})` : "–"; } },
    { title: "kinds of task", cell: (agent) => counts(failed.filter((row) => row.culprit === agent).map((row) => row.kind)) },
  ], agents));
}

function overTime(rows) {
  const training = rows.filter((row) => row.phase === "train"), steps = unique(training.map((row) => row.step)).sort((a, b) => a - b);
  if (steps.length < 2) return "";
  const series = report.agents.map((agent) => ({ name: agent, points: steps.map((step) => {
    const group = training.filter((row) => row.step === step && row.success !== null), share = mean(group.map((row) => Number(row.culprit === agent)));
    return group.length ? [step, share, ...wilson(share, group.length)] : null;
  }).filter(Boolean) })).filter((one) => one.points.length);
  return element("section", {}, element("h3", {}, "Over training"), element("div", { class: "charts" }, chart("Share of training episodes that each agent broke", series)));
}

function counts(values) {
  const found = new Map();
  for (const value of values) found.set(value, (found.get(value) ?? 0) + 1);
  return [...found].sort((a, b) => b[1] - a[1]).map(([value, count]) => `${value || "–"} ${count}`).join(", ");
}
