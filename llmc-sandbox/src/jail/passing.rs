//! Datagrams with descriptors: between the launcher, a zygote, and payloads that are parked.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use super::spec::JailLimits;
use crate::landlock::Right;

/// Most descriptors in one datagram.
const MAX_FDS: usize = 4;
/// Longest datagram in bytes: the rules of an interpreter with some hundred parts.
const MAX_BYTES: usize = 128 << 10;

/// Sends one datagram.
pub(super) fn send(
    socket: impl AsFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    let flags = flags | SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags))
        .map(drop)
}

/// A datagram with what came beside it.
pub(super) type Received = (Vec<u8>, Vec<OwnedFd>);

/// Receives one datagram; `None` at the end of the connection.
pub(super) fn receive(socket: impl AsFd, flags: RecvFlags) -> Result<Option<Received>, Errno> {
    let mut bytes = vec![0; MAX_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let message = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)
    })?;
    if message.flags.intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    if message.bytes == 0 {
        return Ok(None);
    }
    bytes.truncate(message.bytes);
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    Ok(Some((bytes, fds)))
}

/// Landlock rules as bytes: for each the right, the length of the path, the path.
pub(super) fn encode_rights(rights: &[(PathBuf, Right)]) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    for (path, right) in rights {
        let path = path.as_os_str().as_encoded_bytes();
        let length = u16::try_from(path.len()).map_err(|_| Errno::NAMETOOLONG)?;
        bytes.push(*right as u8);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(path);
    }
    Ok(bytes)
}

/// The reverse of [`encode_rights`].
pub(super) fn decode_rights(mut bytes: &[u8]) -> Option<Vec<(PathBuf, Right)>> {
    use std::os::unix::ffi::OsStringExt;
    let mut rights = Vec::new();
    while let Some((&[right, low, high], rest)) = bytes.split_first_chunk() {
        let (path, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([low, high])))?;
        let path = std::ffi::OsString::from_vec(path.to_vec()).into();
        rights.push((path, *Right::ALL.get(usize::from(right))?));
        bytes = rest;
    }
    bytes.is_empty().then_some(rights)
}

/// Limits as bytes.
pub(super) fn encode_limits(limits: &JailLimits) -> Vec<u8> {
    let numbers = [
        limits.wall_ms,
        limits.cpu_ms,
        limits.memory_bytes,
        limits.processes.into(),
        limits.open_files.into(),
        limits.file_bytes,
        limits.scratch_bytes,
        limits.scratch_inodes,
        limits.workspace_bytes,
    ];
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The reverse of [`encode_limits`].
pub(super) fn decode_limits(bytes: &[u8]) -> Option<JailLimits> {
    let (numbers, rest) = bytes.as_chunks();
    let &[wall, cpu, memory, processes, open_files, file, scratch, inodes, workspace] = numbers else {
        return None;
    };
    rest.is_empty().then_some(())?;
    Some(JailLimits {
        wall_ms: u64::from_le_bytes(wall),
        cpu_ms: u64::from_le_bytes(cpu),
        memory_bytes: u64::from_le_bytes(memory),
        processes: u64::from_le_bytes(processes).try_into().ok()?,
        open_files: u64::from_le_bytes(open_files).try_into().ok()?,
        file_bytes: u64::from_le_bytes(file),
        scratch_bytes: u64::from_le_bytes(scratch),
        scratch_inodes: u64::from_le_bytes(inodes),
        workspace_bytes: u64::from_le_bytes(workspace),
    })
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn rules_and_limits_survive_the_way() {
        let rights = vec![("/".into(), Right::List), ("/lib/x".into(), Right::ExecuteFile)];
        assert_eq!(decode_rights(&encode_rights(&rights).unwrap()).unwrap(), rights);
        assert!(decode_rights(b"\x00\x05\x00ab").is_none());
        assert!(decode_rights(b"\x63\x00\x00").is_none());
        let limits = crate::profile::CODE.limits;
        assert_eq!(decode_limits(&encode_limits(&limits)).unwrap(), limits);
        assert!(decode_limits(&encode_limits(&limits)[1..]).is_none());
    }

    #[test]
    fn descriptors_come_beside_their_datagram() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        send(&ours, b"hello", &[writer.as_fd()], SendFlags::empty()).unwrap();
        drop(writer);
        let (bytes, fds) = receive(&theirs, RecvFlags::empty()).unwrap().unwrap();
        assert_eq!((bytes.as_slice(), fds.len()), (&b"hello"[..], 1));
        rustix::io::write(&fds[0], b"x").unwrap();
        drop(fds);
        assert_eq!(std::io::read_to_string(reader).unwrap(), "x");
        drop(ours);
        assert!(receive(&theirs, RecvFlags::empty()).unwrap().is_none());
    }
}
