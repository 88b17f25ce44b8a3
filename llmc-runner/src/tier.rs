//! Which jails are to be had: whole ones, or lesser ones where the operator permits them and the kernel no others.

use std::process::{Command, Stdio};

use llmc_sandbox::jail::Launcher;
use llmc_wire::runner::{Isolation, Refused};

use crate::request::refused;

/// Makes the launcher of the strongest jails that are to be had, if they are strong enough.
///
/// # Errors
///
/// Why there are none.
pub(crate) fn launcher(
    max_jails: u32,
    parent: Option<u32>,
    min_isolation: Isolation,
) -> Result<Launcher, Refused> {
    let whole = |max_jails| Launcher::prepare(max_jails, parent).map_err(|error| refused(&error));
    match min_isolation {
        Isolation::Namespaces => whole(max_jails),
        // A process that has failed half-way on the way to namespaces can do nothing else any more: another one tries.
        Isolation::Landlock if whole_jails_can_be_made() => whole(max_jails),
        Isolation::Landlock => {
            Launcher::without_namespaces(max_jails, parent).map_err(|error| refused(&error))
        }
    }
}

/// Whether this machine permits whole jails. Whether they hold is for the trial to tell: one that does not is no
/// reason for something weaker.
fn whole_jails_can_be_made() -> bool {
    let Ok(own) = std::env::current_exe() else { return false };
    let mut command = Command::new(own);
    command.arg("--self-test").env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
