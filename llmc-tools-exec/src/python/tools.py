"""The tools of the server that runs this code: `from llmc import tools`, then `tools.read_file(path="notes.md")`.

Arguments go by name and results are dicts. A tool that refuses or fails raises `ToolError`.
"""

from _thread import allocate_lock

from _llmc import dumps, loads, receive, send


def connect(job):
    """Called once, by `boot.py`."""
    global tools
    tools = Tools(Calls(job["max_calls"], job["max_open"]), job["tools"])


class ToolError(Exception):
    """A tool refused or failed. The text is what the tool said; `data` is its structured content, if any."""

    def __init__(self, message, tool=None, data=None):
        super().__init__(message)
        self.tool = tool
        self.data = data


class UnknownToolError(ToolError, AttributeError):
    """There is no tool of that name, or the code may not call it."""


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
        self.someone_reads = False

    def call(self, name, arguments):
        try:
            body = '{"id":%d,"name":' + dumps(name).replace("%", "%%") + ',"arguments":'
            tail = dumps(arguments)
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError("tools.%s: the arguments cannot be written as JSON: %s" % (name, error)) from None
        self.enter()
        try:
            answer = self.ask(body, tail, name)
        finally:
            self.leave()
        if "error" in answer:
            error = answer["error"]
            kind = UnknownToolError if error.get("kind") == "unknown_tool" else ToolError
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

    def ask(self, body, tail, name):
        gate = _closed_gate()
        with self.lock:
            if self.count >= self.max_calls:
                raise ToolError("more than %d tool calls in one run" % self.max_calls, name)
            send(b"C", _encode(body % (self.count + 1) + tail + "}", name))
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
    """The tools that this code may call: `tools.read_file(path="notes.md")`. See `dir(tools)`."""

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

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self.__made:
            self.__made[name] = _function(self.__calls, name, self.__find(name))
        return self.__made[name]

    def __dir__(self):
        return ["call", *(self.__known() or ())]

    def __repr__(self):
        return "<tools: %s>" % ", ".join(self.__known() or ["tools.NAME(...)"])


def _function(calls, name, tool):
    def function(*positional, **arguments):
        if positional:
            raise TypeError("tools.%s takes its arguments by name%s" % (name, _example(name, tool)))
        return calls.call(name, arguments)

    function.__name__ = function.__qualname__ = name
    function.__module__ = "llmc"
    function.__doc__ = _documentation(tool)
    return function


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
        note = "required" if name in required else "optional"
        text = schema.get("description", "") if isinstance(schema, dict) else ""
        lines.append("    %s (%s): %s" % (name, note, text))
    return "\n".join(lines).strip() or None
