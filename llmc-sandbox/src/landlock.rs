//! Landlock: rules on what a process may reach by path, by TCP, by signal and by abstract socket.
//!
//! Everything is denied that is not listed. What the caller requires is a hard requirement; whatever a newer kernel
//! offers beyond is taken along. Landlock does not cover `stat(2)`, UDP, or (before its ABI 9) connecting to socket
//! files: it is the second wall, not the only one.

use std::os::fd::BorrowedFd;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};

use crate::error::{JailError, Layer};

/// What may be done below a directory, or with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Listing directories.
    List,
    /// Reading files and listing directories.
    Read,
    /// Reading and executing.
    ReadExecute,
    /// Everything but executing and making devices, pipes and sockets.
    Write,
    /// [`Right::Write`], and executing.
    WriteExecute,
    /// [`Right::Write`], and making pipes and sockets: scratch space.
    Scratch,
    /// Reading and writing one file, such as `/dev/null`.
    File,
    /// Reading one file.
    ReadFile,
    /// Reading and executing one file.
    ExecuteFile,
    /// Reading, writing and commanding one terminal.
    Terminal,
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule<'fd> {
    /// A directory or file.
    pub(crate) beneath: BorrowedFd<'fd>,
    /// What is allowed there.
    pub(crate) right: Right,
}

/// How much the kernel must offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Required {
    /// File rights of the first ABI (Linux 5.13): for processes in namespaces of their own.
    SecondWall,
    /// File rights up to device commands, TCP, and the scopes for signals and abstract sockets (ABI 6, Linux 6.12):
    /// for processes that share namespaces with others.
    FirstWall,
}

/// Newest ABI whose rights are asked for.
const NEWEST: ABI = ABI::V10;

/// Restricts the calling thread for good. Returns what the kernel enforces, in words.
pub(crate) fn restrict(rules: &[Rule<'_>], required: Required) -> Result<String, JailError> {
    let floor = match required {
        Required::SecondWall => ABI::V1,
        Required::FirstWall => ABI::V6,
    };
    let status = ruleset(rules, floor).map_err(|error| {
        let sources: Vec<String> =
            std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
                .map(ToString::to_string)
                .collect();
        JailError::missing(Layer::Landlock, format!("ABI {floor} is required: {}", sources.join(": ")))
    })?;
    let LandlockStatus::Available { effective_abi, .. } = status.landlock else {
        return Err(JailError::missing(Layer::Landlock, "the kernel does not offer it"));
    };
    if effective_abi < floor || status.ruleset == RulesetStatus::NotEnforced || !status.no_new_privs {
        return Err(JailError::not_in_force(Layer::Landlock, format!("{status:?}")));
    }
    let scopes = if effective_abi >= ABI::V6 { ", no signals or abstract sockets to others" } else { "" };
    let tcp = if effective_abi >= ABI::V4 { ", no TCP" } else { "" };
    Ok(format!("ABI {effective_abi}, {} rules{tcp}{scopes}", rules.len()))
}

fn ruleset(rules: &[Rule<'_>], floor: ABI) -> Result<landlock::RestrictionStatus, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(floor))?;
    if floor >= ABI::V4 {
        ruleset = ruleset.handle_access(AccessNet::from_all(floor))?;
    }
    if floor >= ABI::V6 {
        ruleset = ruleset.scope(Scope::from_all(floor))?;
    }
    let mut created = ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for rule in rules {
        created = created.add_rule(PathBeneath::new(rule.beneath, rule.right.access()))?;
    }
    created.restrict_self()
}

impl Right {
    /// Every right, for messages that name one by its place.
    pub(crate) const ALL: [Self; 10] = [
        Self::List,
        Self::Read,
        Self::ReadExecute,
        Self::Write,
        Self::WriteExecute,
        Self::Scratch,
        Self::File,
        Self::ReadFile,
        Self::ExecuteFile,
        Self::Terminal,
    ];

    fn access(self) -> BitFlags<AccessFs> {
        let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
        let write = read
            | make_bitflags!(AccessFs::{
                WriteFile | Truncate | RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSym | Refer
            });
        match self {
            Self::List => AccessFs::ReadDir.into(),
            Self::Read => read,
            Self::ReadExecute => read | AccessFs::Execute,
            Self::Write => write,
            Self::WriteExecute => write | AccessFs::Execute,
            Self::Scratch => write | make_bitflags!(AccessFs::{MakeFifo | MakeSock}),
            Self::File => make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate}),
            Self::ReadFile => AccessFs::ReadFile.into(),
            Self::ExecuteFile => make_bitflags!(AccessFs::{ReadFile | Execute}),
            Self::Terminal => make_bitflags!(AccessFs::{ReadFile | WriteFile | IoctlDev}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_right_makes_devices_and_only_terminals_are_commanded() {
        for (index, right) in Right::ALL.into_iter().enumerate() {
            assert_eq!(right as usize, index);
            let access = right.access();
            for never in [AccessFs::MakeChar, AccessFs::MakeBlock, AccessFs::ResolveUnix] {
                assert!(!access.contains(never), "{right:?} {never:?}");
            }
            assert_eq!(access.contains(AccessFs::IoctlDev), right == Right::Terminal, "{right:?}");
        }
    }

    #[test]
    fn only_the_named_rights_execute() {
        assert!(!Right::Write.access().contains(AccessFs::Execute));
        assert!(!Right::Scratch.access().contains(AccessFs::Execute));
        assert!(Right::WriteExecute.access().contains(AccessFs::Execute));
    }
}
