# Helpers for probes. An outcome is OK, or the name of the error.
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
MACHINE = 0 if os.uname().machine == "x86_64" else 1
# Numbers on x86-64 and on aarch64.
NR = {name: numbers[MACHINE] for name, numbers in dict(
    getpid=(39, 172), clone=(56, 220), clone3=(435, 435), unshare=(272, 97), setns=(308, 268), mount=(165, 40), umount2=(166, 39), pivot_root=(155, 41),
    chroot=(161, 51), fsopen=(430, 430), fsconfig=(431, 431), fsmount=(432, 432), fspick=(433, 433), open_tree=(428, 428), move_mount=(429, 429),
    mount_setattr=(442, 442), ptrace=(101, 117), process_vm_readv=(310, 270), process_vm_writev=(311, 271), process_madvise=(440, 440), kcmp=(312, 272),
    pidfd_open=(434, 434), pidfd_getfd=(438, 438), pidfd_send_signal=(424, 424), keyctl=(250, 219), add_key=(248, 217), request_key=(249, 218),
    userfaultfd=(323, 282), memfd_create=(319, 279), memfd_secret=(447, 447), mbind=(237, 235), personality=(135, 92), bpf=(321, 280),
    perf_event_open=(298, 241), kexec_load=(246, 104), init_module=(175, 105), finit_module=(313, 273), delete_module=(176, 106), swapon=(167, 224),
    swapoff=(168, 225), quotactl=(179, 60), reboot=(169, 142), settimeofday=(164, 170), clock_settime=(227, 112), adjtimex=(159, 171), syslog=(103, 116),
    acct=(163, 89), sethostname=(170, 161), name_to_handle_at=(303, 264), open_by_handle_at=(304, 265), execveat=(322, 281), seccomp=(317, 277),
    landlock_create_ruleset=(444, 444), landlock_restrict_self=(446, 446), inotify_init1=(294, 26), inotify_add_watch=(254, 27),
    fanotify_init=(300, 262), shmget=(29, 194), shmat=(30, 196), semget=(64, 190), msgget=(68, 186), mq_open=(240, 180), io_uring_setup=(425, 425),
    io_uring_enter=(426, 426), io_uring_register=(427, 427), socket=(41, 198), connect=(42, 203), bind=(49, 200), listen=(50, 201), accept=(43, 202), sendto=(44, 206),
    setuid=(105, 146), setgid=(106, 144), setresuid=(117, 147), setgroups=(116, 159), capset=(126, 91), setpriority=(141, 140), sched_setscheduler=(144, 119),
    sched_setattr=(314, 274), ioprio_set=(251, 30), sched_setaffinity=(203, 122), prlimit64=(302, 261), renameat2=(316, 276), mknodat=(259, 33),
    vfork=(58, 220), ioctl=(16, 29), fcntl=(72, 25), prctl=(157, 167), openat2=(437, 437), close_range=(436, 436)).items()}
if MACHINE == 0:
    NR["modify_ldt"] = 154

def named(number):
    return errno.errorcode.get(number, "errno %d" % number)

def attempt(act, *args, **named_args):
    try:
        act(*args, **named_args)
        return "OK"
    except OSError as error:
        return named(error.errno) if error.errno else type(error).__name__
    except BaseException as error:
        return type(error).__name__

def call(name, *args):
    """A system call by name: OK, or the error."""
    ctypes.set_errno(0)
    args = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    value = libc.syscall(ctypes.c_long(NR[name]), *args)
    return "OK" if value != -1 else named(ctypes.get_errno())

def read(path, most=200):
    """What a file says, or the error."""
    try:
        with open(path, "rb") as file:
            return file.read(most).decode(errors="replace")
    except OSError as error:
        return named(error.errno)

def write(path, data, mode="wb"):
    with open(path, mode) as file:
        file.write(data)

def listing(path):
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        return named(error.errno)

def is_a_jail():
    """Harmless probes that tell whether this is a jail: only there may dangerous things be tried."""
    pids = [name for name in os.listdir("/proc") if name.isdigit()]
    with open("/proc/self/status") as status:
        fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    own_ids = os.getuid() == os.geteuid() == 1000
    walls = fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2" and int(fields["CapEff"], 16) == 0
    return os.getpid() < 50 and len(pids) < 20 and own_ids and walls and not os.path.exists("/etc/shadow")

def is_a_lesser_jail():
    """The same for the lesser tier, where the processes of the machine can be named: signal 0 asks, and sends nothing."""
    import resource, socket
    def fork():
        if os.fork() == 0:
            os._exit(0)
    bounds = (resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_CPU)
    refused = [attempt(os.kill, pid, 0) for pid in (-1, 0, 1, os.getppid())] + [attempt(fork), attempt(socket.socket)]
    closed = [attempt(os.open, path, os.O_RDONLY) for path in ("/", "/etc/passwd", "/proc/self/status")]
    bounded = all(resource.getrlimit(bound)[1] != resource.RLIM_INFINITY for bound in bounds)
    return 0 not in (os.getuid(), os.geteuid()) and set(refused) == {"EPERM"} and set(closed) == {"EACCES"} and bounded

def demand(is_a_jail):
    if not is_a_jail:
        raise SystemExit("this is no jail: nothing dangerous is tried")
