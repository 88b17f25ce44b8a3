//! Resource limits of a process.

use rustix::process::{Resource, Rlimit};

use crate::error::{At, JailError, Layer};

/// Sets soft and hard limits alike, never above the present hard limit, and reads them back. `u64::MAX` is no limit.
pub(crate) fn set(limits: &[(Resource, u64)]) -> Result<(), JailError> {
    for &(resource, value) in limits {
        let present = rustix::process::getrlimit(resource).maximum;
        // The kernel's name for "no limit" is the largest number.
        let value = Some(present.map_or(value, |hard| hard.min(value))).filter(|&value| value < u64::MAX);
        let limit = Rlimit { current: value, maximum: value };
        rustix::process::setrlimit(resource, limit)
            .at(Layer::Limits, format!("set {resource:?} to {value:?}"))?;
        let found = rustix::process::getrlimit(resource);
        if found != limit {
            return Err(JailError::not_in_force(Layer::Limits, format!("{resource:?} is {found:?}")));
        }
    }
    Ok(())
}
