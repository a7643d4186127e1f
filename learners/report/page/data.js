// The data of the page: an index that is read at once, and blocks of episodes that are read on demand.

const blocks = new Map();
let report = null;

async function unpack(id) {
  const text = document.getElementById(id).textContent;
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

async function open() {
  report = await unpack("index");
  report.rows = report.runs.flatMap((run, n) => rowsOf(run, n));
  report.agents = unique(report.rows.flatMap((row) => row.agents));
}

// One object for each episode, from the index's columns.
function rowsOf(run, n) {
  const columns = Object.entries(run.index);
  const count = columns.length ? columns[0][1].length : 0;
  return Array.from({ length: count }, (_, place) => {
    const row = { run: n, place };
    for (const [name, values] of columns) row[name] = values[place];
    return row;
  });
}

async function blockOf(row) {
  const id = `block-${row.run}-${Math.floor(row.place / report.per_block)}`;
  if (!blocks.has(id)) {
    if (blocks.size > 8) blocks.delete(blocks.keys().next().value);
    blocks.set(id, unpack(id));
  }
  return blocks.get(id);
}

async function detailsOf(row) {
  return (await blockOf(row))[row.place % report.per_block];
}

// Everything in an episode that somebody may look for.
function textOf(details) {
  const parts = [];
  for (const turn of details.turns) {
    parts.push(turn.action, turn.verdict?.rationale, turn.result?.stdout, turn.result?.stderr);
    for (const message of turn.read) parts.push(message.content);
    for (const check of turn.checks) parts.push(check.name, check.detail);
    for (const file of turn.files) parts.push(file[0], file[3]);
  }
  return parts.filter(Boolean).join("\n").toLowerCase();
}

// Returns the rows whose episodes contain the text. Calls `progress` with the share that has been read.
async function search(rows, text, progress, cancelled) {
  const wanted = text.toLowerCase(), found = new Set();
  let done = 0;
  for (const row of rows) {
    if (cancelled()) return null;
    if (row.id.toLowerCase().includes(wanted) || textOf(await detailsOf(row)).includes(wanted)) found.add(row);
    if (++done % 64 === 0) progress(done / rows.length);
  }
  return found;
}

const unique = (values) => [...new Set(values)];
const sum = (values) => values.reduce((total, value) => total + value, 0);
const mean = (values) => (values.length ? sum(values) / values.length : null);
const known = (values) => values.filter((value) => value !== null && value !== undefined);

// Wilson's score interval of a proportion at 95 % (E. B. Wilson, JASA 22, 1927).
function wilson(share, trials) {
  const z = 1.959964, squared = (z * z) / trials;
  const middle = (share + squared / 2) / (1 + squared);
  const margin = (z * Math.sqrt((share * (1 - share)) / trials + squared / (4 * trials))) / (1 + squared);
  return [Math.max(0, middle - margin), Math.min(1, middle + margin)];
}
