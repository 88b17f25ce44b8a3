"""Runs one piece of code inside the jail and reports what became of it.

Descriptor 3 is a socket to the plugin. Every message on it is a frame: length of the body (u32, big-endian),
kind (one byte), body (JSON):

    -> r {"v", "engine", "texts": true}               ready; takes texts beside answers
    <- J {"code", "tools", "max_calls", "max_open",   the job; `tools` is JSON text or null
          "files"?, "returns"?}                       input files; which files to return
    -> C {"id", "name", "arguments"}                  calls a tool; ids count 1, 2, 3, ...
    <- T text                                         the long text of the answer that follows, as it is
    <- R {"id", "value", "text"?} or {"id", "error"}  the answer to a call; `text`: the field of the value for it
    -> P {"done", "total", "message"}                 how far the code is
    -> F {"path", "text" or "base64"}                 a result file, after the code has ended
    -> D {"value"?, "error"?, "exit_code"?,           done; the last frame
          "files_omitted"?}

What goes over the socket is the code's own word: it runs in this very interpreter and could write there itself.
The plugin treats all of it as data.

Start-up time is what the caller waits for. So only built-in modules are imported until something else is needed
(`json` alone would take as long as the interpreter), and what most code does not need is in files of its own that
are compiled when it does: `tools.py`, `files.py` and `errors.py`. All functions are bound by name at the start, so code that
patches a module later does not change them.
"""

import builtins
import sys
from _ast import Expr, Expression, PyCF_ALLOW_TOP_LEVEL_AWAIT, PyCF_ONLY_AST
from _thread import allocate_lock
from io import open
from posix import _exit, fstat, putenv, read, set_inheritable, write

VERSION = 1
CHANNEL = 3
NAME = "<code>"
MAX_FRAME_BYTES = 1 << 20
CHUNK_BYTES = 16 << 10
MAX_VALUE_BYTES = 256 << 10
MAX_REPR_CHARS = 100_000
IS_COROUTINE = 0x80  # `inspect.CO_COROUTINE`

# What code usually imports.
USUAL = (
    "ast asyncio base64 bisect collections collections.abc contextlib copy csv dataclasses datetime decimal enum "
    "functools hashlib heapq inspect io itertools json linecache math operator os pathlib random re statistics string "
    "struct textwrap threading time traceback types typing unicodedata urllib.parse"
).split()

HERE = (lambda: None).__code__.co_filename.rpartition("/")[0] + "/"


COMPILED = {}


def compiled(file):
    """The code of another file of this directory."""
    if file not in COMPILED:
        with open(HERE + file, encoding="utf-8") as source:
            COMPILED[file] = compile(source.read(), HERE + file, "exec", 0, True)
    return COMPILED[file]


def part(file, module):
    """Runs another file of this directory as `module`."""
    exec(compiled(file), module.__dict__)
    return module


def _packages():
    """Directories that the operator grants come after the standard library, so that nothing in it is replaced."""
    try:
        with open(HERE + "packages", encoding="utf-8") as listing:
            sys.path.extend(listing.read().splitlines())
    except OSError:
        return  # None is granted.
    # Libraries for numbers would start a thread for each processor of the machine, more than a jail may have.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        putenv(name, "1")


# JSON without the `json` package: the same C functions, without the modules around them.

def _load_codec():
    try:
        from _json import encode_basestring, make_encoder, make_scanner

        class Options:
            strict = True
            object_hook = object_pairs_hook = None
            parse_float, parse_int, parse_constant = float, int, float
            memo = {}

        scan = make_scanner(Options())

        def dumps(value):
            encode = make_encoder({}, _to_json, encode_basestring, None, ":", ",", False, False, False)
            return "".join(encode(value, 0))

        def loads(text):
            return scan(text, 0)[0]

        if loads(dumps({"a": [1, "\u00e9"]})) == {"a": [1, "\u00e9"]}:
            return dumps, loads
    except Exception:
        pass  # Another build of Python: take the long way.
    from json import JSONDecoder, JSONEncoder

    encoder = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_to_json)
    return encoder.encode, JSONDecoder().decode


def _to_json(value):
    path = getattr(type(value), "__fspath__", None)
    if path is not None:
        return path(value)
    raise TypeError("`%s` is not JSON" % type(value).__name__)


dumps, loads = _load_codec()


# Frames.

def _identity(descriptor):
    status = fstat(descriptor)
    return status.st_dev, status.st_ino


class Closed(OSError):
    """The socket is gone: closed by the code, or by the other side."""


CHANNEL_IDENTITY = None  # Known when the job begins.


def _check_channel():
    """The code may have closed descriptor 3 and opened something else there."""
    try:
        same = _identity(CHANNEL) == CHANNEL_IDENTITY
    except OSError:
        same = False
    if not same:
        raise Closed("descriptor 3, which tool calls go through, was closed")


def send(kind, body):
    _check_channel()
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError("%d bytes of JSON, at most %d are allowed" % (len(body), MAX_FRAME_BYTES))
    rest = memoryview(len(body).to_bytes(4, "big") + kind + body)
    while rest:
        rest = rest[write(CHANNEL, rest):]


def receive():
    """The next frame. A text before it becomes a part of it."""
    kind, body = _frame()
    if kind != b"T":
        return kind, loads(body.decode())
    kind, answer = receive()
    answer["value"][answer["text"]] = body.decode()
    return kind, answer


_unread = b""  # What came with the frame before.


def _frame():
    global _unread
    data = _unread or _some(CHUNK_BYTES)
    while len(data) < 5:
        data += _some(CHUNK_BYTES)
    end = 5 + int.from_bytes(data[:4], "big")
    missing = end - len(data)
    if missing > 0:
        parts = [data]
        while missing:
            parts.append(_some(min(missing, 1 << 20)))
            missing -= len(parts[-1])
        data = b"".join(parts)
    _unread = data[end:]
    return data[4:5], data[5:end]


def _some(count):
    chunk = read(CHANNEL, count)
    if not chunk:
        raise Closed("the other side has closed")
    return chunk


# The code itself.

def execute(code, namespace):
    """Runs `code` and returns the value of its last expression, else of the variable `result`."""
    steps = _compile(code)
    if any(step.co_flags & IS_COROUTINE for step in steps):
        import asyncio

        value = asyncio.run(_run_async(steps, namespace))
    else:
        value = None
        for step in steps:
            value = eval(step, namespace)
    return namespace.get("result") if value is None else value


async def _run_async(steps, namespace):
    value = None
    for step in steps:
        value = eval(step, namespace)
        if step.co_flags & IS_COROUTINE:
            value = await value
    return value


def _compile(code):
    """Everything but a last expression as one step, that expression as another."""
    flags = PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(code, NAME, "exec", PyCF_ONLY_AST | flags, True)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], Expr) else None
    steps = [compile(tree, NAME, "exec", flags, True)]
    if last is not None:
        steps.append(compile(Expression(last.value), NAME, "eval", flags, True))
    return steps


def _finish():
    """What an interpreter does at its end: threads, `atexit`, buffers."""
    for module, function in (("threading", "_shutdown"), ("atexit", "_run_exitfuncs")):
        if module in sys.modules:
            getattr(sys.modules[module], function)()


def _flush():
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except BaseException:
            pass  # Closed or replaced by the code.


# The report.

def _describe_value(value):
    try:
        text = dumps(value)
        size = len(text.encode(errors="replace"))
        if size <= MAX_VALUE_BYTES:
            return {"json": text}
        return {"repr": text[:MAX_REPR_CHARS], "bytes": size}
    except BaseException:
        pass  # Not JSON, or too deep.
    try:
        text = repr(value)
        text = text if type(text) is str else str(text)
    except BaseException as error:
        text = "<%s; its repr failed: %s>" % (type(value).__name__, type(error).__name__)
    if len(text) <= MAX_REPR_CHARS:
        return {"repr": text}
    return {"repr": text[:MAX_REPR_CHARS], "bytes": len(text.encode(errors="replace"))}


def _describe_error(error, code):
    try:
        errors = part("errors.py", type(sys)("llmc_errors"))
        return errors.describe(error, code, NAME, HERE)
    except BaseException as failure:  # For example out of memory once more.
        message = "<it cannot be described: %s>" % type(failure).__name__
        return {"type": type(error).__name__, "message": message, "traceback": None, "line": None}


def _exit_code(error):
    """What `sys.exit(x)` means to a shell."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return int(error.code) & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def _run(code, namespace):
    report = {}
    value = None
    try:
        try:
            value = execute(code, namespace)
        except SystemExit as error:
            value = namespace.get("result")
            report["exit_code"] = _exit_code(error)
            if report["exit_code"]:
                message = "exit code %d" % report["exit_code"]
                report["error"] = {"type": "SystemExit", "message": message, "traceback": None, "line": None}
        _finish()
    except BaseException as error:
        report["error"] = _describe_error(error, code)
        value = namespace.get("result")
    if value is not None:
        report["value"] = _describe_value(value)
    return report


# Files.

def _place(files):
    """Writes the input files. Tells what became of the code if that fails: nothing."""
    try:
        part("files.py", _files_module()).place(files)
    except BaseException as error:
        message = str(error)
        return {"error": {"type": type(error).__name__, "message": message, "traceback": None, "line": None}}
    return None


def _return_files(wanted):
    """Sends the files that are wanted; returns what was left out, and why."""
    try:
        files = part("files.py", _files_module())

        def send_file(path, contents):
            for form, text in files.forms(contents):
                body = dumps({"path": path, form: text}).encode()
                if len(body) <= MAX_FRAME_BYTES:
                    break
            send(b"F", body)

        return files.Results(wanted, send_file).collect()
    except BaseException as error:
        return [["", "the files could not be collected: %s" % type(error).__name__]]


def _files_module():
    return type(sys)("llmc_files")


def _help(*what):
    """Tells about a module, a function or a tool."""
    import pydoc

    pydoc.Helper(output=sys.stdout)(*what or ("help",))


def _llmc_module(module, job):
    """What `from llmc import tools` finds: filled at its first use."""
    lock = allocate_lock()

    def load(name):
        if not name.startswith("__"):
            with lock:
                if "tools" not in module.__dict__:
                    part("tools.py", module).connect(job)
            if name in module.__dict__:
                return module.__dict__[name]
        raise AttributeError("module `llmc` has no `%s`" % name)

    module.__getattr__ = load
    return module


def ahead():
    """Called in an interpreter that is started ahead of its jobs: takes over what they would wait for."""
    for file in "tools.py", "files.py", "errors.py":
        compiled(file)
    for name in USUAL:
        try:
            __import__(name)
        except ImportError:
            pass  # A build of Python without it.


def rehearse():
    """Called in a fork of such an interpreter while it waits: goes through the motions of a job."""
    user = {"__builtins__": builtins, "__name__": "__rehearsal__"}
    value = execute("total = 0\nfor n in range(9):\n    total += n\n{'total': [total, 1.5, 'x'], 'none': None}", user)
    loads(dumps({"value": _describe_value(value)}))


def main():
    """Runs one job and returns the exit code."""
    global CHANNEL_IDENTITY
    set_inheritable(CHANNEL, False)
    CHANNEL_IDENTITY = _identity(CHANNEL)
    _packages()
    if sys.stdout is not None:
        sys.stdout.reconfigure(line_buffering=True)  # What was printed is kept if a limit ends the run.
    engine = "CPython %d.%d.%d" % sys.version_info[:3]
    send(b"r", dumps({"v": VERSION, "engine": engine, "texts": True}).encode())
    kind, job = receive()
    if kind != b"J":
        return 70

    module = type(sys)
    sys.modules["_llmc"] = sys.modules["__main__"]
    sys.modules["llmc"] = _llmc_module(module("llmc"), job)
    user = sys.modules["__main__"] = module("__main__")
    user.__builtins__ = builtins
    sys.argv = [NAME]
    # These come with `site`, which is left out.
    builtins.exit = builtins.quit = sys.exit
    builtins.help = _help

    report = _place(job["files"]) if "files" in job else None
    if report is None:
        report = _run(job["code"], user.__dict__)
    _flush()
    if "returns" in job:
        report["files_omitted"] = _return_files(job["returns"])
    try:
        send(b"D", dumps(report).encode(errors="replace"))
    except OSError:
        return 71
    return report.get("exit_code") or (1 if "error" in report else 0)


if __name__ == "__main__":
    _exit(main())
