//! Terminals of jails, and signals to a whole tree.

use llmc_sandbox::jail::{Terminal, TreeSignal};
use llmc_sandbox::profile::WORKSPACE_TERMINAL;

use super::*;

/// A shell behind a terminal of 24 by 80.
fn shell_in_terminal(launcher: &mut Launcher, script: &str) -> (Jail, File) {
    let Terminal { master, slave, mount } = launcher.terminal(24, 80).unwrap();
    let mut spec = shell(script).spec;
    let copy = || slave.try_clone().unwrap();
    spec.profile = &WORKSPACE_TERMINAL;
    (spec.stdin, spec.stdout, spec.stderr) = (Some(copy()), copy(), copy());
    spec.terminal = Some(mount);
    let jail = launcher.spawn(&spec).unwrap_or_else(|error| panic!("{error}"));
    (jail, File::from(master))
}

/// What a terminal shows until nobody has it open any more.
fn shown(mut terminal: File) -> String {
    let mut bytes = Vec::new();
    // The end is an error: EIO.
    let _ = terminal.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

pub(super) fn a_terminal_is_the_jails_own() {
    let mut launcher = launcher();
    let script = "
        echo size=$(stty size)
        echo tty=$(tty)
        stty -echo && echo modes=set
        echo line > /dev/tty
        echo again > $(tty) && echo reopened=yes
        echo all=$(cd /dev/pts && echo *)
        (: < /dev/pts/ptmx) 2>/dev/null || echo ptmx=refused
        (: < /dev/ptmx) 2>/dev/null || echo outer_ptmx=refused
        chmod 666 /dev/pts/0 2>/dev/null || echo mode=stays
        read answer && echo answer=$answer
        ls -l /proc/self/fd > /tmp/fds; grep -c ptmx /tmp/fds
    ";
    let (jail, mut terminal) = shell_in_terminal(&mut launcher, script);
    terminal.write_all(b"typed\n").unwrap();
    let reader = std::thread::spawn(move || shown(terminal));
    let ending = finish(jail, &mut launcher);
    let text = reader.join().unwrap();
    assert_eq!(ending.status, ExitStatus::Exited(1), "grep found no master: {text}");
    for line in [
        "size=24 80",
        "tty=/dev/pts/0",
        "modes=set",
        "line",
        "again",
        "reopened=yes",
        "all=0 ptmx",
        "ptmx=refused",
        "outer_ptmx=refused",
        "mode=stays",
        "answer=typed",
        "0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

pub(super) fn every_terminal_is_a_first_one() {
    let mut launcher = launcher();
    let started: Vec<_> =
        (0..3).map(|_| shell_in_terminal(&mut launcher, "tty; read line; echo got=$line")).collect();
    for (number, (jail, mut terminal)) in started.into_iter().enumerate() {
        writeln!(terminal, "{number}").unwrap();
        let reader = std::thread::spawn(move || shown(terminal));
        finish(jail, &mut launcher);
        let text = reader.join().unwrap();
        assert!(text.contains("/dev/pts/0") && text.contains(&format!("got={number}\r\n")), "{text}");
    }
}

pub(super) fn a_lost_master_hangs_up() {
    let mut launcher = launcher();
    let (jail, terminal) = shell_in_terminal(&mut launcher, "sleep 1000");
    drop(terminal);
    assert_eq!(finish(jail, &mut launcher).status, ExitStatus::Signalled(Signal::HUP.as_raw()));
}

pub(super) fn a_signal_reaches_the_whole_tree() {
    let mut launcher = launcher();
    // Nobody forks any more once it says so: a shell may lose a signal that comes while it does.
    let script = "
        trap 'echo outer; until test -e /tmp/inner; do sleep 0.02; done; exit 3' TERM
        setsid sh -c 'trap \": > /tmp/inner; exit\" TERM; sleep 1000 & : > /tmp/ready; wait' &
        sleep 1000 &
        until test -e /tmp/ready; do sleep 0.02; done
        echo ready
        while :; do wait; done";
    let Request { spec, mut stdout, .. } = shell(script);
    let jail = launcher.spawn(&spec).unwrap_or_else(|error| panic!("{error}"));
    drop(spec);
    let mut text = String::new();
    while !text.contains("ready") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        text.push(byte[0].into());
    }
    jail.signal(TreeSignal::Terminate);
    let ending = finish(jail, &mut launcher);
    stdout.read_to_string(&mut text).unwrap();
    assert_eq!((ending.status, ending.limit), (ExitStatus::Exited(3), None), "{text}");
    assert!(text.contains("outer"), "{text}");
}

pub(super) fn a_signal_that_is_ignored_ends_nothing() {
    let mut launcher = launcher();
    let Request { spec, mut stdout, .. } = shell("trap '' TERM INT; echo ready; sleep 0.3; echo still here");
    let jail = launcher.spawn(&spec).unwrap_or_else(|error| panic!("{error}"));
    drop(spec);
    let mut begun = [0; 5];
    stdout.read_exact(&mut begun).unwrap();
    jail.signal(TreeSignal::Terminate);
    jail.signal(TreeSignal::Interrupt);
    let ending = finish(jail, &mut launcher);
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    assert_eq!((ending.status, text.trim()), (ExitStatus::Exited(0), "still here"));
}
