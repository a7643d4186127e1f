// The first view: how the runs went, what the coach said, what was spent, and how they were set up.

const SHARES = /^(success|delivered|completed)(\/|$)/;
const PANELS = [
  ["Held-out success", "eval", "success", "share that the grader accepts"],
  ["Held-out fair score", "eval", "fair", "a failure counts as a constant does"],
  ["Held-out parts delivered", "eval", "delivered", "with all artifacts in order"],
  ["Held-out RPG", "eval", "rpg", "relative performance gap closed"],
  ["Training success", "train", "success", "share that the grader accepts"],
  ["Raw score of successes", "train", "raw", ""],
  ["Coach's scores", "train", "score", "0 to 10"],
  ["Blocked verdicts", "train", "blocked", "share of turns on broken inputs"],
  ["Turns", "train", "turns", "per episode"],
  ["Tokens sampled", "train", "tokens", "in a step"],
  ["Truncated actions", "train", "truncated", "at the token limit"],
  ["Forms of actions", "train", "action_form", "number of actions"],
  ["Policy entropy", "train", "entropy", "nats per token"],
  ["KL to the reference", "train", "kl", ""],
  ["Signals of cheating", "train", "signal", "number of episodes"],
  ["Cost", "train", "cost", "US dollars"],
];

function overview() {
  const view = element("div", {}, element("h2", {}, "Overview"), element("p", {}, counted()));
  view.append(results(), outcomesByKind(), conduct(), ...curves(), ...report.runs.map(alarms).filter(Boolean), setup());
  return view;
}

function results() {
  const columns = report.runs.flatMap((run) => {
    const rows = run.metrics.filter((row) => row.phase === "eval");
    return rows.length > 1 ? [[run, rows[0], "before"], [run, rows.at(-1), "after"]] : rows.map((row) => [run, row, "evaluation"]);
  });
  if (!columns.length) return "";
  const names = unique(columns.flatMap(([, row]) => Object.keys(row).filter((name) => /^(success|fair|raw|rpg|completed|delivered|turns)(\/|$)/.test(name))));
  return table("Held-out tasks", [{ title: "", cell: (name) => name.replace("/", ": ") }].concat(columns.map(([run, row, when]) => ({
    title: report.runs.length > 1 ? `${run.name} ${when}` : when, number: true, cell: (name) => withInterval(row, name),
  }))), names);
}

function counted() {
  const rows = report.rows, failed = rows.filter((row) => row.success === false).length;
  return `${rows.length} recorded episodes; ${failed} of them failed.`;
}

function withInterval(row, name) {
  if (row[name] === undefined) return "–";
  const group = name.split("/")[1], trials = row[`episodes/${group}`] ?? row.episodes;
  if (!SHARES.test(name) || !trials) return shown(row[name], 3);
  const [low, high] = wilson(row[name], trials);
  return `${shown(row[name], 3)} [${shown(low)}, ${shown(high)}] n=${trials}`;
}

// Success by kind of task, from the episodes themselves: also where there is no run around them.
function outcomesByKind() {
  const judged = report.rows.filter((row) => row.success !== null);
  const groups = Map.groupBy(judged, (row) => JSON.stringify([row.run, row.phase, row.kind]));
  if (!groups.size) return element("p", { class: "quiet" }, "No episode has an outcome.");
  return table("All recorded episodes by kind of task", [
    { title: "run", cell: ([key]) => report.runs[key[0]].name },
    { title: "phase", cell: ([key]) => key[1] }, { title: "kind", cell: ([key]) => key[2] || "–" },
    { title: "n", number: true, cell: ([, rows]) => String(rows.length) },
    { title: "success", number: true, cell: ([, rows]) => { const share = mean(rows.map((row) => Number(row.success))), [low, high] = wilson(share, rows.length); return `${shown(share)} [${shown(low)}, ${shown(high)}]`; } },
    { title: "fair", number: true, cell: ([, rows]) => shown(mean(known(rows.map((row) => row.fair)))) },
    { title: "coach", number: true, cell: ([, rows]) => shown(mean(known(rows.map((row) => row.score)))) },
    { title: "failed", cell: ([key, rows]) => { const n = rows.filter((row) => !row.success).length; return n ? element("a", { href: link("episodes", { run: report.runs.length > 1 ? key[0] : "", phase: key[1], kind: key[2], result: "failed" }) }, `${n} failed`) : "none"; } },
  ], [...groups].map(([key, rows]) => [JSON.parse(key), rows]));
}

function conduct() {
  const totals = new Map();
  for (const row of report.rows) for (const [agent, counts] of Object.entries(row.conduct)) {
    const key = report.runs.length > 1 ? `${report.runs[row.run].name}: ${agent}` : agent, total = totals.get(key) ?? { episodes: 0 };
    total.episodes += 1;
    for (const [name, count] of Object.entries(counts)) total[name] = (total[name] ?? 0) + count;
    totals.set(key, total);
  }
  const forms = unique([...totals.values()].flatMap((total) => Object.keys(total).filter((name) => name.startsWith("form ")))).sort();
  const share = (part, whole) => (whole ? `${part ?? 0} (${percent((part ?? 0) / whole)})` : "–");
  return table("What the agents did, over all recorded episodes", [
    { title: "agent", cell: ([agent]) => agent },
    { title: "turns an episode", number: true, cell: ([, total]) => shown(total.turns / total.episodes) },
    { title: "characters a turn", number: true, cell: ([, total]) => shown(total.characters / total.turns, 0) },
    { title: "programs", number: true, cell: ([, total]) => String(total.programs ?? 0) },
    { title: "ran without error", number: true, cell: ([, total]) => share(total["program ok"], total.programs) },
    ...forms.map((form) => ({ title: form.slice(5), number: true, cell: ([, total]) => share(total[form], total.turns) })),
  ], [...totals]);
}

function curves() {
  const made = PANELS.map(([title, phase, metric, about]) => chart(title, seriesOf(phase, metric), about)).filter(Boolean);
  const pooled = seeds().some(({ runs }) => runs.length > 1);
  const about = pooled ? element("p", { class: "quiet" }, "Runs that differ in their seed alone are one curve: their mean, with a 95 % band over seeds (Student's t).") : "";
  return made.length ? [element("h3", {}, "Curves"), about, element("div", { class: "charts" }, made)] : [];
}

function seriesOf(phase, metric) {
  const groups = seeds();
  return groups.flatMap(({ label, runs }) => {
    const rows = runs.map((run) => run.metrics.filter((row) => row.phase === phase));
    const names = unique(rows.flat().flatMap((row) => Object.keys(row))).filter((name) => name === metric || name.startsWith(`${metric}/`));
    return names.map((name) => ({
      name: [groups.length > 1 ? label : "", name === metric ? "all" : name.slice(metric.length + 1)].filter(Boolean).join(" "),
      points: runs.length > 1 ? overSeeds(rows, name) : rows[0].filter((row) => typeof row[name] === "number").map((row) => [row.step, row[name], ...band(row, name)]),
    })).filter((one) => one.points.length > 1);
  });
}

// Runs that differ in their seed alone, named by the first of them.
function seeds() {
  const own = ["seed", "run_dir", "resume"];
  const settings = (run) => JSON.stringify(Object.entries(run.config).filter(([name]) => !own.includes(name)).sort(([a], [b]) => (a < b ? -1 : 1)));
  const groups = Map.groupBy(report.runs, (run) => (run.config.seed === undefined ? run.name : settings(run)));
  return [...groups.values()].map((runs) => ({ label: runs.length > 1 ? `${runs[0].name} (${runs.length} seeds)` : runs[0].name, runs }));
}

// The mean over seeds at each step that all of them have, with Student's interval.
function overSeeds(rows, name) {
  const points = rows.flat().filter((row) => typeof row[name] === "number");
  return [...Map.groupBy(points, (row) => row.step)].filter(([, same]) => same.length === rows.length).map(([step, same]) => {
    const values = same.map((row) => row[name]), middle = mean(values), n = values.length;
    const margin = report.t[n - 2] * Math.sqrt(sum(values.map((value) => (value - middle) ** 2)) / (n - 1) / n);
    const [least, most] = SHARES.test(name) ? [0, 1] : [-Infinity, Infinity];
    return [step, middle, Math.max(least, middle - margin), Math.min(most, middle + margin)];
  });
}

function band(row, name) {
  const trials = row[`episodes/${name.split("/")[1]}`] ?? row.episodes;
  return SHARES.test(name) && trials ? wilson(row[name], trials) : [];
}

function alarms(run) {
  const { effects = {}, gap, drift, alarms: found } = run.bias;
  const complaints = [found].flat().filter(Boolean).map(text);
  const rows = [["regression minus classification, or the like", gap], ["drift per step", drift], ...Object.entries(effects).flatMap(([group, members]) => Object.entries(members).map(([name, effect]) => [`${group} ${name}`, effect]))].filter(([, effect]) => effect);
  if (!rows.length && !complaints.length) return null;
  return element("section", {}, element("h3", {}, `What drives the coach's scores: ${run.name}`),
    complaints.length ? element("ul", {}, complaints.map((complaint) => element("li", { class: "bad" }, complaint))) : element("p", { class: "quiet" }, "No alarm."),
    rows.length ? table("Effects at equal outcome, points of 10, with 95 % intervals", [
      { title: "effect", cell: ([name]) => name }, { title: "points", number: true, cell: ([, effect]) => shown(effect.estimate, 3) },
      { title: "interval", number: true, cell: ([, effect]) => `[${shown(effect.low, 3)}, ${shown(effect.high, 3)}]` },
    ], rows) : null);
}

function setup() {
  const names = unique(report.runs.flatMap((run) => Object.keys(run.config))).sort();
  const value = (run, name) => (name in run.config ? JSON.stringify(run.config[name]) : "–");
  const differing = names.filter((name) => unique(report.runs.map((run) => value(run, name))).length > 1 && name !== "run_dir");
  const columns = [{ title: "setting", cell: (name) => name }].concat(report.runs.map((run) => ({ title: run.name, cell: (name) => value(run, name) })));
  return element("section", {}, element("h3", {}, "Set-up"),
    report.runs.map((run) => facts([
      ["run", run.name], ["algorithm", run.metadata.algorithm === undefined ? run.config["algorithm.name"] : run.metadata.algorithm ?? "none: models as they came"],
      ["model", players(run) ?? [run.config["model.name"], run.config["model.path"]].filter(Boolean).join(" ")], ["coach", run.config["coach.name"]], ["environment", run.config["env.name"]],
      ["seed", run.config.seed === undefined ? null : String(run.config.seed)],
      ["sandbox", run.metadata.sandbox && `${run.metadata.sandbox.backend}: ${(run.metadata.sandbox.guarantees ?? []).join(", ")}`],
      ["coachgym", revision(run.metadata.coachgym)],
      ["resumed", (run.metadata.resumed ?? []).map((part) => `after step ${part.after_step}: ${Object.keys(part).filter((name) => name !== "after_step").map((name) => name === "coachgym" ? revision(part.coachgym) : name === "settings" ? changed(part.settings) : `other ${name}`).join(", ")}`).join("; ")],
      ["versions", run.metadata.libraries && Object.entries({ python: run.metadata.python, ...run.metadata.libraries }).map(([name, version]) => `${name} ${version}`).join(", ")],
      ["time", run.timings.length ? spent(run.timings) : null],
    ])),
    report.runs.length > 1 ? (differing.length ? table("Settings that differ", columns, differing) : element("p", {}, "The runs have the same settings.")) : null,
    names.length ? folded("all settings", () => table("Settings", columns, names)) : null,
    element("p", { class: "quiet" }, `Written by coachgym ${report.version ?? ""}.`));
}

function revision(made) {
  return made && [made.version, made.commit && `commit ${made.commit.slice(0, 12)}`, made.dirty && "with uncommitted changes"].filter(Boolean).join(", ");
}

function changed(settings) {
  return Object.entries(settings).map(([name, value]) => `${name}=${text(value)}`).join(", ");
}

function players(run) {
  const team = Object.entries(run.metadata.team ?? {}), models = unique(team.map(([, one]) => one.model));
  if (models.length < 2) return models[0];
  return team.map(([agent, one]) => `${agent}: ${one.model}`).join(", ");
}

function text(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function spent(timings) {
  const names = unique(timings.flatMap((row) => Object.keys(row).filter((name) => name.endsWith("_s"))));
  return names.map((name) => `${name.slice(0, -2)} ${sum(known(timings.map((row) => row[name]))).toFixed(0)} s`).join(", ");
}
