//! The file tree of a jail: a plan, made by the launcher with its rights, and carried out by process 1 without any.
//!
//! The launcher clones what shall be visible into detached mounts and sets their flags; process 1 only puts them in
//! their places in a new tmpfs. It follows no path that anybody else could have made.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::launcher::Owners;
use super::spec::{CANARY, FILES, GrantedRoot, JailSpec, Payload, SCRATCH};
use super::terminal;
use crate::error::{At, JailError, Layer};
use crate::landlock::Right;
use crate::mounts::{self, HARMLESS, ShownProc};
use crate::profile::{Execute, Proc};

/// Space of the root tmpfs, for files that come with the request.
const ROOT_BYTES: u64 = 8 << 20;
/// Files and directories of the root tmpfs.
const ROOT_INODES: u64 = 4096;
/// Symbolic links that one path of the machine may lead through.
const MAX_LINKS: usize = 16;

/// What is to be built, in order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pieces: Vec<(PathBuf, Piece)>,
    /// Where a path is taken already.
    taken: BTreeSet<PathBuf>,
    /// Paths of the machine that were looked at and are no links.
    plain: BTreeSet<PathBuf>,
    /// Rights for Landlock.
    pub(crate) rights: Vec<(PathBuf, Right)>,
    proc: Proc,
    scratch: bool,
    scratch_bytes: u64,
    scratch_inodes: u64,
}

/// Something in the tree.
#[derive(Debug)]
enum Piece {
    Link(PathBuf),
    File(Vec<u8>),
    Mount { mount: OwnedFd, kind: FileType, read_only: bool },
    Terminal(OwnedFd),
}

impl Plan {
    /// Collects everything that the payload shall see.
    pub(crate) fn make(spec: &JailSpec, owners: &mut dyn Owners) -> Result<Self, JailError> {
        let profile = spec.profile;
        let mut plan = Self {
            proc: profile.proc,
            scratch: profile.scratch,
            scratch_bytes: spec.limits.scratch_bytes,
            scratch_inodes: spec.limits.scratch_inodes,
            ..Self::default()
        };
        let everything = match profile.execute {
            Execute::Everything => Right::ReadExecute,
            Execute::ProgramOnly | Execute::Nothing => Right::Read,
        };
        for entry in profile.system {
            plan.bind_system(Path::new(entry.path), everything, Missing::Skip)?;
        }
        for path in &spec.system {
            plan.bind_system(path, everything, Missing::Refuse)?;
        }
        if let Payload::Program { file, .. } = &spec.payload {
            plan.bind_program(file, profile.execute)?;
        }
        for device in profile.devices {
            plan.bind_device(device.path, Right::File)?;
        }
        if let Some(mount) = &spec.terminal {
            plan.bind_terminal(mount)?;
        }
        for link in profile.links {
            plan.add(Path::new(link.path), Piece::Link(link.to.into()));
        }
        for text in profile.etc {
            plan.add(Path::new(text.path), Piece::File(text.contents.into()));
        }
        for file in &spec.files {
            plan.add(&Path::new(FILES).join(&file.name), Piece::File(file.contents.clone()));
        }
        plan.add(Path::new(CANARY), Piece::File(Vec::new()));
        for root in &spec.roots {
            plan.bind_root(root, profile.execute, owners)?;
        }
        if plan.scratch {
            plan.rights.push((SCRATCH.into(), Right::Scratch));
        }
        if plan.proc != Proc::None {
            plan.rights.push(("/proc".into(), Right::Read));
        }
        for directory in ["/etc", FILES] {
            if plan.pieces.iter().any(|(path, _)| path.starts_with(directory)) {
                plan.rights.push((directory.into(), Right::Read));
            }
        }
        if profile.execute == Execute::Everything {
            plan.rights.push(("/".into(), Right::List));
        }
        Ok(plan)
    }

    /// Makes a path of the machine visible, read-only: its symbolic links as links, what they lead to as a mount.
    fn bind_system(&mut self, path: &Path, right: Right, missing: Missing) -> Result<PathBuf, JailError> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let Some((link, target)) =
                first_link(&path, &mut self.plain).at(Layer::Root, format!("look at {}", path.display()))?
            else {
                return self.bind_final(path, right, missing);
            };
            let rest = path.strip_prefix(&link).unwrap_or(Path::new("")).to_owned();
            let parent = link.parent().unwrap_or(Path::new("/"));
            path = normal(&parent.join(&target).join(rest));
            if !self.is_visible(&link) {
                self.add(&link, Piece::Link(target));
            }
        }
        Err(Errno::LOOP).at(Layer::Root, format!("follow the links of {}", path.display()))
    }

    /// [`Plan::bind_system`] of a path without links.
    fn bind_final(&mut self, path: PathBuf, right: Right, missing: Missing) -> Result<PathBuf, JailError> {
        let kind = match rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT | Errno::NOTDIR) if missing == Missing::Skip => return Ok(path),
            Err(errno) => return Err(errno).at(Layer::Root, format!("find {}", path.display())),
        };
        let right = match (kind, right) {
            (FileType::Directory, right) => right,
            (FileType::RegularFile, Right::ReadExecute | Right::ExecuteFile) => Right::ExecuteFile,
            (FileType::RegularFile, _) => Right::ReadFile,
            _ => {
                let what = format!("system path `{}` is neither file nor directory", path.display());
                return Err(JailError::Invalid(what.into()));
            }
        };
        // Many are found by more than one way, such as through `/lib`.
        let rule = (path.clone(), right);
        if !self.rights.contains(&rule) {
            self.rights.push(rule);
        }
        if self.is_visible(&path) {
            return Ok(path);
        }
        let mount = mounts::clone_path(&path).at(Layer::Root, format!("clone {}", path.display()))?;
        mounts::restrict(&mount, true, HARMLESS | MountAttrFlags::MOUNT_ATTR_RDONLY)
            .at(Layer::Root, format!("make {} read-only", path.display()))?;
        self.add(&path, Piece::Mount { mount, kind, read_only: true });
        Ok(path)
    }

    /// Makes the program visible and executable, and for [`Execute::ProgramOnly`] its loader too.
    fn bind_program(&mut self, program: &Path, execute: Execute) -> Result<(), JailError> {
        let stat = rustix::fs::stat(program).at(Layer::Program, format!("find {}", program.display()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(JailError::Invalid(format!("program `{}` is not a file", program.display()).into()));
        }
        let file = self.bind_system(program, Right::ExecuteFile, Missing::Refuse)?;
        if execute == Execute::ProgramOnly
            && let Some(loader) =
                crate::elf::interpreter(&file).at(Layer::Program, format!("read {}", file.display()))?
        {
            self.bind_system(&loader, Right::ExecuteFile, Missing::Refuse)?;
        }
        Ok(())
    }

    /// The terminal, and the name under which every process finds its own.
    fn bind_terminal(&mut self, mount: &OwnedFd) -> Result<(), JailError> {
        let mount = mount.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::MFILE));
        self.add(Path::new(terminal::FOLDER), Piece::Terminal(mount.at(Layer::Root, "copy a descriptor")?));
        self.rights.push((terminal::DEVICE.into(), Right::Terminal));
        self.bind_device("tty", Right::Terminal)
    }

    fn bind_device(&mut self, name: &str, right: Right) -> Result<(), JailError> {
        let path = Path::new("/dev").join(name);
        let mount = mounts::clone_path(&path).at(Layer::Root, format!("clone {}", path.display()))?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            // Devices can be written to on a read-only mount; their modes cannot be changed there.
            | MountAttrFlags::MOUNT_ATTR_RDONLY;
        mounts::restrict(&mount, false, attributes)
            .at(Layer::Root, format!("set flags of {}", path.display()))?;
        self.rights.push((path.clone(), right));
        self.add(&path, Piece::Mount { mount, kind: FileType::CharacterDevice, read_only: true });
        Ok(())
    }

    fn bind_root(
        &mut self,
        root: &GrantedRoot,
        execute: Execute,
        owners: &mut dyn Owners,
    ) -> Result<(), JailError> {
        let name = root.target.display();
        let stat = rustix::fs::fstat(&root.dir).at(Layer::GrantedRoot, format!("look at {name}"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(JailError::Invalid(format!("what is granted as `{name}` is not a directory").into()));
        }
        let mount = mounts::clone_directory(&root.dir)?;
        let mut attributes = HARMLESS;
        if !root.writable {
            attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        mounts::restrict(&mount, true, attributes).at(Layer::GrantedRoot, format!("set flags of {name}"))?;
        owners.map(&mount, &stat, root)?;
        let right = match (root.writable, execute) {
            (true, Execute::Everything) => Right::WriteExecute,
            (true, Execute::ProgramOnly | Execute::Nothing) => Right::Write,
            (false, Execute::Everything) => Right::ReadExecute,
            (false, Execute::ProgramOnly | Execute::Nothing) => Right::Read,
        };
        self.rights.push((root.target.clone(), right));
        self.make_way(root)?;
        let read_only = !root.writable;
        self.add(&root.target, Piece::Mount { mount, kind: FileType::Directory, read_only });
        Ok(())
    }

    /// Drops pieces below the place of a granted directory which that directory shows anyway, such as a program that
    /// lies in it; others would be hidden by it.
    fn make_way(&mut self, root: &GrantedRoot) -> Result<(), JailError> {
        let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
        for (path, _) in self.pieces.extract_if(.., |(path, _)| path.starts_with(&root.target)) {
            let inside = path.strip_prefix(&root.target).unwrap_or(&path);
            let shown = rustix::fs::statat(&root.dir, inside, AtFlags::SYMLINK_NOFOLLOW).map(identity);
            if shown.is_err()
                || shown != rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW).map(identity)
            {
                let what = format!(
                    "`{}` is needed in the jail, where a granted directory appears as `{}`: rename the root",
                    path.display(),
                    root.target.display()
                );
                return Err(JailError::Invalid(what.into()));
            }
        }
        Ok(())
    }

    /// Adds a piece; of two at one path the first stays.
    fn add(&mut self, path: &Path, piece: Piece) {
        if self.taken.insert(path.to_owned()) {
            self.pieces.push((path.to_owned(), piece));
        }
    }

    /// Whether a mount of the plan already shows this path.
    fn is_visible(&self, path: &Path) -> bool {
        self.pieces.iter().any(|(at, piece)| match piece {
            Piece::Mount { .. } | Piece::Terminal(_) => path.starts_with(at),
            Piece::Link(_) | Piece::File(_) => path == at,
        })
    }

    /// The descriptors that process 1 needs for [`Plan::build`].
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        self.pieces.iter().filter_map(|(_, piece)| match piece {
            Piece::Mount { mount, .. } | Piece::Terminal(mount) => Some(mount),
            Piece::Link(_) | Piece::File(_) => None,
        })
    }

    /// Builds the tree and makes it the root; process 1 calls this in its new namespaces.
    pub(crate) fn build(&self) -> Result<(), JailError> {
        // The old /proc must still be in place: kernels ask for it before they give out another.
        let shown = match self.proc {
            Proc::None => None,
            Proc::Own => Some(ShownProc::Dumpable),
            Proc::Whole => Some(ShownProc::Whole),
        };
        let proc = shown.map(mounts::new_proc).transpose().at(Layer::Proc, "make /proc")?;
        let tree =
            mounts::new_tmpfs(ROOT_BYTES, ROOT_INODES, "0755", HARMLESS | MountAttrFlags::MOUNT_ATTR_NOEXEC)
                .at(Layer::Root, "make a root file system")?;
        mounts::hang_in(&tree)?;
        let mut tree = NewTree { tree, made: BTreeSet::new() };
        // Scratch space first, so that a program that lies below /tmp on the machine can be put there.
        if self.scratch {
            let scratch = new_scratch(self.scratch_bytes, self.scratch_inodes)?;
            tree.place(Path::new("tmp"), &scratch).at(Layer::Root, "attach scratch space")?;
        }
        if let Some(proc) = proc {
            tree.place(Path::new("proc"), &proc).at(Layer::Proc, "attach /proc")?;
        }
        for (path, piece) in &self.pieces {
            tree.build(relative(path), piece)
                .at(Layer::Root, format!("put {} into the new root", path.display()))?;
        }
        mounts::enter_root(&tree.tree)?;
        mounts::seal_root(&tree.tree)?;
        self.read_back()
    }

    /// Asks the kernel for the flags of everything that was attached.
    fn read_back(&self) -> Result<(), JailError> {
        if self.scratch {
            check_flags(Path::new(SCRATCH), SCRATCH_FLAGS)?;
        }
        for (path, piece) in &self.pieces {
            if let Piece::Terminal(_) = piece {
                check_flags(path, terminal::FLAGS_TOLD)?;
            }
            if let Piece::Mount { kind, read_only, .. } = piece {
                let mut wanted = StatVfsMountFlags::NOSUID;
                if *kind != FileType::CharacterDevice {
                    wanted |= StatVfsMountFlags::NODEV;
                }
                if *read_only {
                    wanted |= StatVfsMountFlags::RDONLY;
                }
                check_flags(path, wanted)?;
            }
        }
        Ok(())
    }
}

/// Covers scratch space and `/proc` of the tree that a zygote was given by new ones. Everything else in that tree is
/// read-only, and stays.
pub(super) fn renew(scratch_bytes: u64, scratch_inodes: u64) -> Result<(), JailError> {
    let proc = mounts::new_proc(ShownProc::Dumpable).at(Layer::Proc, "make /proc")?;
    let scratch = new_scratch(scratch_bytes, scratch_inodes)?;
    mounts::attach(&scratch, CWD, Path::new(SCRATCH)).at(Layer::Root, "attach scratch space")?;
    mounts::attach(&proc, CWD, Path::new("/proc")).at(Layer::Proc, "attach /proc")?;
    check_flags(Path::new(SCRATCH), SCRATCH_FLAGS)?;
    check_flags(
        Path::new("/"),
        StatVfsMountFlags::RDONLY | StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV,
    )
}

/// Flags of scratch space, as the kernel tells them.
const SCRATCH_FLAGS: StatVfsMountFlags =
    StatVfsMountFlags::NOSUID.union(StatVfsMountFlags::NODEV).union(StatVfsMountFlags::NOEXEC);

fn new_scratch(bytes: u64, inodes: u64) -> Result<OwnedFd, JailError> {
    let no_programs = HARMLESS | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    // For a tmpfs, 0 means no limit.
    mounts::new_tmpfs(bytes.max(1), inodes.max(1), "1777", no_programs).at(Layer::Root, "make scratch space")
}

/// What to do about a path that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Skip,
    Refuse,
}

/// The first component of an absolute path that is a symbolic link, and where it leads. What is none is added to
/// `plain`, and not looked at again.
fn first_link(path: &Path, plain: &mut BTreeSet<PathBuf>) -> Result<Option<(PathBuf, PathBuf)>, Errno> {
    let mut so_far = PathBuf::from("/");
    for component in path.components().skip(1) {
        so_far.push(component);
        if plain.contains(&so_far) {
            continue;
        }
        match rustix::fs::readlinkat(CWD, &so_far, Vec::new()) {
            Ok(target) => {
                use std::os::unix::ffi::OsStringExt;
                return Ok(Some((so_far, std::ffi::OsString::from_vec(target.into_bytes()).into())));
            }
            Err(Errno::INVAL) => {
                plain.insert(so_far.clone());
            }
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

/// Resolves `..` by text, which is right once no component before it is a link.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => {
                normal.pop();
            }
            std::path::Component::Normal(name) => normal.push(name),
            _ => {}
        }
    }
    normal
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// The tree while it is built.
struct NewTree {
    tree: OwnedFd,
    /// Directories that were made on the way to something.
    made: BTreeSet<PathBuf>,
}

impl NewTree {
    fn build(&mut self, path: &Path, piece: &Piece) -> Result<(), Errno> {
        match piece {
            Piece::Link(to) => {
                self.make_parents(path)?;
                rustix::fs::symlinkat(to, &self.tree, path)
            }
            Piece::File(contents) => {
                self.make_parents(path)?;
                let mut rest = &contents[..];
                let file = make_file(&self.tree, path)?;
                while !rest.is_empty() {
                    rest = &rest[rustix::io::write(&file, rest)?..];
                }
                Ok(())
            }
            Piece::Terminal(mount) | Piece::Mount { mount, kind: FileType::Directory, .. } => {
                self.place(path, mount)
            }
            Piece::Mount { mount, .. } => {
                self.make_parents(path)?;
                make_file(&self.tree, path)?;
                mounts::attach(mount, &self.tree, path)
            }
        }
    }

    /// Attaches a directory mount at a new directory.
    fn place(&mut self, path: &Path, mount: impl AsFd) -> Result<(), Errno> {
        self.make_parents(path)?;
        make_directory(&self.tree, path)?;
        mounts::attach(mount, &self.tree, path)
    }

    fn make_parents(&mut self, path: &Path) -> Result<(), Errno> {
        let Some(parent) = path.parent() else { return Ok(()) };
        let mut so_far = PathBuf::new();
        for component in parent.components() {
            so_far.push(component);
            if !self.made.contains(&so_far) {
                make_directory(&self.tree, &so_far)?;
                self.made.insert(so_far.clone());
            }
        }
        Ok(())
    }
}

fn make_directory(tree: &OwnedFd, path: &Path) -> Result<(), Errno> {
    match rustix::fs::mkdirat(tree, path, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

fn make_file(tree: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(tree, path, flags, Mode::from_raw_mode(0o444))
}

fn check_flags(path: &Path, wanted: StatVfsMountFlags) -> Result<(), JailError> {
    let flags =
        rustix::fs::statvfs(path).at(Layer::Root, format!("read the flags of {}", path.display()))?.f_flag;
    if flags.contains(wanted) {
        Ok(())
    } else {
        let found = format!("{} has the flags {flags:?} and not all of {wanted:?}", path.display());
        Err(JailError::not_in_force(Layer::Root, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_resolves_parents() {
        assert_eq!(normal(Path::new("/lib64/../lib/./x")), Path::new("/lib/x"));
        assert_eq!(normal(Path::new("/../../x")), Path::new("/x"));
    }

    #[test]
    fn links_are_found_from_the_front() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::fs::create_dir(base.join("real")).unwrap();
        std::fs::write(base.join("real/file"), "").unwrap();
        std::os::unix::fs::symlink("real", base.join("link")).unwrap();
        let mut plain = BTreeSet::new();
        // What was seen before a link is known afterwards, and the link is still found.
        for _ in 0..2 {
            let mut first_link = |path| first_link(&base.join(path), &mut plain).unwrap();
            assert_eq!(first_link("real/file"), None);
            assert_eq!(first_link("link/file"), Some((base.join("link"), "real".into())));
            assert_eq!(first_link("nothing/file"), None);
        }
        assert!(plain.contains(&base.join("real/file")) && !plain.contains(&base.join("link")));
    }
}
