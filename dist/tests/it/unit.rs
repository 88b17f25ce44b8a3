//! The systemd unit: what jails need is open, the rest closed, and systemd itself can read it.

use std::fs;
use std::process::Command;

use crate::{has, packaging, run};

/// The values of a setting, in the order they stand.
fn values<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

#[test]
fn what_jails_need_is_open_and_the_rest_is_closed() {
    let unit = packaging("systemd/llmc.service");
    for (name, value) in [
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("Delegate", "yes"),
        // systemd answers openat2 with "no such call" where this is on.
        ("RestrictSUIDSGID", "no"),
        ("RestrictNamespaces", "no"),
        // Mounts over /proc keep jails from mounting theirs.
        ("ProtectKernelTunables", "no"),
        ("ProtectKernelLogs", "no"),
    ] {
        assert_eq!(values(&unit, name), [value], "{name}");
    }
    assert!(values(&unit, "DynamicUser").is_empty() && values(&unit, "ProcSubset").is_empty());
    assert_ne!(values(&unit, "User"), ["root"]);
    for filter in values(&unit, "SystemCallFilter") {
        assert!(
            filter.starts_with('~') && !filter.contains("@mount") && !filter.contains("@privileged"),
            "{filter}"
        );
    }
    let user = packaging("debian/sysusers.conf");
    assert!(user.lines().any(|line| line.starts_with(&format!("u {} ", values(&unit, "User")[0]))), "{user}");
}

#[test]
fn the_socket_starts_the_service_on_loopback_alone() {
    let socket = packaging("systemd/llmc.socket");
    let places = values(&socket, "ListenStream");
    assert!(!places.is_empty() && places.iter().all(|place| place.starts_with("127.0.0.1:")), "{places:?}");
    // It starts the service of its own name.
    assert!(values(&socket, "Service").is_empty() && values(&socket, "Accept").is_empty());
    assert_eq!(values(&socket, "WantedBy"), ["sockets.target"]);
}

#[test]
fn systemd_reads_it_without_a_complaint() {
    if !has("systemd-analyze", "the unit by systemd's own eyes") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let verify = |unit: &str| {
        let file = folder.path().join("llmc.service");
        fs::write(&file, unit).unwrap();
        let mut command = Command::new("systemd-analyze");
        command
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .arg(&file)
            .arg(folder.path().join("llmc.socket"));
        let output = command.output().unwrap();
        // It names what it does not know and ends well all the same.
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stderr),
            if output.status.success() { "" } else { "failed" }
        )
    };
    // The program is not installed here, and systemd looks for it.
    let unit = packaging("systemd/llmc.service").replace("/usr/bin/llmc", "/bin/true");
    fs::write(folder.path().join("llmc.socket"), packaging("systemd/llmc.socket")).unwrap();
    assert_eq!(verify(&unit), "");
    assert!(verify(&unit.replace("ProtectHome=yes", "ProtectHome=maybe")).contains("ignoring: maybe"));
    let exposure = run(Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--threshold=40"])
        .arg(folder.path().join("llmc.service")));
    assert!(String::from_utf8_lossy(&exposure.stdout).contains("Overall exposure"));
}
