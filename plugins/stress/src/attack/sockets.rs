//! Sockets of every family: networks, the kernel, other processes.

use libc::{SOCK_DGRAM, SOCK_STREAM};

use crate::sys::{Attempt, Call};

/// One more than the highest family that Linux has (`AF_MCTP` is 45).
const FAMILIES: usize = 46;

pub(super) fn attack() -> Vec<Attempt> {
    let kinds = [("stream", SOCK_STREAM), ("dgram", SOCK_DGRAM)];
    let all = (0..FAMILIES).flat_map(|family| kinds.map(|(name, kind)| (family, name, kind)));
    all.map(|(family, name, kind)| {
        let call = Call::opening("socket", libc::SYS_socket, [family, kind as usize, 0]);
        // SAFETY: there are no pointers among the arguments.
        let attempt = unsafe { call.make() };
        Attempt { name: format!("socket_{family}_{name}"), ..attempt }
    })
    .collect()
}
