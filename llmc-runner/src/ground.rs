//! Bait outside the jails of a trial: a file and three listeners that nobody may reach.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use llmc_sandbox::Isolation;
use llmc_sandbox::jail::sweep;
use llmc_sandbox::probe::{Finding, Ground};

/// Where the bait lies; every machine has it, and everybody may write there.
const FOLDER: &str = "/tmp";
/// How its folder is called; the number of this process follows.
const PREFIX: &str = "llmc-trial-";
/// What the file says.
const TEXT: &str = "bait of a self-test\n";

/// The bait. Dropping it takes it away.
pub(crate) struct Bait {
    tcp: TcpListener,
    abstract_one: UnixListener,
    abstract_name: String,
    on_disk: Option<OnDisk>,
}

/// The part that takes a folder.
struct OnDisk {
    folder: PathBuf,
    listener: UnixListener,
}

impl Bait {
    /// Lays it out without touching the disk: a runner may be killed while it tries its jails, and leaves nothing. The
    /// file is one about this process.
    pub(crate) fn lay() -> io::Result<Self> {
        let abstract_name = new_name();
        let abstract_one = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&abstract_name)?)?;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        tcp.set_nonblocking(true)?;
        abstract_one.set_nonblocking(true)?;
        Ok(Self { tcp, abstract_one, abstract_name, on_disk: None })
    }

    /// [`Bait::lay`], with an ordinary file and a socket file.
    pub(crate) fn lay_on_disk() -> io::Result<Self> {
        sweep(PREFIX);
        Ok(Self { on_disk: Some(OnDisk::lay()?), ..Self::lay()? })
    }

    /// What a jail of this profile is told.
    pub(crate) fn ground(&self, profile: &str, isolation: Isolation) -> io::Result<Ground> {
        let folder = self.on_disk.as_ref().map(|on_disk| &on_disk.folder);
        let about_this_process = || PathBuf::from(format!("/proc/{}/stat", std::process::id()));
        Ok(Ground {
            profile: profile.to_owned(),
            isolation,
            file: folder.map_or_else(about_this_process, |folder| folder.join("file")),
            port: self.tcp.local_addr()?.port(),
            abstract_name: self.abstract_name.clone(),
            socket: folder.map(|folder| folder.join("socket")),
        })
    }

    /// Looks whether anybody came, after the last jail.
    pub(crate) fn look_after(&self) -> Vec<Finding> {
        let finding = |probe: &str, expected, seen| Finding::new("outside", probe, &[expected], seen);
        let visitor = |came: bool| if came { "somebody" } else { "nobody" };
        let mut findings = vec![
            finding("who came by TCP", "nobody", visitor(self.tcp.accept().is_ok())),
            finding("who came by abstract socket", "nobody", visitor(self.abstract_one.accept().is_ok())),
        ];
        if let Some(OnDisk { folder, listener }) = &self.on_disk {
            let is_unchanged = fs::read_to_string(folder.join("file")).is_ok_and(|text| text == TEXT);
            let file = if is_unchanged { "unchanged" } else { "changed" };
            findings.push(finding("who came by socket file", "nobody", visitor(listener.accept().is_ok())));
            findings.push(finding("the file", "unchanged", file));
        }
        findings
    }
}

impl OnDisk {
    fn lay() -> io::Result<Self> {
        let folder = PathBuf::from(FOLDER).join(new_name());
        DirBuilder::new().mode(0o755).create(&folder)?;
        let laid = Self::lay_in(&folder);
        if laid.is_err() {
            let _ = fs::remove_dir_all(&folder);
        }
        Ok(Self { listener: laid?, folder })
    }

    fn lay_in(folder: &Path) -> io::Result<UnixListener> {
        fs::write(folder.join("file"), TEXT)?;
        fs::set_permissions(folder.join("file"), fs::Permissions::from_mode(0o644))?;
        let listener = UnixListener::bind(folder.join("socket"))?;
        fs::set_permissions(folder.join("socket"), fs::Permissions::from_mode(0o666))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        // What cannot be removed holds no secret.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A name that nothing has yet.
fn new_name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{PREFIX}{}-{}", std::process::id(), now.as_nanos())
}
