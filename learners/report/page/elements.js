// Builds elements. Texts are always set as text, so that nothing recorded is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// columns: [{title, cell: row => value, number}]
function table(caption, columns, rows, options = {}) {
  const head = columns.map((column) => element("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": column.sort }, column.head ?? column.title));
  const body = rows.map((row) => element("tr", options.row?.(row) ?? {}, columns.map((column, n) => {
    const cell = column.cell(row);
    return element(n || options.plain ? "td" : "th", { scope: n || options.plain ? null : "row", class: column.number ? "number" : column.class?.(row) }, cell ?? "–");
  })));
  return element("div", { class: "wide", tabindex: "0", role: "group", "aria-label": caption },
    element("table", { class: options.class }, element("caption", {}, caption), element("thead", {}, element("tr", {}, head)), element("tbody", {}, body)));
}

function facts(pairs) {
  return element("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

function choice(label, name, values, chosen, all = "all") {
  return element("label", {}, label, element("select", { name },
    element("option", { value: "" }, all),
    values.map((value) => element("option", { value, selected: String(value) === chosen }, String(value)))));
}

function folded(title, make, open = false) {
  const made = element("details", { open }, element("summary", {}, title));
  const fill = () => { if (made.open && made.childElementCount === 1) made.append(...[make()].flat()); };
  made.addEventListener("toggle", fill);
  if (open) made.append(...[make()].flat());
  return made;
}

function shown(value, digits = 2) {
  return typeof value === "number" ? value.toFixed(digits) : "–";
}

function percent(value) {
  return value === null || value === undefined ? "–" : `${(100 * value).toFixed(0)} %`;
}

const PYTHON = /(#[^\n]*)|("""[^]*?"""|'''[^]*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|\b(and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from|global|if|import|in|is|lambda|nonlocal|not|or|pass|raise|return|try|while|with|yield|None|True|False)\b|\b(\d[\d_.]*(?:e[+-]?\d+)?)\b/g;

// Returns a program as <pre>, with comments, strings, keywords and numbers marked.
function program(code) {
  const made = element("pre", { tabindex: "0", "aria-label": "program" });
  let place = 0;
  for (const match of code.matchAll(PYTHON)) {
    made.append(code.slice(place, match.index), element("span", { class: "cskn"[match.slice(1).findIndex(Boolean)] }, match[0]));
    place = match.index + match[0].length;
  }
  made.append(code.slice(place));
  return made;
}

function plain(text, label) {
  return element("pre", { tabindex: "0", "aria-label": label }, text);
}
