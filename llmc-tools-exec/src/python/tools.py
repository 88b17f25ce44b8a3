"""The tools of the server that runs this code: `from llmc import tools`, then `tools.read_file(path="notes.md")`.

Arguments go by name and results are dicts. A tool that refuses or fails raises `ToolError`.
"""

from _thread import allocate_lock
from time import monotonic

from _llmc import dumps, loads, receive, send


def connect(job):
    """Called once, by `boot.py`."""
    global tools, secret, _progress
    calls = Calls(job["max_calls"], job["max_open"])
    tools = Tools(calls, job["tools"])

    def secret(name):
        """The value of a secret that the operator granted to code. It is masked wherever it would be shown."""
        return calls.call("llmc.secret", {"name": name})

    secret.__module__ = "llmc"
    _progress = Progress(calls)


class ToolError(Exception):
    """A tool refused or failed. The text is what the tool said; `data` is its structured content, if any."""

    def __init__(self, message, tool=None, data=None):
        super().__init__(message)
        self.tool = tool
        self.data = data


class LimitError(ToolError):
    """A limit was met: of calls, of bytes, of time or of places. The text names it."""


class UnknownToolError(ToolError, AttributeError):
    """There is no tool of that name, or the code may not call it."""


_ERRORS = {"unknown_tool": UnknownToolError, "limit": LimitError}


class Calls:
    """Calls in flight. Threads may call at the same time: one that waits reads the answers for all."""

    def __init__(self, max_calls, max_open):
        self.lock = allocate_lock()
        self.max_calls = max_calls
        self.count = 0
        self.free = max_open
        self.queue = []  # gates of threads that wait until fewer calls are open
        self.waiting = {}  # id -> gate of the thread that waits
        self.answers = {}
        self.names = {}  # name -> the same as JSON
        self.someone_reads = False

    def call(self, name, arguments):
        try:
            written = self.names.get(name) or self.names.setdefault(name, dumps(name))
            text = dumps(arguments)
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError("tools.%s: the arguments cannot be written as JSON: %s" % (name, error)) from None
        self.enter()
        try:
            answer = self.ask(name, written, text)
        finally:
            self.leave()
        if "error" in answer:
            error = answer["error"]
            kind = _ERRORS.get(error.get("kind"), ToolError)
            raise kind(error["message"], name, error.get("data"))
        return answer.get("value")

    def enter(self):
        with self.lock:
            if self.free:
                self.free -= 1
                return
            gate = _closed_gate()
            self.queue.append(gate)
        gate.acquire()

    def leave(self):
        with self.lock:
            if self.queue:
                self.queue.pop(0).release()
            else:
                self.free += 1

    def ask(self, name, written, arguments):
        gate = _closed_gate()
        with self.lock:
            if self.count >= self.max_calls:
                raise LimitError("more than %d tool calls in one run" % self.max_calls, name)
            body = '{"id":%d,"name":%s,"arguments":%s}' % (self.count + 1, written, arguments)
            send(b"C", _encode(body, name))
            self.count += 1
            call_id = self.count
            self.waiting[call_id] = gate
            reading = not self.someone_reads
            self.someone_reads = True
        return self.wait_for(call_id, gate, reading)

    def wait_for(self, call_id, gate, reading):
        while True:
            if not reading:
                gate.acquire()  # Released with the answer, or to read on for everyone.
            with self.lock:
                if call_id in self.answers:
                    return self.answers.pop(call_id)
            reading = True
            try:
                _, answer = receive()
            except BaseException:
                self.hand_over(call_id)
                raise
            with self.lock:
                self.answers[answer["id"]] = answer
                other = self.waiting.pop(answer["id"], None)
            if answer["id"] == call_id:
                self.hand_over(call_id)
            elif other is not None:
                other.release()

    def hand_over(self, call_id):
        """This thread reads no more: another one that waits does, if there is one."""
        with self.lock:
            self.waiting.pop(call_id, None)
            heir = next(iter(self.waiting.values()), None)
            self.someone_reads = heir is not None
        if heir is not None:
            heir.release()


def _closed_gate():
    gate = allocate_lock()
    gate.acquire()
    return gate


def _encode(text, name):
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("tools.%s: the arguments hold half a surrogate pair" % name) from None


class Tools:
    """The tools that this code may call: `tools.read_file(path="notes.md")`.

    `tools.search("words")` finds some, `tools.describe("name")` and `help(tools.name)` tell about one, `dir(tools)`
    lists all, `tools.call("name", ...)` calls one whatever its name.
    """

    __slots__ = ("__calls", "__text", "__listed", "__made")

    def __init__(self, calls, text):
        self.__calls = calls
        self.__text = text
        self.__listed = None
        self.__made = {}

    def __known(self):
        """The listed tools by name, or None if any name may be tried. Most code calls none: parsed when needed."""
        if self.__listed is None and self.__text is not None:
            self.__listed = {tool["name"]: tool for tool in loads(self.__text)}
        return self.__listed

    def __find(self, name):
        """What is known of a tool. An unlisted one is asked for all the same: refusals are the server's to word."""
        return (self.__known() or {}).get(name, {})

    def call(self, name, /, **arguments):
        """Calls a tool by its name: `tools.call("read_file", path="notes.md")`."""
        return self.__calls.call(name, arguments)

    def search(self, words="", limit=20):
        """Finds tools by words, best first: a list of {"name", "description"}."""
        wanted = _words(words)
        scored = [(_score(tool, wanted), tool) for tool in self.__listed_tools()]
        found = [pair for pair in scored if pair[0] or not wanted]
        found.sort(key=lambda pair: (-pair[0], pair[1]["name"]))
        return [{"name": tool["name"], "description": _line(tool)} for _, tool in found[:limit]]

    def describe(self, name):
        """Tells everything about a tool: {"name", "description", "input_schema", ...}."""
        for tool in self.__listed_tools():
            if tool["name"] == name:
                return tool
        raise UnknownToolError("there is no tool `%s` that this code may call; see tools.search()" % name, name)

    def __listed_tools(self):
        known = self.__known()
        if known is None:
            raise ToolError("the tools are not listed for code that does not name `llmc`")
        return known.values()

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self.__made:
            self.__made[name] = _function(self.__calls, name, self.__find(name))
        return self.__made[name]

    def __dir__(self):
        return sorted({"call", "describe", "search", *(self.__known() or ())})

    def __repr__(self):
        return "<tools: %s>" % ", ".join(self.__known() or ["tools.NAME(...)"])


# Search.

def _words(text):
    return "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()


def _score(tool, wanted):
    """The name counts most, then what is said of the tool, then its arguments."""
    about = "%s %s" % (tool.get("title", ""), tool.get("description", ""))
    places = (8, _words(tool["name"])), (3, _words(about)), (1, _words(" ".join(_properties(tool)[0])))
    return sum(
        weight * max((_fit(word, known) for known in names), default=0) for word in wanted for weight, names in places
    )


def _fit(word, known):
    """2 for the same word, 1 for the same beginning."""
    if word == known:
        return 2
    short, long = sorted((word, known), key=len)
    return 1 if len(short) >= 3 and long.startswith(short) else 0


def _line(tool):
    return (tool.get("description") or "").partition("\n")[0][:160]


# Functions.

def _function(calls, name, tool):
    def function(*positional, **arguments):
        if positional:
            raise TypeError("tools.%s takes its arguments by name%s" % (name, _example(name, tool)))
        return calls.call(name, arguments)

    function.__name__ = function.__qualname__ = name
    function.__module__ = "llmc"
    function.__doc__ = _documentation(tool)
    if tool:
        # `inspect` and `help` take the signature of what is wrapped. What is called is the function above: wrong
        # arguments are the server's to refuse, and nothing is looked at twice.
        function.__wrapped__ = _signature(name, tool)
        function.__annotations__ = dict(function.__wrapped__.__annotations__)
    return function


class Shown:
    """A type or a default as it is written in a signature."""

    __slots__ = ("text",)

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


def _signature(name, tool):
    """A function that does nothing and has the parameters of the schema: required ones first."""
    properties, required = _properties(tool)
    usable = [each for each in properties if _is_parameter(each)]
    usable.sort(key=lambda each: each not in required)
    source = ["*, " + ", ".join(usable)] if usable else []
    source += ["**more"] if len(usable) < len(properties) else []
    function = eval("lambda %s: None" % ", ".join(source), {"__builtins__": {}})
    function.__kwdefaults__ = {each: _default(properties[each]) for each in usable if each not in required}
    function.__annotations__ = {each: _type(properties[each]) for each in usable}
    function.__annotations__["return"] = dict if tool.get("output_schema") else Shown("dict | str")
    function.__name__ = function.__qualname__ = name
    return function


def _is_parameter(name):
    from keyword import iskeyword

    return name.isascii() and name.isidentifier() and not iskeyword(name) and name not in ("more", "__debug__")


def _default(schema):
    """What is left out is not sent; the schema may tell what the tool then takes."""
    if isinstance(schema, dict) and "default" in schema:
        return Shown(repr(schema["default"]))
    return Shown("...")


_TYPES = {"string": str, "integer": int, "number": float, "boolean": bool, "array": list, "object": dict}


def _type(schema):
    """A type if there is a plain one, else how one would write it."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    plain = isinstance(kind, str) and "enum" not in schema and "items" not in schema
    return _TYPES[kind] if plain and kind in _TYPES else Shown(_written_type(schema))


def _written_type(schema):
    if not isinstance(schema, dict):
        return "object"
    if isinstance(schema.get("enum"), list):
        return " | ".join(repr(value) for value in schema["enum"])
    if "const" in schema:
        return repr(schema["const"])
    kinds = schema.get("type") or ()
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "array" in kinds and isinstance(schema.get("items"), dict):
        array = "list[%s]" % _written_type(schema["items"])
        return " | ".join(array if kind == "array" else _type_name(kind) for kind in kinds)
    if kinds:
        return " | ".join(_type_name(kind) for kind in kinds)
    either = schema.get("anyOf") or schema.get("oneOf") or ()
    return " | ".join(_written_type(one) for one in either) or "object"


def _type_name(kind):
    return "None" if kind == "null" else getattr(_TYPES.get(kind), "__name__", "object")


def _properties(tool):
    schema = tool.get("input_schema") or {}
    return schema.get("properties") or {}, schema.get("required") or ()


def _example(name, tool):
    properties, required = _properties(tool)
    names = list(required) or list(properties)[:1]
    return ": tools.%s(%s)" % (name, ", ".join("%s=..." % each for each in names)) if names else ""


def _documentation(tool):
    properties, required = _properties(tool)
    lines = [tool.get("description") or ""]
    for name, schema in properties.items():
        need = "required" if name in required else "optional"
        about = [schema.get("description", "")] if isinstance(schema, dict) else []
        if isinstance(schema, dict) and "default" in schema:
            about.append("Default: %r." % (schema["default"],))
        lines.append("    %s (%s, %s): %s" % (name, _written_type(schema), need, " ".join(filter(None, about))))
    return "\n".join(lines).strip() or None


# Progress.

class Progress:
    """Reports that come faster than anybody reads them are dropped here, but for the last one of a total."""

    INTERVAL_S = 0.05

    def __init__(self, calls):
        self.calls = calls
        self.next = 0.0

    def report(self, done, total, message):
        done = float(done)
        total = None if total is None else float(total)
        with self.calls.lock:
            now = monotonic()
            if now < self.next and done != total:
                return
            self.next = now + self.INTERVAL_S
            send(b"P", dumps({"done": done, "total": total, "message": str(message)[:1000]}).encode(errors="replace"))


def progress(done, total=None, message=""):
    """Tells the caller how far the work is: `done` of `total`, and a few words. `done` should only grow."""
    _progress.report(done, total, message)
