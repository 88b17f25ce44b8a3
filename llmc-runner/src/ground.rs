//! Bait outside the jails of a trial: a file and three listeners that nobody may reach.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
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
    folder: PathBuf,
    tcp: TcpListener,
    abstract_one: UnixListener,
    abstract_name: String,
    file_one: UnixListener,
}

impl Bait {
    /// Lays it out.
    pub(crate) fn lay() -> io::Result<Self> {
        let (folder, name) = new_folder()?;
        let laid = Self::lay_in(folder.clone(), name);
        if laid.is_err() {
            let _ = fs::remove_dir_all(&folder);
        }
        laid
    }

    fn lay_in(folder: PathBuf, abstract_name: String) -> io::Result<Self> {
        fs::write(folder.join("file"), TEXT)?;
        fs::set_permissions(folder.join("file"), fs::Permissions::from_mode(0o644))?;
        let file_one = UnixListener::bind(folder.join("socket"))?;
        fs::set_permissions(folder.join("socket"), fs::Permissions::from_mode(0o666))?;
        let abstract_one = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&abstract_name)?)?;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        tcp.set_nonblocking(true)?;
        abstract_one.set_nonblocking(true)?;
        file_one.set_nonblocking(true)?;
        Ok(Self { folder, tcp, abstract_one, abstract_name, file_one })
    }

    /// What a jail of this profile is told.
    pub(crate) fn ground(&self, profile: &str, isolation: Isolation) -> io::Result<Ground> {
        Ok(Ground {
            profile: profile.to_owned(),
            isolation,
            file: self.folder.join("file"),
            port: self.tcp.local_addr()?.port(),
            abstract_name: self.abstract_name.clone(),
            socket: self.folder.join("socket"),
        })
    }

    /// Looks whether anybody came, after the last jail.
    pub(crate) fn look_after(&self) -> [Finding; 4] {
        let finding = |probe: &str, expected, seen| Finding::new("outside", probe, &[expected], seen);
        let visitor = |came: bool| if came { "somebody" } else { "nobody" };
        let unchanged = fs::read_to_string(self.folder.join("file")).is_ok_and(|text| text == TEXT);
        [
            finding("who came by TCP", "nobody", visitor(self.tcp.accept().is_ok())),
            finding("who came by abstract socket", "nobody", visitor(self.abstract_one.accept().is_ok())),
            finding("who came by socket file", "nobody", visitor(self.file_one.accept().is_ok())),
            finding("the file", "unchanged", if unchanged { "unchanged" } else { "changed" }),
        ]
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        // What cannot be removed holds no secret.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A folder that was not there before, and its name.
fn new_folder() -> io::Result<(PathBuf, String)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    sweep(PREFIX);
    let name = format!("{PREFIX}{}-{}", std::process::id(), now.as_nanos());
    let folder = PathBuf::from(FOLDER).join(&name);
    DirBuilder::new().mode(0o755).create(&folder)?;
    Ok((folder, name))
}
