"""Describes an exception that nothing in the code caught."""

import linecache
from traceback import TracebackException, walk_tb

MAX_MESSAGE_CHARS = 8_000
MAX_TRACEBACK_CHARS = 32_000


def describe(error, code, name, here):
    """`name` is the file name of the code in tracebacks, `here` the directory of this file."""
    report = {"type": _type_name(type(error)), "message": _cut(_message(error), MAX_MESSAGE_CHARS)}
    try:
        report["traceback"], report["line"] = _traceback(error, code, name, here)
    except BaseException:
        report["traceback"] = report["line"] = None
    return report


def _type_name(kind):
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "__main__") else "%s.%s" % (module, kind.__qualname__)


def _message(error):
    try:
        text = str(error)
        return text if type(text) is str else "".join(text)
    except BaseException as failure:
        return "<its text failed: %s>" % type(failure).__name__


def _traceback(error, code, name, here):
    """The traceback with the code's own lines and without the frames of this directory, and the line to look at."""
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    whole = TracebackException(type(error), error, error.__traceback__)
    _keep_own_frames(whole, name, here, set())
    lines = [number for frame, number in walk_tb(error.__traceback__) if frame.f_code.co_filename == name]
    if isinstance(error, SyntaxError) and error.filename == name:
        lines.append(error.lineno)
    return _cut("".join(whole.format()), MAX_TRACEBACK_CHARS), lines[-1] if lines else None


def _keep_own_frames(report, name, here, seen):
    if report is None or id(report) in seen:
        return
    seen.add(id(report))
    frames = list(report.stack)
    first = next((place for place, frame in enumerate(frames) if frame.filename == name), None)
    frames = frames[first:] if first is not None else frames
    report.stack[:] = [frame for frame in frames if not frame.filename.startswith(here)]
    for other in (report.__cause__, report.__context__, *(getattr(report, "exceptions", None) or ())):
        _keep_own_frames(other, name, here, seen)


def _cut(text, most):
    if len(text) <= most:
        return text
    half = most // 2
    return "%s\n[... %d characters left out ...]\n%s" % (text[:half], len(text) - 2 * half, text[-half:])
