//! Linux capabilities: dropped for good, and read back.

use rustix::io::Errno;
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};

use crate::error::{At, JailError, Layer};

/// What became of the bounding set and the securebits, which only a holder of `CAP_SETPCAP` may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bounding {
    /// Emptied and locked.
    Dropped,
    /// Not permitted. Harmless under `no_new_privs`, which keeps `execve` from giving any of them.
    Kept,
}

impl Bounding {
    /// In words, for reports.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::Dropped => "none, bounding set empty, securebits locked",
            Self::Kept => "none; the bounding set stays, and no_new_privs makes it unusable",
        }
    }
}

/// Empties every set of the calling thread, the bounding set where that is permitted.
pub(crate) fn drop_all() -> Result<Bounding, JailError> {
    reduce(CapabilitySet::empty())
}

/// Keeps `keep` permitted and effective, nothing inheritable, ambient or bounding, and nothing that could come back.
pub(crate) fn restrict_to(keep: CapabilitySet) -> Result<(), JailError> {
    match reduce(keep)? {
        Bounding::Dropped => Ok(()),
        Bounding::Kept => {
            Err(JailError::not_in_force(Layer::Capabilities, "the bounding set cannot be emptied"))
        }
    }
}

fn reduce(keep: CapabilitySet) -> Result<Bounding, JailError> {
    let held = rustix::thread::capabilities(None).at(Layer::Capabilities, "read capabilities")?;
    rustix::thread::clear_ambient_capability_set().at(Layer::Capabilities, "clear the ambient set")?;
    let may_lock = held.effective.contains(CapabilitySet::SETPCAP) && empty_bounding_set()?;
    if may_lock {
        rustix::thread::set_capabilities_secure_bits(locked()).at(Layer::Capabilities, "lock securebits")?;
    }
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).at(Layer::Capabilities, "set capabilities")?;
    read_back(sets, may_lock)?;
    Ok(if may_lock { Bounding::Dropped } else { Bounding::Kept })
}

/// `false` when a security module forbids it although `CAP_SETPCAP` is there, as AppArmor does in user namespaces.
fn empty_bounding_set() -> Result<bool, JailError> {
    for capability in bounding_set()? {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Err(Errno::PERM) => return Ok(false),
            result => result.at(Layer::Capabilities, "drop from the bounding set")?,
        }
    }
    Ok(true)
}

fn read_back(expected: CapabilitySets, locked_down: bool) -> Result<(), JailError> {
    let found = rustix::thread::capabilities(None).at(Layer::Capabilities, "read capabilities")?;
    if found != expected {
        return Err(JailError::not_in_force(Layer::Capabilities, format!("sets are {found:?}")));
    }
    if !locked_down {
        return Ok(());
    }
    let bounding = bounding_set()?;
    if !bounding.is_empty() {
        return Err(JailError::not_in_force(Layer::Capabilities, format!("bounding set is {bounding:?}")));
    }
    let bits = rustix::thread::capabilities_secure_bits().at(Layer::Capabilities, "read securebits")?;
    if bits != locked() {
        return Err(JailError::not_in_force(Layer::Capabilities, format!("securebits are {bits:?}")));
    }
    Ok(())
}

/// The capabilities of the bounding set, up to the last one that the kernel knows.
fn bounding_set() -> Result<Vec<CapabilitySet>, JailError> {
    let mut found = Vec::new();
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match rustix::thread::capability_is_in_bounding_set(capability) {
            Ok(true) => found.push(capability),
            Ok(false) => {}
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno).at(Layer::Capabilities, "read the bounding set"),
        }
    }
    Ok(found)
}

/// User id 0 means nothing, changing it gives nothing, and neither can be undone.
fn locked() -> CapabilitiesSecureBits {
    use CapabilitiesSecureBits as Bits;
    Bits::NO_ROOT
        | Bits::NO_ROOT_LOCKED
        | Bits::NO_SETUID_FIXUP
        | Bits::NO_SETUID_FIXUP_LOCKED
        | Bits::KEEP_CAPS_LOCKED
        | Bits::NO_CAP_AMBIENT_RAISE
        | Bits::NO_CAP_AMBIENT_RAISE_LOCKED
}
