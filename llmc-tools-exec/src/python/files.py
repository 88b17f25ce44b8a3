"""Puts input files into the scratch directory and takes result files out of it.

The code may have made anything there. So no link is followed, only regular files are opened, never waiting, and no
more is read than may be sent. All the same: what is sent is the code's own word.
"""

from _stat import S_ISREG
from binascii import a2b_base64, b2a_base64
from posix import (
    O_CLOEXEC,
    O_CREAT,
    O_EXCL,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_RDONLY,
    O_WRONLY,
    close,
    fstat,
    mkdir,
    open,
    read,
    scandir,
    write,
)

MAX_OMITTED = 50
MAX_PATH_CHARS = 1024


def place(files):
    """Writes the input files; the working directory is the scratch directory."""
    for file in files:
        text = file.get("text")
        contents = a2b_base64(file["base64"]) if text is None else text.encode()
        try:
            _write(file["path"], contents)
        except OSError as error:
            message = "the file `%s` cannot be placed: %s" % (file["path"], error.strerror)
            raise type(error)(error.errno, message) from None


def _write(path, contents):
    parents = path.split("/")[:-1]
    for count in range(1, len(parents) + 1):
        try:
            mkdir("/".join(parents[:count]))
        except FileExistsError:
            pass
    descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
    try:
        rest = memoryview(contents)
        while rest:
            rest = rest[write(descriptor, rest):]
    finally:
        close(descriptor)


class Results:
    """Finds what `wanted` asks for and sends it; `send` takes the JSON form of one file."""

    def __init__(self, wanted, send):
        self.patterns = [pattern.split("/") for pattern in wanted["patterns"]]
        self.max_files = wanted["max_files"]
        self.max_file_bytes = wanted["max_file_bytes"]
        self.free_bytes = wanted["max_bytes"]
        self.send = send
        self.sent = 0
        self.hits = [False] * len(self.patterns)
        self.omitted = []
        self.more_omitted = 0

    def collect(self):
        """Sends all of it, and returns what was left out as pairs of path and reason."""
        directories = [("", [_reach(pattern, {0}) for pattern in self.patterns])]
        while directories:
            prefix, places = directories.pop()
            try:
                with scandir(prefix or ".") as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as error:
                self.omit(prefix, error.strerror)
                continue
            below = [self.look(prefix + entry.name, entry, places) for entry in entries]
            directories.extend(directory for directory in reversed(below) if directory)
        for pattern, hit in zip(self.patterns, self.hits):
            if not hit:
                self.omit("/".join(pattern), "nothing fits")
        if self.more_omitted:
            self.omitted.append(["", "%d more" % self.more_omitted])
        return self.omitted

    def omit(self, path, reason):
        if len(self.omitted) < MAX_OMITTED:
            self.omitted.append([path.encode(errors="replace").decode()[:MAX_PATH_CHARS], reason])
        else:
            self.more_omitted += 1

    def look(self, path, entry, places):
        """Deals with one entry; a directory to look into is returned."""
        steps = [_step(pattern, place, entry.name) for pattern, place in zip(self.patterns, places)]
        fits = [len(pattern) in after for pattern, (after, _) in zip(self.patterns, steps)]
        if entry.is_symlink():
            meant = [fit or named for fit, (_, named) in zip(fits, steps)]
            if any(meant):
                self.hit(meant)
                self.omit(path, "a link, and links are not followed")
        elif entry.is_dir(follow_symlinks=False):
            for number, pattern in enumerate(self.patterns):
                if fits[number] and pattern == path.split("/"):
                    self.hits[number] = True
                    self.omit(path, "a directory; ask for `%s/**`" % path)
            if any(after for after, _ in steps):
                return path + "/", [after for after, _ in steps]
        elif any(fits):
            self.hit(fits)
            if len(path) > MAX_PATH_CHARS or path != path.encode(errors="replace").decode():
                self.omit(path, "its path is too long or not UTF-8")
            elif not entry.is_file(follow_symlinks=False):
                self.omit(path, "not a regular file")
            else:
                self.take(path)
        return None

    def hit(self, fits):
        self.hits = [before or now for before, now in zip(self.hits, fits)]

    def take(self, path):
        if self.sent >= self.max_files:
            return self.omit(path, "at most %d files are returned" % self.max_files)
        try:
            contents = self.read(path)
        except OSError as error:
            return self.omit(path, error.strerror or str(error))
        if isinstance(contents, str):
            return self.omit(path, contents)
        self.send(path, contents)
        self.sent += 1
        self.free_bytes -= len(contents)

    def read(self, path):
        """The contents, or why there are none."""
        descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        try:
            status = fstat(descriptor)
            if not S_ISREG(status.st_mode):
                return "not a regular file"
            if status.st_size > self.max_file_bytes:
                return "%d bytes, at most %d are returned" % (status.st_size, self.max_file_bytes)
            if status.st_size > self.free_bytes:
                return "%d bytes, and only %d of all returned bytes are left" % (status.st_size, self.free_bytes)
            parts, left = [], status.st_size
            while left:
                part = read(descriptor, min(left, 1 << 16))
                if not part:
                    break
                parts.append(part)
                left -= len(part)
            return b"".join(parts)
        finally:
            close(descriptor)


def forms(contents):
    """The ways to write contents as JSON, the better one first."""
    if b"\0" not in contents:
        try:
            yield "text", contents.decode()
        except UnicodeDecodeError:
            pass
    yield "base64", b2a_base64(contents, newline=False).decode()


# Globs: `*` and `?` within a name, `**` for any number of directories. `src/glob.rs` does the same.

def _reach(pattern, places):
    """Places in the pattern that can be reached without a name: `**` may stand for nothing."""
    reached = set()
    for place in places:
        reached.add(place)
        while place < len(pattern) and pattern[place] == "**":
            place += 1
            reached.add(place)
    return reached


def _step(pattern, places, name):
    """The places after one more name, and whether a part other than `**` took it."""
    after, named = set(), False
    for place in places:
        if place == len(pattern):
            continue
        if pattern[place] == "**":
            after.add(place)
        elif _fits(pattern[place], name):
            after.add(place + 1)
            named = True
    return _reach(pattern, after), named


def _fits(part, name):
    at, star, retry = 0, None, 0
    place = 0
    while place < len(name):
        if at < len(part) and part[at] == "*":
            star, retry = at, place
            at += 1
        elif at < len(part) and part[at] in ("?", name[place]):
            at += 1
            place += 1
        elif star is not None:
            retry += 1
            at, place = star + 1, retry
        else:
            return False
    return all(rest == "*" for rest in part[at:])
