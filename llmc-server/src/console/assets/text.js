// Numbers and texts as people read them, and elements that hold text. Nothing here makes markup from text.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function fill(parent, ...children) {
  parent.replaceChildren(...children);
}

// Invisible and bidirectional characters would let a text look like another one.
const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

export function plain(text) {
  return String(text ?? "").replace(ODD, (odd) => `\\u{${odd.codePointAt(0).toString(16)}}`);
}

export function count(number) {
  return new Intl.NumberFormat("en").format(number ?? 0);
}

export function milliseconds(number) {
  if (number === null || number === undefined) return "–";
  if (number >= 10_000) return `${(number / 1000).toFixed(0)} s`;
  if (number >= 1_000) return `${(number / 1000).toFixed(1)} s`;
  return number >= 10 ? `${number.toFixed(0)} ms` : `${number.toFixed(1)} ms`;
}

export function bytes(number) {
  if (number >= 1 << 20) return `${(number / (1 << 20)).toFixed(1)} MiB`;
  if (number >= 1 << 10) return `${(number / (1 << 10)).toFixed(1)} KiB`;
  return `${number ?? 0} B`;
}

export function duration(seconds) {
  const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24, minutes = Math.floor(seconds / 60) % 60;
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}

export function moment(ms) {
  const at = new Date(ms);
  return `${at.toLocaleDateString("sv-SE")} ${at.toLocaleTimeString("en-GB")}`;
}

export function clock(ms) {
  return new Date(ms).toLocaleTimeString("en-GB");
}

const REFUSED = ["unknown_tool", "denied", "invalid_arguments", "limit", "busy", "audit_failed", "unauthorised", "not_found", "declined", "unconfirmed", "client_lacks", "invalid_state", "refused"];

export function tone(outcome) {
  if (outcome === "input_required" || !outcome) return "";
  if (outcome === "ok") return "good";
  return REFUSED.includes(outcome) ? "warn" : "bad";
}

const CONSENT = { allowed: "good", denied: "warn", waiting: "warn" };

export function consentTone(state) {
  return CONSENT[state] ?? "";
}

export function mark(text, kind) {
  return element("span", { class: `mark ${kind ?? ""}` }, plain(text));
}

// A cell that knows its heading, for screens too narrow for columns.
export function cell(label, content, kind) {
  const made = element("td", { "data-label": label, class: kind });
  if (content instanceof Node) made.append(content);
  else if (content !== null && content !== undefined && content !== "") made.append(plain(content));
  return made;
}

export function tile(label, value, kind) {
  return element("div", { class: kind }, element("dt", {}, label), element("dd", {}, String(value)));
}

export function facts(list, entries) {
  fill(list, ...entries.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value instanceof Node ? value : plain(value))]));
}
