// An action token by token, coloured by probability or by advantage; the same as a table.

const opened = new Map();
const CHANCES = [[0.9, "90 % and more"], [0.5, "50 to 90 %"], [0.1, "10 to 50 %"], [0.01, "1 to 10 %"], [0, "below 1 %"]];
const GAINS = [["n3", -Infinity, -1.5], ["n2", -1.5, -0.5], ["n1", -0.5, -0.05], ["0", -0.05, 0.05], ["p1", 0.05, 0.5], ["p2", 0.5, 1.5], ["p3", 1.5, Infinity]];
const chance = (logprob) => (typeof logprob === "number" ? `${(100 * Math.exp(logprob)).toPrecision(3)} %` : "–");
const number = (value) => (typeof value === "number" ? compact(value) : "–");
let colouredBy = "probability";

function tokensOf(row) {
  const id = `tokens-${row.run}-${row.place}`;
  if (!opened.has(id)) {
    if (opened.size > 8) opened.delete(opened.keys().next().value);
    opened.set(id, unpack(id));
  }
  return opened.get(id);
}

// What a turn card has of its tokens; nothing if the run has recorded none of this episode.
function tokenFold(row, n) {
  if (!row.tokens) return null;
  return folded("tokens: probability and advantage", () => {
    const place = element("div", { class: "tokenview" }), about = report.runs[row.run].tokens;
    if (row.tokens === "page") tokensOf(row).then((turns) => place.replaceChildren(...(turns[n] ? tokenView(turns[n], n, about.scale) : [element("p", {}, "No tokens of this turn are recorded: its agent did not learn.")])));
    else place.append(element("p", {}, `This page holds the tokens of ${about.shown} of the ${about.recorded} episodes that have some, and not of this one. They are in tokens.jsonl, in the folder of the run. To see them, print the episode (python -m benchmarks.report RUN --episode ${row.id}), or make a larger page (--tokens N).`));
    return place;
  });
}

function tokenView(line, n, scale) {
  const all = tokenList(line), told = element("p", { class: "told", "aria-live": "polite" }, "Point at a token, or step through them with the left and right arrow keys.");
  const text = element("pre", { class: "tokens", tabindex: "0", "data-by": colouredBy, "aria-label": `tokens of turn ${n + 1}; the left and right arrow keys step through them` }, all.map((token) => tokenSpan(token, scale)));
  let at = -1;
  const tell = (place) => { if (all[place]) told.textContent = tokenFacts(all[place], all.length); };
  const mark = (place) => { text.children[at]?.classList.remove("on"); at = place; text.children[at].classList.add("on"); tell(at); };
  const spot = (event) => [...text.children].indexOf(event.target.closest(".token"));
  text.addEventListener("pointerover", (event) => tell(spot(event)));
  text.addEventListener("click", (event) => { const place = spot(event); if (place >= 0) mark(place); });
  text.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by || !all.length) return;
    event.preventDefault();
    mark(Math.min(all.length - 1, Math.max(0, at + by)));
    text.children[at].scrollIntoView({ block: "nearest" });
  });
  const legend = element("p", { class: "legend" }), choose = element("select", {}, ["probability", "advantage"].map((name) => element("option", { value: name, selected: name === colouredBy }, name)));
  const colour = () => { text.dataset.by = colouredBy = choose.value; legend.replaceChildren(...tokenLegend(choose.value, line, scale)); };
  choose.addEventListener("change", colour);
  colour();
  return [element("label", { class: "by" }, "colour by ", choose), legend, told, text, folded(`the ${all.length} tokens as a table`, () => tokenTable(all))];
}

function tokenList(line) {
  const each = (values, place) => (Array.isArray(values) ? values[place] : values);
  return line.text.map((text, place) => ({
    place, text, id: line.ids[place], name: line.names[place] ?? null,
    ...Object.fromEntries(["logprob", "update_logprob", "reference_logprob", "ratio", "importance", "advantage"].map((key) => [key, each(line[key], place)])),
    marks: Object.entries(line.marks).filter(([, places]) => places.includes(place)).map(([name]) => name),
  }));
}

function tokenSpan(token, scale) {
  const likely = CHANCES.findIndex(([from]) => Math.exp(token.logprob) >= from);
  const classes = ["token", `l${likely}`, typeof token.advantage === "number" ? `a${gain(token.advantage, scale)}` : "", token.marks.length ? "marked" : "", token.text ? "" : "bare"];
  return element("span", { class: classes.filter(Boolean).join(" "), title: `${chance(token.logprob)}, advantage ${number(token.advantage)}`, "data-name": token.text ? null : token.name || `#${token.id}` },
    token.text.split("\n").map((part, nth) => (nth ? [element("i"), `\n${part}`] : part)));
}

// The advantage's step on the scale, in which 1 is the root mean square of the run.
function gain(advantage, scale) {
  const size = scale ? advantage / scale : 0;
  return GAINS.find(([, from, to]) => size >= from && size < to)[0];
}

function tokenLegend(by, line, scale) {
  const key = (name, words) => element("span", { class: "tokens", "data-by": by }, element("span", { class: `token ${name}` }, "abc"), ` ${words} `);
  const gains = GAINS.map(([name, from, to]) => key(`a${name}`, name === "0" ? "about 0" : from === -Infinity ? `below ${compact(to * scale)}` : to === Infinity ? `from ${compact(from * scale)}` : `${compact(from * scale)} to ${compact(to * scale)}`));
  const marked = Object.keys(line.marks), untrained = line.advantage === null && "This turn was not trained on: it has no advantage.";
  return [...(by === "probability" ? CHANCES.map(([, words], n) => key(`l${n}`, words)) : untrained ? [untrained] : scale ? gains : ["All advantages of this run are 0."]),
    marked.length ? element("span", { class: "tokens" }, element("span", { class: "token marked" }, "abc"), ` ${marked.join(" or ")}`) : ""];
}

function tokenFacts(token, count) {
  return `${token.place + 1} of ${count}, ${JSON.stringify(token.text || token.name || "")} (id ${token.id}): probability ${chance(token.logprob)}, at the update ${chance(token.update_logprob)}, of the reference ${chance(token.reference_logprob)}; `
    + `ratio ${number(token.ratio)}, importance weight ${number(token.importance)}, advantage ${number(token.advantage)}${token.marks.length ? `; ${token.marks.join(", ")}` : ""}`;
}

function tokenTable(all, count = 500) {
  const value = (title, key, show) => ({ title, number: true, cell: (token) => show(token[key]) });
  const made = table("Tokens in order", [
    { title: "token", cell: (token) => String(token.place + 1) }, { title: "text", cell: (token) => JSON.stringify(token.text || token.name || "") }, value("id", "id", String),
    value("probability", "logprob", chance), value("log-probability", "logprob", (one) => shown(one, 4)), value("at the update", "update_logprob", chance), value("reference", "reference_logprob", chance),
    value("ratio", "ratio", number), value("importance weight", "importance", number), value("advantage", "advantage", number), { title: "counted in", cell: (token) => token.marks.join(", ") || "–" },
  ], all.slice(0, count));
  const rest = all.length > count ? element("button", { class: "plain", type: "button", onclick: () => { made.replaceWith(tokenTable(all, all.length)[0]); rest.remove(); } }, `Show all ${all.length}`) : "";
  return [made, rest];
}
