//! Files in memory that nobody can change any more.

use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{SealFlags, fcntl_add_seals};
use rustix::io::Errno;

/// Between two attempts to seal; the kernel itself waits for about 150 ms in each.
const PAUSE: Duration = Duration::from_millis(20);
/// Attempts before sealing fails: some three seconds.
const ATTEMPTS: u32 = 20;

/// Seals a file of `memfd_create(2)`, which must allow it, against every change.
///
/// The kernel refuses with `EBUSY` while anybody holds a page of it, be it the kernel itself that moves or reclaims
/// memory (`memfd_wait_for_pins` in mm/memfd.c); on a machine under pressure that happens to files that nobody else
/// knows. So it is tried again for a while.
///
/// # Errors
/// When the file cannot be sealed, or is still in use after a few seconds.
pub fn seal(file: impl AsFd) -> rustix::io::Result<()> {
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    while_busy(PAUSE, || fcntl_add_seals(file.as_fd(), seals))
}

fn while_busy(
    pause: Duration,
    mut attempt: impl FnMut() -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(Errno::BUSY) => sleep(pause),
            outcome => return outcome,
        }
    }
    attempt()
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    fn tried(outcomes: &[Result<(), Errno>]) -> (Result<(), Errno>, usize) {
        let mut made = 0;
        let outcome = while_busy(Duration::ZERO, || {
            made += 1;
            outcomes[(made - 1).min(outcomes.len() - 1)]
        });
        (outcome, made)
    }

    #[test]
    fn busy_is_tried_again_and_nothing_else() {
        assert_eq!(tried(&[Err(Errno::BUSY), Err(Errno::BUSY), Ok(())]), (Ok(()), 3));
        assert_eq!(tried(&[Err(Errno::PERM), Ok(())]), (Err(Errno::PERM), 1));
        assert_eq!(tried(&[Err(Errno::BUSY)]), (Err(Errno::BUSY), ATTEMPTS as usize));
    }

    #[test]
    fn what_is_sealed_cannot_be_changed() {
        let file = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::io::write(&file, b"x").unwrap();
        seal(&file).unwrap();
        assert_eq!(rustix::io::write(&file, b"y"), Err(Errno::PERM));
        assert_eq!(seal(&file), Err(Errno::PERM), "seals are sealed, too");
    }
}
