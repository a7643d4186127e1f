// One episode: lanes of agents, artifacts as edges, and every turn in full.

async function traceView(run, place, query) {
  const row = report.rows.find((one) => one.run === Number(run) && one.place === Number(place));
  if (!row) return element("p", {}, "There is no such episode.");
  const details = await detailsOf(row);
  current.row = row;
  current.turns = details.turns.length;
  const others = report.rows.filter((one) => one.run !== row.run && one.id === row.id);
  return element("article", {}, element("h2", {}, `${row.id}: ${row.task}`),
    element("p", {}, neighbour(row, -1, "← previous failed (p)"), " ", neighbour(row, 1, "next failed (n) →"),
      others.map((other) => [" ", element("a", { href: link("compare", { a: row.run, b: other.run, id: row.id }) }, `compare with ${report.runs[other.run].name}`)])),
    facts([
      ["result", element("b", { class: row.success ? "good" : "bad" }, row.success === null ? "no outcome recorded" : row.success ? "success" : `failed: ${row.code}`)],
      ["why", row.reason && element("span", {}, element("a", { href: link(`episode/${run}/${place}`, { turn: row.turn }) }, `${row.culprit}, turn ${row.turn + 1}`), `: ${row.reason}`)],
      ["chain", row.chain], ["kind", row.kind], ["phase", `${row.phase}, step ${row.step}`],
      ["score", details.outcome && Object.entries(details.outcome.metrics).map(([name, value]) => `${name} ${shown(value, 3)}`).join(", ")],
      ["signals", details.outcome && Object.entries(details.outcome.signals ?? {}).map(([name, why]) => `${name}: ${why}`).join("; ")],
      ["seed", details.seed],
    ]),
    lanes(details, run, place), handoffTable(details, run, place),
    element("h3", {}, "Turns"), details.turns.map((turn, n) => turnCard(turn, n, details, row, query)),
    folded("roles and facts of the task", () => [
      ...details.roles.map((role) => [element("h4", {}, role.name), plain(role.instructions, `instructions of ${role.name}`)]).flat(),
      plain(JSON.stringify(details.facts, null, 1), "facts of the task"),
    ]));
}

function neighbour(row, by, label) {
  const target = nextFailed(row, by);
  return target ? element("a", { href: link(`episode/${target.run}/${target.place}`) }, label) : element("span", { class: "quiet" }, label);
}

// The next failed episode of the list that was last looked at, or of all.
function nextFailed(row, by) {
  const list = current.list.includes(row) ? current.list : report.rows;
  for (let place = list.indexOf(row) + by; place >= 0 && place < list.length; place += by) if (list[place].success === false) return list[place];
  return null;
}

function lanes(details, run, place) {
  const agents = unique(details.turns.map((turn) => turn.agent)), handed = grouped(details.handoffs), wide = 210, line = 13;
  // What a turn read is named above it, a line for each artifact: a turn that read much is further down.
  const named = details.turns.map((_, n) => handed.filter(([, group]) => group[0].reader === n).flatMap(([, group]) => group));
  const x = (agent) => 90 + agents.indexOf(agent) * wide, tops = [];
  for (const names of named) tops.push(tops.length ? tops.at(-1) + Math.max(58, 46 + line * names.length) : Math.max(52, 46 + line * names.length));
  const y = (n) => tops[n], width = 90 + agents.length * wide, height = y(details.turns.length - 1) + 40;
  const nodes = details.turns.map((turn, n) => drawn("a", { href: link(`episode/${run}/${place}`, { turn: n }), "aria-label": `turn ${n + 1}, ${turn.agent}: ${markOf(turn)}${isCulprit(details, n) ? ", explains the failure" : ""}` },
    drawn("circle", { cx: x(turn.agent), cy: y(n), r: isCulprit(details, n) ? 15 : 12, fill: isCulprit(details, n) ? "var(--bad-back)" : "var(--soft)", stroke: isGood(turn) ? "var(--good)" : "var(--bad)" }),
    drawn("text", { class: "label", x: x(turn.agent), y: y(n) + 4, "text-anchor": "middle" }, String(n + 1)),
    drawn("text", { x: x(turn.agent) + 20, y: y(n) + 20 }, markOf(turn))));
  const edges = handed.map(([key, group], n) => {
    const broken = group.some((one) => one.code !== "ok"), to = group[0].reader;
    const from = group[0].writer ?? null, start = from === null ? [x(details.turns[to].agent) - 70, y(to) - 24] : [x(details.turns[from].agent) + 13, y(from)];
    const end = [x(details.turns[to].agent) - 14, y(to)], bend = (start[0] + end[0]) / 2 + 12 * (n % 3);
    const label = group.map(stateOf).join(", ");
    return drawn("g", { "data-edge": label, "data-broken": String(broken) }, drawn("path", { class: broken ? "edge broken" : "edge", d: `M${start} C${bend},${start[1]} ${bend},${end[1]} ${end}` }, drawn("title", {}, label)),
      group.map((one) => drawn("text", { class: "name", x: end[0] - 6, y: end[1] - 12 - line * named[to].indexOf(one), "text-anchor": "end", style: broken ? "fill:var(--bad)" : null }, short(stateOf(one)))));
  });
  return element("div", { class: "wide lanes", tabindex: "0", role: "group", "aria-label": "Agents as lanes, artifacts as edges" },
    drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Turns of each agent and what they handed over; the table below says the same" },
      agents.map((agent) => [drawn("text", { class: "label", x: x(agent), y: 20, "text-anchor": "middle" }, agent), drawn("line", { class: "axis", x1: x(agent), x2: x(agent), y1: 30, y2: height - 10 })]).flat(), edges, nodes));
}

function stateOf(handoff) {
  return handoff.code === "ok" ? handoff.artifact : `${handoff.artifact} ${handoff.code}`;
}

// What fits between two lanes.
function short(label) {
  return label.length > 30 ? `${label.slice(0, 29)}…` : label;
}

// The score decides what the mark of a turn looks like, and without a verdict how its program ended.
function isGood(turn) {
  return turn.verdict ? turn.verdict.score >= 5 : !turn.result || turn.result.status === "ok";
}

function markOf(turn) {
  return turn.verdict ? `${outcomeOf(turn)}, ${shown(turn.verdict.score, 1)} of 10` : outcomeOf(turn);
}

// Handoffs with the same writer and reader share an edge.
function grouped(handoffs) {
  const groups = new Map();
  for (const one of handoffs) { const key = `${one.writer} ${one.reader} ${one.code === "ok"}`; groups.set(key, [...(groups.get(key) ?? []), one]); }
  return [...groups];
}

function isCulprit(details, n) {
  return details.culprit !== null && details.culprit.turn === n;
}

function outcomeOf(turn) {
  if (turn.result) return turn.result.status === "ok" ? "ran" : turn.result.status;
  return turn.code === null ? "no program" : "program not run";
}

function handoffTable(details, run, place) {
  if (!details.handoffs.length) return "";
  const at = (n) => (n === null ? "nobody" : element("a", { href: link(`episode/${run}/${place}`, { turn: n }) }, `${details.turns[n].agent}, turn ${n + 1}`));
  return folded(`handoffs (${details.handoffs.length}; ${details.handoffs.filter((one) => one.code !== "ok").length} broken)`, () => table("What each agent found at its first turn", [
    { title: "artifact", cell: (one) => one.artifact }, { title: "written by", cell: (one) => at(one.writer) }, { title: "read by", cell: (one) => at(one.reader) },
    { title: "state after the reader's first turn", cell: (one) => element("span", { class: one.code === "ok" ? "good" : "bad" }, one.code) }, { title: "SHA-256", cell: (one) => (one.sha256 ? one.sha256.slice(0, 12) : "–") },
  ], details.handoffs), true);
}

function turnCard(turn, n, details, row, query) {
  const classes = ["turn", isCulprit(details, n) ? "culprit" : "", query.turn === String(n) ? "current" : ""].filter(Boolean).join(" ");
  return element("section", { class: classes, id: `turn-${n}`, tabindex: "-1", "aria-label": `turn ${n + 1}` },
    element("h3", {}, `${n + 1}. ${turn.agent}`, tag(outcomeOf(turn), !turn.result || turn.result.status === "ok"),
      turn.verdict && tag(`${shown(turn.verdict.score, 1)} of 10`, turn.verdict.score >= 5), isCulprit(details, n) && tag("explains the failure", false),
      turn.last && element("span", { class: "quiet" }, "ended its part"), element("a", { href: link(`episode/${row.run}/${row.place}`, { turn: n }), "aria-label": `link to turn ${n + 1}` }, "#")),
    verdict(turn.verdict),
    checks(turn), folded(`what it read (${turn.read.length} new ${turn.read.length === 1 ? "message" : "messages"}${turn.read_before ? `, ${turn.read_before} earlier` : ""})`, () => turn.read.map((message) => element("div", { class: "message" }, element("b", {}, message.role), plain(message.content, `message of ${message.role}`)))),
    turn.code === null ? [element("h4", {}, "Action"), plain(turn.action, "action")] : [element("h4", {}, "Program"), program(turn.code), turn.action.trim() === turn.code.trim() ? null : folded("the whole action", () => plain(turn.action, "action"))],
    tokenFold(row, n), output(turn.result), files(turn), spentOn(turn));
}

function tag(label, good) {
  return element("span", { class: `tag ${good ? "good" : "bad"}` }, label);
}

function verdict(given) {
  if (!given) return element("p", { class: "quiet" }, "No verdict.");
  return element("div", { class: "verdict" }, element("b", {}, `${shown(given.score, 2)} `), given.source ? `(${given.source}) ` : "", given.rationale,
    given.blame ? element("span", { class: "bad" }, ` Blames ${given.blame}.`) : "", given.blocked ? " Blocked: its inputs arrived broken." : "",
    given.parts?.length ? table("What the inner coaches said", [
      { title: "coach", cell: (part) => part?.source || "–" }, { title: "score", number: true, cell: (part) => (part ? shown(part.score) : "no verdict") },
      { title: "rationale", cell: (part) => part?.rationale ?? "–" }, { title: "blames", cell: (part) => part?.blame ?? "–" },
    ], given.parts) : "");
}

function checks(turn) {
  if (!turn.checks.length) return null;
  return table("Artifacts after the turn", [
    { title: "artifact", cell: (check) => check.name }, { title: "state", cell: (check) => element("span", { class: check.code === "ok" ? "good" : "bad" }, check.code) },
    { title: "detail", cell: (check) => check.detail || "–" },
    { title: "facts", cell: (check) => { const known = Object.entries(check.facts ?? {}); return known.length ? folded(String(known.find(([name]) => name === "type")?.[1] ?? "facts"), () => facts(known.map(([name, value]) => [name, text(value)]))) : "–"; } },
  ], turn.checks);
}

function output(result) {
  if (!result) return null;
  // 0 is what a recording has that does not say it (sandbox.base.Result).
  const took = [[result.wall_s, "s"], [result.cpu_s, "s of CPU"]].filter(([seconds]) => seconds).map(([seconds, unit]) => `${shown(seconds)} ${unit}`);
  const ended = [result.status, result.exit_code && `exit code ${result.exit_code}`, ...(took.length ? took : ["time unknown"]), result.truncated && "output truncated"].filter(Boolean).join(", ");
  return [element("h4", {}, `Output: ${ended}`), result.stdout ? plain(result.stdout, "standard output") : element("p", { class: "quiet" }, "It printed nothing."), result.stderr ? [element("p", { class: "quiet" }, "Standard error"), plain(result.stderr, "standard error")] : null].flat();
}

function files(turn) {
  const moved = turn.files.filter((file) => file[4] !== "same");
  const list = (some) => table("Files", [
    { title: "file", cell: (file) => file[0] }, { title: "", cell: (file) => file[4] }, { title: "bytes before", number: true, cell: (file) => (file[1] === null ? "–" : String(file[1])) },
    { title: "bytes after", number: true, cell: (file) => (file[2] === null ? "–" : String(file[2])) }, { title: "SHA-256", cell: (file) => (file[3] ?? "").slice(0, 12) },
  ], some);
  return turn.files.length ? folded(`files (${turn.files.length}; ${moved.length} changed)`, () => list([...moved, ...turn.files.filter((file) => file[4] === "same")])) : null;
}

function spentOn(turn) {
  const parts = [["prompt", turn.prompt_tokens, "tokens"], ["sampled", turn.tokens, "tokens"], ["ended by", turn.finish_reason, ""], ["weights", turn.weight_version, ""], ["cost", turn.cost, "US dollars"]];
  const told = parts.filter(([, value]) => value !== undefined).map(([name, value, unit]) => `${name} ${value} ${unit}`.trim());
  return told.length ? element("p", { class: "quiet" }, told.join(" · ")) : null;
}
