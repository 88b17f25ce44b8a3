//! A terminal for a jail: a file system of its own for one pair of ends, made by the launcher.
//!
//! The jail sees `/dev/pts/0` and, as its controlling terminal, `/dev/tty`. The other side, the master, stays outside.
//! There is no second pair: the file system has room for one, and its `ptmx` belongs to nobody.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags, StatVfsMountFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{InputModes, OptionalActions, Winsize};

use crate::error::{At, JailError, Layer};
use crate::mounts;

/// Where the file system appears.
pub(super) const FOLDER: &str = "/dev/pts";
/// The payload's side.
pub(super) const DEVICE: &str = "/dev/pts/0";

/// Mount flags. Not "no devices", which is what it consists of; nothing else can be made in it.
const FLAGS: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC)
    .union(MountAttrFlags::MOUNT_ATTR_RDONLY);

/// The same, as the kernel tells them.
pub(super) const FLAGS_TOLD: StatVfsMountFlags =
    StatVfsMountFlags::NOSUID.union(StatVfsMountFlags::NOEXEC).union(StatVfsMountFlags::RDONLY);

/// A terminal that no jail has so far.
#[derive(Debug)]
pub struct Terminal {
    /// The side that stays outside: what is written to it is typed, what is read from it was shown.
    pub master: OwnedFd,
    /// The side of the payload.
    pub slave: OwnedFd,
    /// The file system with `slave` in it, detached; for [`super::JailSpec::terminal`].
    pub mount: OwnedFd,
}

impl Terminal {
    /// `owner` is the user of the machine that the payload will be; the caller's own if absent.
    pub(super) fn new(owner: Option<u32>, rows: u16, cols: u16) -> Result<Self, JailError> {
        let mount = new_devpts(owner).at(Layer::Root, "make a file system for a terminal")?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master =
            rustix::fs::openat(&mount, "ptmx", flags, Mode::empty()).at(Layer::Root, "make a terminal")?;
        rustix::fs::chmodat(&mount, "ptmx", Mode::empty(), AtFlags::empty())
            .at(Layer::Root, "take back the way to further terminals")?;
        mounts::restrict(&mount, false, FLAGS).at(Layer::Root, "set the flags of a terminal")?;
        rustix::pty::unlockpt(&master).at(Layer::Root, "unlock a terminal")?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).at(Layer::Root, "open a terminal")?;
        set_up(&slave, rows, cols).at(Layer::Root, "set up a terminal")?;
        Ok(Self { master, slave, mount })
    }
}

/// A new, detached devpts with room for one terminal.
fn new_devpts(owner: Option<u32>) -> Result<OwnedFd, rustix::io::Errno> {
    let context = rustix::mount::fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
    if let Some(owner) = owner {
        rustix::mount::fsconfig_set_string(&context, "uid", owner.to_string())?;
        rustix::mount::fsconfig_set_string(&context, "gid", owner.to_string())?;
    }
    for (name, value) in [("mode", "600"), ("ptmxmode", "600"), ("max", "1")] {
        rustix::mount::fsconfig_set_string(&context, name, value)?;
    }
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NOSUID)
}

/// Its size, and whole characters: without this, deleting one takes a single byte of it.
fn set_up(slave: &OwnedFd, rows: u16, cols: u16) -> Result<(), rustix::io::Errno> {
    let mut modes = rustix::termios::tcgetattr(slave)?;
    modes.input_modes |= InputModes::IUTF8;
    rustix::termios::tcsetattr(slave, OptionalActions::Now, &modes)?;
    rustix::termios::tcsetwinsize(slave, Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 })
}

/// Makes standard input, which is the slave, the controlling terminal of this session.
pub(super) fn take_control() -> Result<(), JailError> {
    rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())
        .at(Layer::Process, "take the controlling terminal")
}
