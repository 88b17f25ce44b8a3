//! Messages between the launcher and process 1 of a jail: one datagram each, on a socket that the payload never has.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::passing;
use super::reached::Reached;
use super::signals::TreeSignal;
use super::spec::JailLimits;
use crate::error::{JailError, Layer};
use crate::sys::ExitStatus;

/// Longest message in bytes.
const MAX_BYTES: usize = 1024;

/// A message.
#[derive(Debug)]
pub(crate) enum Message {
    /// From process 1: its identity maps may be written.
    Ready,
    /// From the launcher: they are.
    Go,
    /// From the launcher to process 1 of a parked jail: its run begins, with these limits.
    Begin(JailLimits),
    /// From the launcher: a signal for every process of the tree.
    Signal(TreeSignal),
    /// From process 1: the program runs.
    Started,
    /// From process 1: nothing was executed.
    Failed(JailError),
    /// From process 1: the run is over.
    Ended(Ending),
}

/// How a run ended, as process 1 saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// How the payload itself ended.
    pub status: ExitStatus,
    /// The limit that ended the run.
    pub limit: Option<Limit>,
    /// Duration.
    pub wall: Duration,
    /// Processor time of the tree.
    pub cpu: Duration,
    /// Highest memory use seen of the tree in bytes.
    pub peak_memory_bytes: u64,
    /// Limits that the tree was seen at, whether or not one ended it.
    pub reached: Reached,
    /// Who counted. Process 1 does not say it: the launcher knows.
    pub accounting: Accounting,
}

/// Who counts what a tree uses, and keeps its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accounting {
    /// Process 1 of the jail, fifty times a second, beside the limits that the kernel keeps for each process.
    #[default]
    Tree,
    /// The kernel, too: the jail has a control group of its own.
    Cgroup,
}

/// A limit of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Time by the clock.
    Wall,
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Somebody outside ended it.
    Killed,
    /// What was added to the file systems of writable roots.
    Workspace,
    /// Size of one file.
    FileSize,
    /// Processes and threads; the end of a run without namespaces only, else seen.
    Processes,
    /// Open descriptors of one process; seen, never the end of a run.
    OpenFiles,
    /// Bytes of scratch space; seen, never the end of a run.
    ScratchBytes,
    /// Files in scratch space; seen, never the end of a run.
    ScratchInodes,
}

impl Limit {
    /// All of them, in the order of their codes from 1.
    const ALL: [Self; 10] = [
        Self::Wall,
        Self::Cpu,
        Self::Memory,
        Self::Killed,
        Self::Workspace,
        Self::FileSize,
        Self::Processes,
        Self::OpenFiles,
        Self::ScratchBytes,
        Self::ScratchInodes,
    ];
}

/// Sends a message without waiting for room.
pub(crate) fn send(socket: impl AsFd, message: &Message) -> Result<(), Errno> {
    let bytes = encode(message);
    rustix::net::send(socket, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)
}

/// Receives a message; `None` at the end of the connection.
pub(crate) fn receive(socket: impl AsFd) -> Result<Option<Message>, Errno> {
    let mut bytes = [0; MAX_BYTES];
    let (count, _) =
        rustix::io::retry_on_intr(|| rustix::net::recv(&socket, &mut bytes[..], RecvFlags::DONTWAIT))?;
    if count == 0 { Ok(None) } else { decode(&bytes[..count]).map(Some).ok_or(Errno::BADMSG) }
}

/// The bytes of an error, for a pipe or a datagram.
pub(crate) fn encode_error(error: &JailError) -> Vec<u8> {
    let (kind, errno, text) = match error {
        JailError::Refused { action, errno, .. } => (0, errno.raw_os_error(), action),
        JailError::NotInForce { found, .. } => (1, 0, found),
        JailError::Missing { lacking, .. } => (2, 0, lacking),
        JailError::Invalid(what) => (3, 0, what),
    };
    let mut bytes = vec![kind, error.layer() as u8];
    bytes.extend_from_slice(&errno.to_le_bytes());
    let end = text.floor_char_boundary(MAX_BYTES - 16);
    bytes.extend_from_slice(&text.as_bytes()[..end]);
    bytes
}

/// The reverse of [`encode_error`].
pub(crate) fn decode_error(bytes: &[u8]) -> Option<JailError> {
    let (&[kind, layer], rest) = bytes.split_first_chunk()?;
    let (&errno, text) = rest.split_first_chunk()?;
    let layer = *Layer::ALL.get(usize::from(layer))?;
    let errno = i32::from_le_bytes(errno);
    let text = String::from_utf8_lossy(text).into_owned().into();
    Some(match kind {
        // The range of error numbers that the kernel has.
        0 if (1..4096).contains(&errno) => {
            JailError::Refused { layer, action: text, errno: Errno::from_raw_os_error(errno) }
        }
        1 => JailError::NotInForce { layer, found: text },
        2 => JailError::Missing { layer, lacking: text },
        3 => JailError::Invalid(text),
        _ => return None,
    })
}

fn encode(message: &Message) -> Vec<u8> {
    match message {
        Message::Ready => vec![b'R'],
        Message::Go => vec![b'G'],
        Message::Begin(limits) => [vec![b'B'], passing::encode_limits(limits)].concat(),
        Message::Signal(signal) => vec![b'T', signal.to_byte()],
        Message::Started => vec![b'S'],
        Message::Failed(error) => [vec![b'F'], encode_error(error)].concat(),
        Message::Ended(ending) => {
            let (kind, code) = match ending.status {
                ExitStatus::Exited(code) => (0, code),
                ExitStatus::Signalled(signal) => (1, signal),
            };
            let limit = ending.limit.map_or(0, |limit| limit as u8 + 1);
            let mut bytes = vec![b'E', kind, limit, ending.reached.to_byte()];
            bytes.extend_from_slice(&code.to_le_bytes());
            for number in [micros(ending.wall), micros(ending.cpu), ending.peak_memory_bytes] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes
        }
    }
}

fn decode(bytes: &[u8]) -> Option<Message> {
    let (&tag, rest) = bytes.split_first()?;
    match tag {
        b'R' if rest.is_empty() => Some(Message::Ready),
        b'G' if rest.is_empty() => Some(Message::Go),
        b'B' => passing::decode_limits(rest).map(Message::Begin),
        b'T' if rest.len() == 1 => TreeSignal::from_number(rest[0].into()).map(Message::Signal),
        b'S' if rest.is_empty() => Some(Message::Started),
        b'F' => decode_error(rest).map(Message::Failed),
        b'E' => decode_ending(rest).map(Message::Ended),
        _ => None,
    }
}

fn decode_ending(bytes: &[u8]) -> Option<Ending> {
    let (&[kind, limit, reached], rest) = bytes.split_first_chunk()?;
    let (&code, rest) = rest.split_first_chunk()?;
    let code = i32::from_le_bytes(code);
    let (numbers, end) = rest.as_chunks();
    let [wall, cpu, peak_memory_bytes] = *numbers else { return None };
    if !end.is_empty() {
        return None;
    }
    Some(Ending {
        status: match kind {
            0 => ExitStatus::Exited(code),
            1 => ExitStatus::Signalled(code),
            _ => return None,
        },
        limit: match usize::from(limit).checked_sub(1) {
            None => None,
            Some(place) => Some(*Limit::ALL.get(place)?),
        },
        reached: Reached::from_byte(reached)?,
        wall: Duration::from_micros(u64::from_le_bytes(wall)),
        cpu: Duration::from_micros(u64::from_le_bytes(cpu)),
        peak_memory_bytes: u64::from_le_bytes(peak_memory_bytes),
        accounting: Accounting::Tree,
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_way() {
        let mut reached = Reached::default();
        reached.note(Limit::Processes, true);
        let ending = Ending {
            status: ExitStatus::Signalled(9),
            limit: Some(Limit::Memory),
            wall: Duration::from_micros(1_234_567),
            cpu: Duration::from_millis(5),
            peak_memory_bytes: 1 << 33,
            reached,
            accounting: Accounting::Tree,
        };
        let Some(Message::Ended(back)) = decode(&encode(&Message::Ended(ending))) else {
            panic!("an ending")
        };
        assert_eq!(back, ending);
        let error = JailError::Invalid("odd".into());
        let Some(Message::Failed(JailError::Invalid(what))) = decode(&encode(&Message::Failed(error))) else {
            panic!("an invalid request")
        };
        assert_eq!(what, "odd");
        for message in [Message::Ready, Message::Go, Message::Started, Message::Signal(TreeSignal::Terminate)]
        {
            let back = decode(&encode(&message)).unwrap();
            assert_eq!(std::mem::discriminant(&back), std::mem::discriminant(&message));
        }
    }

    #[test]
    fn every_limit_has_its_code() {
        for (place, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, place);
        }
    }

    #[test]
    fn errors_survive_the_way_and_are_cut_to_fit() {
        let error = JailError::Refused {
            layer: Layer::GrantedRoot,
            action: "é".repeat(2000).into(),
            errno: Errno::ROFS,
        };
        let bytes = encode(&Message::Failed(error));
        assert!(bytes.len() <= MAX_BYTES);
        let Some(Message::Failed(JailError::Refused { layer, errno, action })) = decode(&bytes) else {
            panic!("a refusal")
        };
        assert_eq!((layer, errno), (Layer::GrantedRoot, Errno::ROFS));
        assert!(action.chars().all(|char| char == 'é'));
    }

    #[test]
    fn every_other_message_is_refused_without_panic() {
        for bytes in [
            &b""[..],
            b"X",
            b"RR",
            b"T",
            b"T\x09",
            b"T\x0f\x0f",
            b"F",
            b"F\x00",
            b"F\x09\x00\x00\x00\x00\x00",
            b"F\x00\x00\x00\x00\x00\x00",
            b"E",
            b"E\x00\x00\x00\x01\x02",
        ] {
            assert!(decode(bytes).is_none(), "{bytes:?}");
        }
        let long = [b"E\x00\x00\x00".to_vec(), vec![0; 4 + 25]].concat();
        assert!(decode(&long).is_none());
    }
}
