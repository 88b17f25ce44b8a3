//! Parts of the kernel that a plugin has no use for, and rights that it should not have.

use std::ffi::c_int;

use crate::sys::{Attempt, Call, Undo};

/// Memory for structures that calls read or write.
const SCRATCH_BYTES: usize = 1024;

const UFFD_USER_MODE_ONLY: usize = 1;
const KEYCTL_GET_KEYRING_ID: usize = 0;
const KEY_SPEC_SESSION_KEYRING: usize = -3_isize as usize;
const BPF_MAP_CREATE: usize = 0;
const PERF_ATTR_BYTES: u32 = 64;

pub(super) fn attack() -> Vec<Attempt> {
    let mut scratch = [0_u8; SCRATCH_BYTES];
    let out = scratch.as_mut_ptr() as usize;
    // An array of one `u32`: type, key size, value size, entries.
    let map: [u32; 32] = std::array::from_fn(|i| [2, 4, 4, 1].get(i).copied().unwrap_or(0));
    let mut clock = clock_of_own_process();
    let root = c"/".as_ptr() as usize;
    let any_name = c"llmc".as_ptr() as usize;

    let mut calls = vec![
        Call::opening("io_uring_setup", libc::SYS_io_uring_setup, [1, out]),
        Call::opening("memfd_create", libc::SYS_memfd_create, [any_name, 1]),
        Call::opening("userfaultfd", libc::SYS_userfaultfd, [UFFD_USER_MODE_ONLY]),
        Call::opening("inotify_init", libc::SYS_inotify_init1, [0]),
        Call::opening("fanotify_init", libc::SYS_fanotify_init, [0x200, 0]),
        Call::opening("bpf", libc::SYS_bpf, [BPF_MAP_CREATE, map.as_ptr() as usize, size_of_val(&map)]),
        Call::opening(
            "perf_event_open",
            libc::SYS_perf_event_open,
            [clock.as_mut_ptr() as usize, 0, usize::MAX, usize::MAX],
        ),
        Call::opening("fsopen", libc::SYS_fsopen, [c"tmpfs".as_ptr() as usize, 0]),
        Call {
            permitted: &[libc::ENOKEY],
            ..Call::new("keyctl", libc::SYS_keyctl, [KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0])
        },
        Call {
            undo: Undo::RemoveSegment,
            ..Call::new(
                "shmget",
                libc::SYS_shmget,
                [libc::IPC_PRIVATE as usize, 4096, (libc::IPC_CREAT | 0o600) as usize],
            )
        },
        // There is no such file system, which the kernel finds out only after it has checked the right to mount.
        Call { permitted: &[libc::ENODEV], ..Call::new("mount", libc::SYS_mount, [0, root, any_name, 0, 0]) },
        Call::new("chroot", libc::SYS_chroot, [root]),
    ];
    calls.extend(own_attributes());
    // SAFETY: strings are static; `map` and `clock` are structures of their calls, and `out` leads to more bytes
    // than any of the calls writes.
    calls.iter().map(|call| unsafe { call.make() }).collect()
}

/// Attributes of the own process, set back at once.
fn own_attributes() -> [Call; 3] {
    let dumpable = usize::from(get(libc::PR_GET_DUMPABLE) == 1);
    let mut death_signal: c_int = 0;
    // SAFETY: the option writes one `int`.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &mut death_signal) };
    // SAFETY: always safe.
    let uid = unsafe { libc::geteuid() } as usize;
    let prctl = |name, option: c_int, new: usize, old: usize| {
        let args = |value| [option as usize, value, 0, 0, 0];
        Call::changing(name, libc::SYS_prctl, args(new), args(old))
    };
    let setuid = |uid| [usize::MAX, uid, usize::MAX, 0, 0];
    [
        prctl("prctl_dumpable", libc::PR_SET_DUMPABLE, 1, dumpable),
        prctl("prctl_pdeathsig", libc::PR_SET_PDEATHSIG, 0, death_signal as usize),
        Call::changing("setuid_0", libc::SYS_setresuid, setuid(0), setuid(uid)),
    ]
}

fn get(option: c_int) -> c_int {
    // SAFETY: the options that only answer take no pointers.
    unsafe { libc::prctl(option, 0, 0, 0, 0) }
}

/// A `perf_event_attr`: a software clock that counts user code alone and is never started.
fn clock_of_own_process() -> [u64; 16] {
    const PERF_TYPE_SOFTWARE: u64 = 1;
    const DISABLED_AND_USER_ONLY: u64 = 1 | 1 << 5 | 1 << 6;
    let mut attr = [0; 16];
    attr[0] = PERF_TYPE_SOFTWARE | u64::from(PERF_ATTR_BYTES) << 32;
    attr[5] = DISABLED_AND_USER_ONLY;
    attr
}
