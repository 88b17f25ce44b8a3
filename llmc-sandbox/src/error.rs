//! What can go wrong on the way into a jail: always with the layer that failed and what to do about it.

use std::borrow::Cow;
use std::fmt;
use std::io;

use rustix::io::Errno;

/// A step into a jail, and at the same time a layer of protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Open descriptors.
    Descriptors,
    /// Resource limits (`setrlimit(2)`) and the accounting of a tree.
    Limits,
    /// User namespace and its identity maps.
    UserNamespace,
    /// User, group and supplementary groups.
    Identity,
    /// Mount namespace.
    MountNamespace,
    /// The file tree that the jail sees.
    Root,
    /// The jail's own `/proc`.
    Proc,
    /// A granted directory.
    GrantedRoot,
    /// Linux capabilities, bounding set and securebits.
    Capabilities,
    /// `no_new_privs`, without which neither Landlock nor seccomp can be set.
    NoNewPrivs,
    /// The jail dies with the process that started it.
    ParentDeath,
    /// Neighbours cannot read the process's memory, environment or descriptors.
    Dumpable,
    /// Landlock rules.
    Landlock,
    /// The system call filter.
    Seccomp,
    /// Starting processes.
    Process,
    /// Executing the program.
    Program,
    /// The request itself.
    Request,
}

impl Layer {
    /// Every layer, in the order of the discriminants.
    pub const ALL: [Self; 17] = [
        Self::Descriptors,
        Self::Limits,
        Self::UserNamespace,
        Self::Identity,
        Self::MountNamespace,
        Self::Root,
        Self::Proc,
        Self::GrantedRoot,
        Self::Capabilities,
        Self::NoNewPrivs,
        Self::ParentDeath,
        Self::Dumpable,
        Self::Landlock,
        Self::Seccomp,
        Self::Process,
        Self::Program,
        Self::Request,
    ];

    /// Stable name, as it stands in refusals and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Descriptors => "descriptors",
            Self::Limits => "limits",
            Self::UserNamespace => "user namespace",
            Self::Identity => "identity",
            Self::MountNamespace => "mount namespace",
            Self::Root => "root",
            Self::Proc => "proc",
            Self::GrantedRoot => "granted root",
            Self::Capabilities => "capabilities",
            Self::NoNewPrivs => "no_new_privs",
            Self::ParentDeath => "parent death",
            Self::Dumpable => "dumpable",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::Process => "process",
            Self::Program => "program",
            Self::Request => "request",
        }
    }

    /// What an operator can do when this layer fails.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::UserNamespace | Self::MountNamespace | Self::Root => {
                "allow user namespaces: `sysctl user.max_user_namespaces` must not be 0, \
                 `kernel.unprivileged_userns_clone` and `kernel.apparmor_restrict_unprivileged_userns` must not \
                 forbid them, and a container needs a seccomp profile that permits `clone`, `unshare` and `mount`"
            }
            Self::Proc => {
                "a container must not mask parts of /proc (Docker: `--security-opt systempaths=unconfined`)"
            }
            Self::Landlock => {
                "run Linux 5.13 or newer (6.12 where namespaces are not available) with `landlock` in the `lsm=` \
                 boot parameter"
            }
            Self::Seccomp => "run a kernel built with CONFIG_SECCOMP_FILTER, on x86-64 or arm64",
            Self::Limits => {
                "raise the limit of the process that started llmc, or lower it in the configuration"
            }
            Self::GrantedRoot => "grant a directory that exists and that llmc's own user may enter",
            Self::Program => "check that the file exists and that everybody may read and execute it",
            Self::Request => "correct the request",
            Self::ParentDeath => "start it again; the process that asked for the jail is gone",
            Self::Process => "lower the number of processes on this machine, or raise its limits",
            Self::Descriptors | Self::Identity | Self::Capabilities | Self::NoNewPrivs | Self::Dumpable => {
                "run `llmc doctor` and report what it says"
            }
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a jail could not be entered or started. Nothing of the payload has run.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// The kernel refused a step.
    #[error("layer `{layer}` failed: {action}: {errno}; {}", layer.remedy())]
    Refused {
        /// The layer that is missing now.
        layer: Layer,
        /// What was tried.
        action: Cow<'static, str>,
        /// What the kernel answered.
        errno: Errno,
    },
    /// Every call succeeded, but reading the state back shows something else.
    #[error("layer `{layer}` is not in force: {found}; {}", layer.remedy())]
    NotInForce {
        /// The layer.
        layer: Layer,
        /// What was found instead.
        found: Cow<'static, str>,
    },
    /// The kernel or the machine lacks something.
    #[error("layer `{layer}` is missing: {lacking}; {}", layer.remedy())]
    Missing {
        /// The layer.
        layer: Layer,
        /// What is lacking.
        lacking: Cow<'static, str>,
    },
    /// The request cannot be carried out as it stands.
    #[error("invalid request: {0}")]
    Invalid(Cow<'static, str>),
}

impl JailError {
    /// The layer that the error is about.
    pub fn layer(&self) -> Layer {
        match self {
            Self::Refused { layer, .. } | Self::NotInForce { layer, .. } | Self::Missing { layer, .. } => {
                *layer
            }
            Self::Invalid(_) => Layer::Request,
        }
    }

    pub(crate) fn not_in_force(layer: Layer, found: impl Into<Cow<'static, str>>) -> Self {
        Self::NotInForce { layer, found: found.into() }
    }

    pub(crate) fn missing(layer: Layer, lacking: impl Into<Cow<'static, str>>) -> Self {
        Self::Missing { layer, lacking: lacking.into() }
    }
}

/// Attaches the layer and the step to a bare error of the kernel.
pub(crate) trait At<T> {
    fn at(self, layer: Layer, action: impl Into<Cow<'static, str>>) -> Result<T, JailError>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, layer: Layer, action: impl Into<Cow<'static, str>>) -> Result<T, JailError> {
        self.map_err(|errno| JailError::Refused { layer, action: action.into(), errno })
    }
}

impl<T> At<T> for io::Result<T> {
    fn at(self, layer: Layer, action: impl Into<Cow<'static, str>>) -> Result<T, JailError> {
        self.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)).at(layer, action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_layer_errno_and_remedy() {
        let error = Err::<(), _>(Errno::PERM).at(Layer::Landlock, "restrict").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("layer `landlock` failed: restrict: Operation not permitted"), "{text}");
        assert!(text.contains("lsm="), "{text}");
    }

    #[test]
    fn layers_are_listed_in_order_with_distinct_names() {
        for (index, layer) in Layer::ALL.iter().enumerate() {
            assert_eq!(*layer as usize, index);
        }
        let mut names: Vec<_> = Layer::ALL.iter().map(|layer| layer.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Layer::ALL.len());
    }
}
