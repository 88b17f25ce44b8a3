// What code finds as globals, made before it runs, and before anything is known of it: `console`, `print`, `stdin`, `tools`, `ToolError`, `secret`, `progress`, timers.
//
// A function of the native ones (`native`), which the code never sees. It takes what it uses from the built-in
// prototypes when it is called; code that changes those later changes its own output and nothing else: the frames
// on the job socket are written outside this language.
(function (native) {
  "use strict";
  const { parse, stringify } = JSON;
  const { defineProperty, freeze, getPrototypeOf } = Object;
  const internalError = InternalError.prototype;
  // Without the name, an error of this kind comes from the interpreter: what tells a real shortage of memory.
  delete globalThis.InternalError;
  // It would show code the functions of this file as call sites.
  defineProperty(Error, "prepareStackTrace", { value: undefined, writable: false, configurable: false });

  // Readable text of any value, for people and models.
  const MAX_DEPTH = 5;
  const MAX_ITEMS = 200;
  const MAX_CHARS = 120000;

  function inspect(value, depth = 0, seen = []) {
    switch (typeof value) {
      case "string": return depth === 0 ? value : stringify(value);
      case "bigint": return `${value}n`;
      case "symbol": return String(value);
      case "function": return `[${/^class\b/.test(Function.prototype.toString.call(value)) ? "class" : "Function"}: ${value.name || "(anonymous)"}]`;
      case "object": break;
      default: return Object.is(value, -0) ? "-0" : String(value);
    }
    if (value === null) return "null";
    if (seen.includes(value)) return "[Circular]";
    if (value instanceof Error) return errorText(value);
    if (value instanceof Date) return isNaN(value) ? "Invalid Date" : value.toISOString();
    if (value instanceof RegExp) return String(value);
    if (value instanceof Promise) return "Promise {}";
    const name = constructorName(value);
    if (depth >= MAX_DEPTH) return Array.isArray(value) ? "[Array]" : `[${name || "Object"}]`;
    return members(value, name, depth + 1, [...seen, value]);
  }

  function members(value, name, depth, seen) {
    const show = (item) => inspect(item, depth, seen);
    const count = value.size ?? value.length;
    const label = name === "Object" || name === "Array" ? "" : `${name || "[Object: null prototype]"} `;
    if (Array.isArray(value) || ArrayBuffer.isView(value) && "length" in value) {
      const prefix = Array.isArray(value) ? label : `${name}(${count}) `;
      return wrap(`${prefix}[`, take(value, (item) => show(item), count), "]", depth);
    }
    if (value instanceof Map) return wrap(`Map(${count}) {`, take(value, ([key, item]) => `${show(key)} => ${show(item)}`, count), "}", depth);
    if (value instanceof Set) return wrap(`Set(${count}) {`, take(value, show, count), "}", depth);
    const keys = Reflect.ownKeys(value).filter((key) => Object.getOwnPropertyDescriptor(value, key)?.enumerable);
    return wrap(`${label}{`, take(keys, (key) => `${keyText(key)}: ${property(value, key, show)}`, keys.length), "}", depth);
  }

  function property(value, key, show) {
    const descriptor = Object.getOwnPropertyDescriptor(value, key);
    return descriptor && "value" in descriptor ? show(descriptor.value) : "[Getter]";
  }

  function take(items, show, count) {
    const shown = [];
    let chars = 0;
    for (const item of items) {
      if (shown.length >= MAX_ITEMS || chars > MAX_CHARS) {
        shown.push(`... ${count - shown.length} more`);
        break;
      }
      shown.push(show(item));
      chars += shown[shown.length - 1].length;
    }
    return shown;
  }

  function wrap(open, items, close, depth) {
    if (items.length === 0) return open + close;
    const line = items.join(", ");
    const space = close === "}" ? " " : "";
    if (line.length <= 76 && !line.includes("\n")) return `${open}${space}${line}${space}${close}`;
    const indent = "  ".repeat(depth);
    return `${open}\n${items.map((item) => indent + item).join(",\n")}\n${indent.slice(2)}${close}`;
  }

  function keyText(key) {
    if (typeof key === "symbol") return `[${String(key)}]`;
    return /^[A-Za-z_$][\w$]*$/.test(key) ? key : stringify(key);
  }

  function constructorName(value) {
    const prototype = getPrototypeOf(value);
    const constructor = prototype === null ? null : prototype.constructor;
    return typeof constructor === "function" ? constructor.name : "";
  }

  function errorText(error) {
    const head = `${error.name}: ${error.message}`;
    const stack = ownFrames(error.stack);
    const cause = error.cause === undefined ? "" : `\ncaused by ${inspect(error.cause, 1)}`;
    return (stack ? `${head}\n${stack}` : head) + cause;
  }

  function ownFrames(stack) {
    const lines = typeof stack === "string" ? stack.split("\n") : [];
    return lines.filter((line) => line.trim() && !line.includes("llmc:prelude")).join("\n");
  }

  // JSON without halves of surrogate pairs, which only this language allows: they become U+FFFD.
  function toJson(value) {
    const json = stringify(value);
    if (!json?.includes("\\ud")) return json;
    return json.replace(/\\(u....|.)/g, (escape) => (/^\\ud[89a-f]/.test(escape) ? "\\ufffd" : escape));
  }

  const text = (values) => values.map((value) => inspect(value)).join(" ").toWellFormed();

  // Output.
  const print = (...values) => native.print(1, text(values) + "\n");
  const complain = (...values) => native.print(2, text(values) + "\n");
  const show = (name, value) => defineProperty(globalThis, name, { value, writable: true, configurable: true });
  show("print", print);
  show("console", { log: print, info: print, debug: print, warn: complain, error: complain });
  defineProperty(globalThis, "stdin", { get: native.stdin, enumerable: false, configurable: true });

  // Tools.
  class ToolError extends Error {
    constructor(message, tool, data) {
      super(message);
      this.tool = tool;
      if (data !== undefined) this.data = data;
    }
  }
  defineProperty(ToolError.prototype, "name", { value: "ToolError", writable: true, configurable: true });
  show("ToolError", ToolError);

  function call(name, args = {}) {
    if (typeof name !== "string") throw new TypeError("tools.call takes the name of a tool and one object of arguments");
    if (typeof args !== "object" || args === null || Array.isArray(args)) {
      throw new TypeError(`tools.${name} takes one object of named arguments: tools.${name}({path: "..."})`);
    }
    const [ok, answer] = native.call(name.toWellFormed(), toJson(args));
    if (ok) return parse(answer);
    const failure = parse(answer);
    throw new ToolError(failure.message, name, failure.data ?? undefined);
  }

  // The value of a secret that the operator granted to code.
  show("secret", (name) => call("llmc.secret", { name }));

  // How far the work is: `done` of `total`, and a few words.
  show("progress", (done, total, message = "") => {
    if (![done, total ?? 0].every(Number.isFinite)) throw new TypeError("progress takes finite numbers: progress(done, total, message)");
    native.progress(done, total ?? null, String(message).toWellFormed());
  });

  let list;
  const listed = () => (list ??= parse(native.tools() ?? "[]"));
  const known = () => listed().map((tool) => tool.name);

  // The same order as in Python: the name counts most, then what is said of the tool, then its arguments.
  const wordsOf = (text) => text.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const fit = (a, b) => a === b ? 2 : Math.min(a.length, b.length) >= 3 && (a.startsWith(b) || b.startsWith(a)) ? 1 : 0;
  function score(tool, wanted) {
    const about = `${tool.title ?? ""} ${tool.description ?? ""}`;
    const names = Object.keys(tool.input_schema?.properties ?? {}).join(" ");
    const places = [[8, wordsOf(tool.name)], [3, wordsOf(about)], [1, wordsOf(names)]];
    let sum = 0;
    for (const word of wanted) {
      for (const [weight, words] of places) sum += weight * Math.max(0, ...words.map((other) => fit(word, other)));
    }
    return sum;
  }

  function search(words = "", limit = 20) {
    const wanted = wordsOf(String(words));
    const scored = listed().map((tool) => [score(tool, wanted), tool]).filter(([points]) => points || !wanted.length);
    scored.sort(([a, first], [b, second]) => b - a || (first.name < second.name ? -1 : 1));
    const line = (tool) => (tool.description ?? "").split("\n", 1)[0].slice(0, 160);
    return scored.slice(0, limit).map(([, tool]) => ({ name: tool.name, description: line(tool) }));
  }

  function describe(name) {
    const tool = listed().find((tool) => tool.name === name);
    if (tool) return tool;
    throw new ToolError(`there is no tool \`${name}\` that this code may call; see tools.search()`, String(name));
  }

  const made = { __proto__: null, call, search: freeze(search), describe: freeze(describe) };
  // `then` and `toJSON` are what the language itself asks any object for.
  const isTool = (name) => typeof name === "string" && name !== "then" && name !== "toJSON";
  const tools = new Proxy({}, {
    get: (_, name) => isTool(name) ? made[name] ??= freeze(Object.assign((...args) => {
      if (args.length > 1) throw new TypeError(`tools.${name} takes one object of named arguments`);
      return call(name, args[0]);
    }, {})) : undefined,
    has: (_, name) => known().includes(name),
    ownKeys: () => known(),
    getOwnPropertyDescriptor: (_, name) => known().includes(name)
      ? { value: tools[name], enumerable: true, configurable: true, writable: false } : undefined,
    set: () => false,
    defineProperty: () => false,
    deleteProperty: () => false,
    setPrototypeOf: () => false,
    preventExtensions: () => false,
  });
  defineProperty(globalThis, "tools", { value: tools, writable: true, configurable: true });

  // Timers: run one after the other when nothing else is left to do, no earlier than asked.
  let timers = [];
  let lastTimer = 0;
  const start = (callback, delay, args, every) => {
    if (typeof callback !== "function") throw new TypeError("the first argument must be a function");
    const wait = Math.max(Number(delay) || 0, every ? 1 : 0);
    const timer = { id: ++lastTimer, at: native.now() + wait, callback, args, every: every ? wait : undefined };
    timers.push(timer);
    return timer.id;
  };
  const stop = (id) => { timers = timers.filter((timer) => timer.id !== id); };
  show("setTimeout", (callback, delay, ...args) => start(callback, delay, args, false));
  show("setInterval", (callback, delay, ...args) => start(callback, delay, args, true));
  show("clearTimeout", stop);
  show("clearInterval", stop);

  const next = () => timers.reduce((first, timer) => first && first.at <= timer.at ? first : timer, undefined);

  return {
    // The job is there. `performance` counts from now, however long this was ready before.
    begin: () => {
      const { now, timeOrigin } = performance;
      const waited = now();
      const clock = { now: () => now() - waited };
      globalThis.performance = defineProperty(clock, "timeOrigin", { value: timeOrigin + waited, enumerable: true });
    },
    // Milliseconds until the next timer; -1 without one.
    wait: () => (timers.length === 0 ? -1 : Math.max(0, next().at - native.now())),
    fire: () => {
      const timer = next();
      if (timer.every === undefined) stop(timer.id);
      else timer.at = native.now() + timer.every;
      timer.callback(...timer.args);
    },
    // [is it JSON, text]
    value: (value) => {
      const plain = typeof value !== "object" || value === null
        ? typeof value === "string" || typeof value === "boolean" || Number.isFinite(value) || value === null
        : !(value instanceof Map || value instanceof Set || value instanceof Error || value instanceof RegExp);
      if (plain) {
        try {
          const json = toJson(value);
          if (json !== undefined) return [true, json];
        } catch {
          // It has no such form, or no end.
        }
      }
      return [false, inspect(value).toWellFormed()];
    },
    // [type, message, stack]
    error: (error) => {
      if (!(error instanceof Error)) return [`thrown ${typeof error}`, inspect(error).toWellFormed(), ""];
      return [String(error.name), String(error.message), ownFrames(error.stack)].map((part) => part.toWellFormed());
    },
    isOutOfMemory: (error) => typeof error === "object" && error !== null
      && getPrototypeOf(error) === internalError && /^out of memory/.test(error.message),
    isPromise: (value) => value instanceof Promise,
  };
})
