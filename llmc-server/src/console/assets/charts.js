// Two small charts, drawn as SVG.

import { clock, count, milliseconds } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 184, LEAST_POINTS = 60, LEFT = 46, RIGHT = 8, TOP = 8, BOTTOM = 22;

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// 1, 2 or 5 times a power of ten, and not below `least`.
function ceiling(value, least) {
  const wanted = Math.max(value, least), power = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= wanted);
}

// As wide as its place, so that text keeps its size; something where it is not shown.
function frame(place, label, top, format, points, step) {
  const width = place.clientWidth || 600;
  const svg = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label });
  for (const share of [0, 0.5, 1]) {
    const y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - share);
    svg.append(shape("line", { class: "rule", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }));
    svg.append(shape("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, format(top * share)));
  }
  const slots = Math.max(points.length, LEAST_POINTS), last = points.at(-1)?.time_ms;
  if (last) {
    svg.append(shape("text", { x: LEFT, y: HEIGHT - 6, "text-anchor": "start" }, clock(last - slots * step * 1000)));
    svg.append(shape("text", { x: width - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, clock(last)));
  }
  const slot = (width - LEFT - RIGHT) / slots;
  // The left edge of a point's slot; the last one ends at the right.
  return { svg, slot, left: (at) => width - RIGHT - (points.length - at) * slot };
}

function height(value, top) {
  return (HEIGHT - TOP - BOTTOM) * Math.min(value / top, 1);
}

export function calls(place, points, step) {
  const all = (point) => point.ok + point.refused + point.failed;
  const top = ceiling(Math.max(0, ...points.map(all)), 2);
  const sum = (key) => points.reduce((total, point) => total + point[key], 0);
  const label = `Calls in steps of ${step} seconds: ${count(sum("ok"))} went well, ${count(sum("refused"))} were refused, ${count(sum("failed"))} failed`;
  const { svg, slot, left } = frame(place, label, top, (value) => count(value), points, step);
  points.forEach((point, at) => {
    let y = HEIGHT - BOTTOM;
    for (const kind of ["ok", "refused", "failed"]) {
      const tall = height(point[kind], top);
      if (!tall) continue;
      y -= tall;
      svg.append(shape("rect", { class: kind, x: left(at).toFixed(2), y: y.toFixed(2), width: Math.max(slot - 0.8, 0.8).toFixed(2), height: tall.toFixed(2) }));
    }
  });
  place.replaceChildren(svg);
}

export function durations(place, points, step) {
  const values = points.flatMap((point) => [point.p50_ms, point.p95_ms]).filter((value) => value !== null);
  const top = ceiling(Math.max(0, ...values), 1);
  const last = points.findLast((point) => point.p50_ms !== null);
  const label = last
    ? `Durations of calls: median ${milliseconds(last.p50_ms)}, 95th percentile ${milliseconds(last.p95_ms)} at ${clock(last.time_ms)}`
    : "Durations of calls: none so far";
  const { svg, slot, left } = frame(place, label, top, (value) => (value ? milliseconds(value) : "0"), points, step);
  for (const kind of ["p50", "p95"]) {
    let path = "", drawn = false;
    points.forEach((point, at) => {
      const value = point[`${kind}_ms`];
      if (value === null) {
        drawn = false;
        return;
      }
      const x = left(at) + slot / 2, y = HEIGHT - BOTTOM - height(value, top);
      // A point alone would be no line.
      path += drawn ? `L${x.toFixed(2)} ${y.toFixed(2)}` : `M${(x - slot / 2).toFixed(2)} ${y.toFixed(2)}L${x.toFixed(2)} ${y.toFixed(2)}`;
      drawn = true;
    });
    if (path) svg.append(shape("path", { class: kind, d: path }));
  }
  place.replaceChildren(svg);
}
