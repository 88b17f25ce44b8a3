// The console: who looks, which view, and what it shows. Whatever comes from the server is put into the page as text.

import * as charts from "./charts.js";
import { bytes, cell, clock, consentTone, count, duration, element, facts, fill, mark, milliseconds, moment, plain, tile, tone } from "./text.js";

const VIEWS = ["overview", "live", "pending", "plugins", "jails", "audit"];
const POLL_MS = 5000, FACTS_MS = 30000, TICK_MS = 1000, MOST_EVENTS = 300;

const by = (id) => document.getElementById(id);
// Of this origin alone, port included, unlike a cookie; gone with the tab.
const key = { get: () => sessionStorage.getItem("llmc-key"), set: (value) => sessionStorage.setItem("llmc-key", value), drop: () => sessionStorage.removeItem("llmc-key") };

let view = null, polling = null, factsPolling = null, ticking = null, stream = null;

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(key.get() ? { "x-llmc-console": key.get() } : {}) };
  const answer = await fetch(`/console/${path}`, { ...options, headers, credentials: "same-origin", cache: "no-store" });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, told.error ?? `status ${answer.status}`);
}

async function post(path, body, headers = {}) {
  return ask(path, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) });
}

function notice(text) {
  by("notice").textContent = text ?? "";
  by("notice").hidden = !text;
}

// Sessions

async function opened(body, headers) {
  const { key: given } = await (await post("session", body, headers)).json();
  key.set(given);
  await enter();
}

async function begin() {
  const ticket = location.hash.match(/^#ticket=([\w-]+)$/)?.[1];
  if (ticket) {
    history.replaceState(null, "", "#/overview");
    try {
      return await opened({ ticket });
    } catch (error) {
      return login(error.status === 401 ? "This link was used before or is older than a minute. Make another with llmc console." : error.message);
    }
  }
  if (!key.get()) return login();
  try {
    await enter();
  } catch (error) {
    login(error.status === 401 ? null : error.message);
  }
}

function login(problem) {
  leaveAll();
  for (const id of ["nav", "who", ...VIEWS]) by(id).hidden = true;
  by("login").hidden = false;
  by("login-error").textContent = problem ?? "";
  by("login-error").hidden = !problem;
  by("token").focus();
}

async function enter() {
  const [told] = await Promise.all([loadFacts(), loadState()]);
  by("who-name").textContent = plain(told.viewer);
  by("login").hidden = true;
  by("nav").hidden = by("who").hidden = false;
  polling = setInterval(() => guarded(loadState), POLL_MS);
  factsPolling = setInterval(() => guarded(loadFacts), FACTS_MS);
  ticking = setInterval(ages, TICK_MS);
  watch();
  show();
}

function leaveAll() {
  clearInterval(polling);
  clearInterval(factsPolling);
  clearInterval(ticking);
  stream?.abort();
  polling = factsPolling = ticking = stream = null;
  cards.clear();
  fill(by("pending-list"));
  waiting();
  key.drop();
}

async function guarded(task) {
  try {
    await task();
    notice(null);
  } catch (error) {
    if (error.status === 401) return login("The session has ended.");
    notice("The server does not answer; this is what was last known.");
  }
}

// Views

function show() {
  if (!by("login").hidden) return;
  const wanted = location.hash.slice(2);
  const next = VIEWS.includes(wanted) ? wanted : "overview";
  for (const id of VIEWS) by(id).hidden = id !== next;
  for (const link of by("nav").children) {
    if (link.hash === `#/${next}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  // What is over has been seen.
  if (view === "pending" && next !== view) sweep();
  // Not at the first view: the page has just been opened.
  if (view && view !== next) by(`${next}-title`).focus();
  view = next;
  waiting();
  if (view === "overview") draw();
  if (view === "audit") guarded(() => records());
}

// What changes from moment to moment

async function loadState() {
  const state = await (await ask("state")).json();
  fill(
    by("tiles"),
    tile("calls went well", count(state.ok)),
    tile("refused", count(state.refused), state.refused ? "warn" : ""),
    tile("failed", count(state.failed), state.failed ? "bad" : ""),
    tile("running now", count(state.running)),
    tile("HTTP not let in", count(state.auth_failures), state.auth_failures ? "warn" : ""),
    tile(state.ready ? "up" : "starting", duration(state.uptime_s), state.ready ? "good" : "warn"),
  );
  if (state.pending !== undecided().length) guarded(pending);
  drawn = state;
  draw();
  tools(state.tools);
  pool(state.pool);
}

let drawn = null;

function draw() {
  if (!drawn) return;
  charts.calls(by("calls-chart"), drawn.points, drawn.step_s);
  charts.durations(by("duration-chart"), drawn.points, drawn.step_s);
}

function tools(list) {
  const total = (tool) => Object.values(tool.outcomes).reduce((sum, many) => sum + many, 0);
  const rows = list
    .toSorted((one, other) => total(other) - total(one))
    .map((tool) => {
      const outcomes = Object.entries(tool.outcomes).map(([outcome, many]) => element("li", {}, mark(`${outcome} ${count(many)}`, tone(outcome))));
      return element(
        "tr",
        {},
        cell("Tool", tool.name, "mono"),
        cell("Plugin", tool.plugin),
        cell("Calls", count(total(tool)), "number"),
        cell("Outcomes", element("ul", { class: "marks" }, ...outcomes)),
        cell("p50", milliseconds(tool.p50_ms), "number"),
        cell("p95", milliseconds(tool.p95_ms), "number"),
      );
    });
  fill(by("tools"), ...rows);
  by("tools-none").hidden = rows.length > 0;
}

function pool(now) {
  fill(
    by("pool"),
    tile("jails alive", `${count(now.live)} of ${count(now.places)}`),
    tile("started from the pool", count(now.parked.count)),
    tile("p50 of those", milliseconds(now.parked.p50_ms)),
    tile("started anew", count(now.new.count)),
    tile("p50 of those", milliseconds(now.new.p50_ms)),
    tile("p95 of the wait", milliseconds(now.queue_p95_ms)),
    tile("runner restarts", count(now.runner_restarts), now.runner_restarts ? "warn" : ""),
  );
}

// Calls that wait for an operator. A card stays where it is until the view is left, also when its call is over: what is
// under a pointer must not become another call.

const cards = new Map();

const undecided = () => [...cards.values()].filter((card) => !card.over);

async function pending() {
  const told = await (await ask("pending")).json();
  for (const call of told.waiting) {
    if (!cards.has(call.id)) {
      cards.set(call.id, pendingCard(call));
      by("pending-list").append(cards.get(call.id).element);
    }
    const card = cards.get(call.id);
    card.since = Date.now() - call.waited_ms;
    card.until = Date.now() + call.left_ms;
  }
  const waits = new Set(told.waiting.map((call) => call.id));
  for (const [id, card] of cards) {
    if (card.over || waits.has(id)) continue;
    const end = told.ended.find((one) => one.id === id);
    over(card, end?.outcome ?? "over", end?.by);
  }
  fill(
    by("ended"),
    ...told.ended.map((end) =>
      element("tr", {}, cell("Time", moment(end.time_ms), "short"), cell("Outcome", mark(end.outcome.replace("_", " "), consentTone(end.outcome))), cell("Tool", end.tool, "mono"), cell("Caller", end.caller), cell("By", end.by)),
    ),
  );
  by("pending-ended").hidden = !told.ended.length;
  ages();
  waiting();
}

function pendingCard(call) {
  const title = `pending-${call.id}`;
  const card = { tool: call.tool, over: false, state: mark("waits", "warn"), time: element("span"), told: element("p", { class: "quiet", role: "status", hidden: true }) };
  const list = element("dl", { class: "facts" });
  facts(list, [
    ["plugin", call.plugin],
    ["caller", call.for ? `${call.caller}, for ${call.for}` : call.caller],
    ["call", `${call.call}, since ${clock(call.since_ms)}`],
    ["time", card.time],
    ["arguments", element("span", {}, `${bytes(call.argument_bytes)} `, call.is_shortened ? mark("shortened here", "warn") : "")],
    ...(call.asks_client ? [["also asked", "the person in front of the client; the first answer counts"]] : []),
  ]);
  card.heading = element("h2", { id: title, tabindex: "-1" }, plain(call.tool));
  card.form = element("form");
  const reason = element("input", { type: "text", autocomplete: "off", maxlength: "500" });
  const approve = element("button", { type: "button", class: "main", "aria-describedby": title }, "Approve");
  const deny = element("button", { type: "button", class: "deny", "aria-describedby": title }, "Deny");
  card.form.append(approve, deny, element("label", {}, "Reason, for the caller", reason));
  card.form.addEventListener("submit", (event) => event.preventDefault());
  const decide = async (allow) => {
    approve.disabled = deny.disabled = true;
    try {
      const { outcome } = await (await post("decide", { id: call.id, allow, reason: reason.value })).json();
      over(card, outcome, "you");
    } catch (error) {
      if (error.status === 401) return login("The session has ended.");
      card.told.textContent = plain(error.message);
      card.told.hidden = false;
      approve.disabled = deny.disabled = false;
      if (error.status !== 404 && error.status !== 409 && error.status !== 503) return;
      over(card, "over");
    }
    card.heading.focus();
    guarded(pending);
  };
  approve.addEventListener("click", () => decide(true));
  deny.addEventListener("click", () => decide(false));
  card.element = element("article", { class: "card pending", "aria-labelledby": title }, element("header", {}, card.heading, card.state), list, element("pre", { tabindex: "0", role: "region", "aria-label": "arguments" }, plain(call.arguments)), card.form, card.told);
  return card;
}

function over(card, outcome, who) {
  if (card.over) return;
  card.over = true;
  const state = mark(`${outcome.replace("_", " ")}${who ? ` by ${who}` : ""}`, consentTone(outcome));
  card.state.replaceWith(state);
  card.element.classList.add("over");
  card.form.hidden = true;
  waiting();
}

function sweep() {
  for (const [id, card] of cards) {
    if (!card.over) continue;
    card.element.remove();
    cards.delete(id);
  }
}

function ages() {
  const seconds = (ms) => duration(Math.max(0, Math.round(ms / 1000)));
  for (const card of undecided()) card.time.textContent = `waits ${seconds(Date.now() - card.since)}, for ${seconds(card.until - Date.now())} more`;
}

function waiting() {
  const all = undecided();
  by("pending-count").textContent = all.length ? String(all.length) : "";
  by("pending-count").hidden = !all.length;
  by("pending-none").hidden = cards.size > 0;
  const elsewhere = all.length > 0 && view !== "pending" && by("login").hidden;
  const text = elsewhere ? `${all.length === 1 ? "A call waits" : `${all.length} calls wait`} for your consent: ${all.map((card) => plain(card.tool)).join(", ")}. ` : "";
  // Said once, not at every look.
  if (by("asked").dataset.text !== text) {
    by("asked").dataset.text = text;
    fill(by("asked"), text, elsewhere ? element("a", { href: "#/pending" }, "Decide") : "");
  }
  by("asked").hidden = !elsewhere;
  const title = view ? by(`${view}-title`).textContent : "llmc";
  document.title = `${all.length ? `(${all.length}) ` : ""}${title} – llmc console`;
}

// What rarely changes

async function loadFacts() {
  const told = await (await ask("facts")).json();
  // Who reads on in a plugin must not lose the place.
  const openDetails = new Set([...document.querySelectorAll("details[open]")].map((one) => one.id));
  fill(by("plugin-list"), ...told.plugins.map((plugin) => pluginCard(plugin, openDetails)));
  runner(told);
  layers(told.layers);
  return told;
}

const HEALTH = { running: "good", waiting: "warn", stopped: "bad" };
const LOCK = { "as locked": "good", drifted: "bad", "not in the lock": "bad" };

function pluginCard(plugin, openDetails) {
  const title = `plugin-${plugin.name}`;
  const card = element("article", { class: "card plugin", "aria-labelledby": title });
  card.append(
    element("header", {}, element("h2", { id: title }, plain(plugin.name)), mark(plugin.health, HEALTH[plugin.health]), mark(plugin.lock, LOCK[plugin.lock]), mark(plugin.isolation ?? "jail unknown", plugin.isolation === "namespaces" ? "good" : "warn")),
  );
  const list = element("dl", { class: "facts" });
  facts(list, [
    ["library", element("code", {}, plain(plugin.library))],
    ["SHA-256", element("code", {}, plugin.sha256 ?? "–")],
    ["process", plugin.pid === null ? "none" : String(plugin.pid)],
    ["starts", `${plugin.counts.starts}, of them ${plugin.counts.restarts} in the place of one that ended; ${plugin.counts.failures} failed`],
    ["grants", plugin.grants.length ? element("ul", { class: "marks" }, ...plugin.grants.map((line) => element("li", {}, element("code", {}, plain(line))))) : "none"],
    ["tools", plugin.tools.length ? element("ul", { class: "marks" }, ...plugin.tools.map((name) => element("li", {}, element("code", {}, plain(name))))) : "none"],
  ]);
  card.append(list);
  if (plugin.drift) card.append(element("h3", {}, "What differs from the lock"), element("pre", {}, plain(plugin.drift)));
  if (plugin.layers) {
    const id = `layers-${plugin.name}`;
    const inner = element("dl", { class: "facts" });
    facts(inner, plugin.layers.map((layer) => [plain(layer.name), layer.detail]));
    card.append(element("details", { id, open: openDetails.has(id) }, element("summary", {}, "Its jail"), inner));
  }
  return card;
}

function runner(told) {
  const { runner: hello, limits } = told;
  const jails = hello?.jails?.Ok;
  facts(by("runner"), [
    ["jails", hello ? mark(jails ?? `none: ${hello.jails?.Err?.message ?? "unknown"}`, jails === "namespaces" ? "good" : "warn") : "no plugin may run anything"],
    ["payloads", hello?.payload_identity ?? "–"],
    ["accounting", hello?.accounting ?? "–"],
    ["at most", `${limits.concurrent_runs} for calls, ${limits.detached_runs} that outlive them; ${limits.parked_runs} kept ready`],
  ]);
}

function layers(list) {
  if (list.error) return fill(by("layers"), element("tr", {}, cell("Layer", list.error)));
  const rows = list.map((layer) => {
    const active = layer.status.active;
    const missing = layer.required_by.length ? mark("REQUIRED", "bad") : mark("missing", "warn");
    return element(
      "tr",
      {},
      cell("Layer", layer.name, "short"),
      cell("State", active ? mark("active", "good") : missing),
      cell("Gives", layer.gives),
      cell("Detail", active ? active.detail : `${layer.status.missing.why}; to get it: ${layer.how}`),
    );
  });
  fill(by("layers"), ...rows);
}

// The audit

let oldest = null;
let searches = 0;

async function records(more = false) {
  const asked = {
    event: by("audit-event").value,
    tool: by("audit-tool").value,
    caller: by("audit-caller").value,
    outcome: by("audit-outcome").value,
    text: by("audit-text").value,
    refused: by("audit-refused").checked,
    ...(more && oldest ? { before_seq: oldest } : {}),
  };
  by("audit-state").textContent = "searching";
  const search = ++searches;
  try {
    const told = await (await post("records", asked)).json();
    // Answers may come in another order than they were asked for.
    if (search !== searches) return;
    if (!told) {
      by("audit-state").textContent = "";
      facts(by("chain"), [["file", "none: records go to the log (audit.path)"]]);
      by("verify").hidden = by("audit-form").hidden = true;
      return;
    }
    chain(told);
    const rows = told.records.map(recordRow);
    if (more) by("records").append(...rows);
    else fill(by("records"), ...rows);
    oldest = told.records.at(-1)?.seq ?? oldest;
    by("older").hidden = told.is_all;
    by("audit-state").textContent = `${count(by("records").children.length)} records, newest first`;
  } catch (error) {
    if (search !== searches && error.status !== 401) return;
    by("audit-state").textContent = error.status === 401 ? "" : error.message;
    if (error.status === 401) throw error;
  }
}

function chain({ path, chain: state }) {
  const unsigned = state.last_seq - (state.signed_seq ?? 0);
  facts(by("chain"), [
    ["file", element("code", {}, plain(path))],
    ["records", state.last_seq ? `${count(state.first_seq)} to ${count(state.last_seq)}` : "none"],
    ["last hash", element("code", {}, state.last_hash ?? "–")],
    ["signed", state.signed_ms ? `up to ${count(state.signed_seq)}, at ${moment(state.signed_ms)}; ${count(Math.max(unsigned, 0))} since then` : "not yet"],
    ["public key", element("code", {}, state.public_key ?? "–")],
  ]);
}

function recordRow(record) {
  const { seq, time_ms, event, outcome, caller, by: who, address, tool, plugin, secret, token, program, process, reason } = record;
  const what = [tool, process, event === "call" ? null : plugin && `plugin ${plugin}`, secret && `secret ${secret}`, token && `token ${token}`, program].filter(Boolean).join(", ");
  const short = reason && reason.length > 120 ? `${reason.slice(0, 120)}…` : reason;
  const whole = element("details", {}, element("summary", {}, short ? plain(short) : "whole record"), element("pre", {}, plain(JSON.stringify(record, null, 1))));
  return element(
    "tr",
    {},
    cell("No.", String(seq), "number"),
    cell("Time", moment(time_ms), "short"),
    cell("Event", event),
    cell("Outcome", outcome ? mark(outcome, event === "call" || tone(outcome) === "warn" ? tone(outcome) : "") : ""),
    cell("Who", caller ?? who ?? address),
    cell("What", what, "mono"),
    cell("Reason", whole),
  );
}

async function verify() {
  by("verify").disabled = true;
  fill(by("verified"), "checking");
  try {
    const { is_good: isGood, report } = await (await post("verify", {})).json();
    const findings = report.findings.map((finding) => element("li", {}, plain(finding)));
    fill(by("verified"), mark(isGood ? `whole: ${count(report.records)} records, ${count(report.checkpoints)} checkpoints` : "NOT WHOLE", isGood ? "good" : "bad"), element("ul", {}, ...findings));
  } catch (error) {
    fill(by("verified"), plain(error.message));
  } finally {
    by("verify").disabled = false;
  }
}

// What happens

let paused = false, missed = 0;

function wanted(event) {
  const kind = by("live-kind").value, text = by("live-text").value.toLowerCase();
  const trouble = event.kind === "rejected" || (event.kind === "call" && event.outcome !== "ok");
  if (kind === "trouble" && !trouble) return false;
  if ((kind === "call" || kind === "log" || kind === "consent") && event.kind !== kind) return false;
  return !text || JSON.stringify(event).toLowerCase().includes(text);
}

function eventRow(event) {
  const row = element("tr", { class: "new" });
  if (event.kind === "call") {
    row.append(
      cell("Time", clock(event.time_ms), "short"),
      cell("Outcome", mark(event.outcome, tone(event.outcome))),
      cell("Tool", event.tool, "mono"),
      cell("Caller", event.caller),
      cell("Took", milliseconds(event.duration_us / 1000), "number"),
      cell("In", bytes(event.argument_bytes), "number"),
      cell("Out", bytes(event.result_bytes), "number"),
      cell("Reason", event.reason),
    );
    row.title = `call ${event.call}${event.parent ? ` of call ${event.parent}` : ""}, trace ${event.trace}`;
  } else if (event.kind === "consent") {
    row.append(
      cell("Time", clock(event.time_ms), "short"),
      cell("Outcome", mark(event.state === "waiting" ? "waits for consent" : event.state.replace("_", " "), consentTone(event.state))),
      cell("Tool", event.tool, "mono"),
      cell("Caller", event.caller),
      cell("Took", ""),
      cell("In", ""),
      cell("Out", ""),
      cell("Reason", event.by ? `by ${event.by}` : ""),
    );
  } else {
    const isLog = event.kind === "log";
    row.append(
      cell("Time", clock(event.time_ms), "short"),
      cell("Outcome", isLog ? mark(`log ${event.level}`, event.level === "error" ? "bad" : "") : mark("not let in", "warn")),
      cell("Tool", ""),
      cell("Caller", isLog ? `plugin ${event.plugin}` : event.address),
      cell("Took", ""),
      cell("In", ""),
      cell("Out", ""),
      cell("Reason", isLog ? event.message : event.reason),
    );
  }
  return row;
}

const shown = [];

function render() {
  fill(by("events"), ...shown.filter(({ event }) => wanted(event)).map(({ row }) => row));
  by("events-none").hidden = by("events").children.length > 0;
}

function happened(event) {
  if (event.kind === "consent" || event.kind === "missed") guarded(pending);
  if (event.kind === "missed") {
    missed += event.count;
    return liveState();
  }
  if (paused) {
    missed += 1;
    return liveState();
  }
  const row = eventRow(event);
  shown.unshift({ event, row });
  if (wanted(event)) by("events").prepend(row);
  while (shown.length > MOST_EVENTS) shown.pop().row.remove();
  by("events-none").hidden = by("events").children.length > 0;
}

function liveState(text) {
  by("live-state").textContent = text ?? (missed ? `${count(missed)} not shown` : "");
}

// Not EventSource: it could not send the key.
async function watch() {
  stream?.abort();
  const mine = (stream = new AbortController());
  while (!mine.signal.aborted) {
    try {
      const answer = await ask("events", { signal: mine.signal });
      liveState();
      guarded(pending);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const parts = (rest + value).split("\n\n");
        rest = parts.pop();
        for (const part of parts) if (part.startsWith("data: ")) happened(JSON.parse(part.slice(6)));
      }
    } catch (error) {
      if (mine.signal.aborted) return;
      if (error.status === 401) return login("The session has ended.");
    }
    liveState("not connected");
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

// What people do

addEventListener("resize", draw);
addEventListener("hashchange", () => (location.hash.startsWith("#ticket=") ? begin() : show()));
by("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = by("token").value.trim();
  by("token").value = "";
  try {
    await opened({}, { authorization: `Bearer ${token}` });
  } catch (error) {
    login({ 401: "This token is not known.", 403: "This token has not the scope admin." }[error.status] ?? error.message);
  }
});
by("leave").addEventListener("click", async () => {
  await post("logout", {}).catch(() => {});
  login();
});
by("audit-form").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(() => records());
});
by("older").addEventListener("click", () => guarded(() => records(true)));
by("verify").addEventListener("click", verify);
by("live-form").addEventListener("submit", (event) => event.preventDefault());
by("live-kind").addEventListener("change", render);
by("live-text").addEventListener("input", render);
by("live-pause").addEventListener("click", () => {
  paused = !paused;
  by("live-pause").setAttribute("aria-pressed", String(paused));
  by("live-pause").textContent = paused ? "Go on" : "Pause";
  if (!paused) missed = 0;
  liveState(paused ? "paused" : undefined);
});
by("live-clear").addEventListener("click", () => {
  shown.length = 0;
  missed = 0;
  liveState();
  render();
});

begin();
