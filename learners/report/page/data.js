// The data of the page: an index that is read at once, and blocks of episodes that are read on demand.

const blocks = new Map();
let report = null;

async function unpack(id) {
  return JSON.parse(await textIn(id));
}

async function textIn(id) {
  const characters = atob(document.getElementById(id).textContent);
  const bytes = new Uint8Array(characters.length);
  for (let n = 0; n < bytes.length; n++) bytes[n] = characters.charCodeAt(n);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
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

const blockName = (row) => `block-${row.run}-${Math.floor(row.place / report.per_block)}`;

async function detailsOf(row) {
  const id = blockName(row);
  if (!blocks.has(id)) {
    if (blocks.size > 8) blocks.delete(blocks.keys().next().value);
    blocks.set(id, unpack(id));
  }
  return (await blocks.get(id))[row.place % report.per_block];
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

// Returns the rows whose episodes contain the text. Calls `progress` with the share that has been read. A block is
// parsed only if its JSON contains the text as well.
async function search(rows, text, progress, cancelled) {
  const wanted = text.toLowerCase(), written = JSON.stringify(wanted).slice(1, -1), found = new Set();
  let done = 0;
  for (const [id, some] of Map.groupBy(rows, blockName)) {
    if (cancelled()) return null;
    const json = await textIn(id);
    const details = json.toLowerCase().includes(written) ? JSON.parse(json) : null;
    for (const row of some) {
      const said = details && textOf(details[row.place % report.per_block]).includes(wanted);
      if (said || row.id.toLowerCase().includes(wanted)) found.add(row);
    }
    progress((done += some.length) / rows.length);
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
