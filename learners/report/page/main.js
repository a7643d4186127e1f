// Chooses the view by the part of the address after the hash, and reacts to keys.

const VIEWS = [["overview", "Overview"], ["handoffs", "Handoffs"], ["episodes", "Episodes"], ["compare", "Compare"]];
const KEYS = [["n / p", "next / previous failed episode"], ["j / k", "next / previous turn"], ["c", "the turn that explains the failure"], ["/", "search"], ["?", "these keys"]];
const current = { list: [], row: null, turns: 0 };

function link(view, query) {
  const words = new URLSearchParams(Object.entries(query ?? {}).filter(([, value]) => value !== "" && value !== null && value !== undefined)).toString();
  return `#/${view}${words ? `?${words}` : ""}`;
}

function address() {
  const [path, words] = location.hash.replace(/^#\//, "").split("?");
  return { path: (path || "overview").split("/"), query: Object.fromEntries(new URLSearchParams(words ?? "")) };
}

function say(message) {
  document.getElementById("status").textContent = message;
}

async function show() {
  const { path: [view, ...rest], query } = address(), main = document.getElementById("main"), mine = ++show.latest;
  const same = main.dataset.path === [view, ...rest].join("/") && view === "episode";
  document.getElementById("views").replaceChildren(...VIEWS.filter(([name]) => name !== "compare" || report.runs.length > 1)
    .map(([name, label]) => element("a", { href: link(name), "aria-current": name === view || (name === "episodes" && view === "episode") ? "page" : null }, label)));
  if (!same) {
    latestSearch += 1; // an unfinished search belongs to the view that is left
    const made = { overview, handoffs: () => handoffsView(query), episodes: () => episodesView(query), compare: () => compareView(query), episode: () => traceView(...rest, query) }[view];
    if (view !== "episode") current.row = null;
    const content = made ? await made() : element("p", {}, "There is no such view.");
    if (mine !== show.latest) return;
    const focused = document.activeElement?.name;
    main.replaceChildren(content);
    main.dataset.path = [view, ...rest].join("/");
    if (focused) main.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus();
    else if (show.latest > 1) main.focus({ preventScroll: true });
    if (view === "episode" && query.turn === undefined) scrollTo(0, 0);
  }
  if (view === "episode" && query.turn !== undefined) toTurn(Number(query.turn));
}
show.latest = 0;

function toTurn(n) {
  for (const card of document.querySelectorAll(".turn")) card.classList.toggle("current", card.id === `turn-${n}`);
  const card = document.getElementById(`turn-${n}`);
  card?.scrollIntoView({ block: "start" });
  card?.focus({ preventScroll: true });
}

function onKey(event) {
  if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const turn = Number(address().query.turn ?? -1), row = current.row;
  const go = (target, query) => { if (target) location.hash = link(`episode/${target.run}/${target.place}`, query); };
  const actions = {
    n: () => go(row ? nextFailed(row, 1) : (current.list.length ? current.list : report.rows).find((one) => one.success === false)),
    p: () => row && go(nextFailed(row, -1)),
    j: () => row && turn + 1 < current.turns && go(row, { turn: turn + 1 }),
    k: () => row && turn > 0 && go(row, { turn: turn - 1 }),
    c: () => row && row.turn !== null && go(row, { turn: row.turn }),
    "/": () => { event.preventDefault(); location.hash = link("episodes", address().path[0] === "episodes" ? address().query : {}); setTimeout(() => document.querySelector("input[name=text]")?.focus(), 50); },
    "?": help,
  };
  actions[event.key]?.();
}

function help() {
  const box = element("dialog", { "aria-label": "Keys" }, table("Keys", [{ title: "key", cell: (row) => row[0] }, { title: "what it does", cell: (row) => row[1] }], KEYS),
    element("form", { method: "dialog" }, element("button", { class: "plain" }, "Close")));
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}

async function start() {
  try {
    await open();
  } catch (error) {
    document.getElementById("main").replaceChildren(element("p", { class: "bad" }, `This browser cannot read the data of this page: ${error.message}`));
    return;
  }
  document.getElementById("title").textContent = report.runs.map((run) => run.name).join(", ");
  addEventListener("hashchange", show);
  addEventListener("keydown", onKey);
  document.getElementById("views").after(element("p", { class: "quiet", style: "float:right;margin:-1.9rem 0 0" }, "? shows the keys"));
  await show();
}

start();
