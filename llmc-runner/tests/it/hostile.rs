//! Frames that no server sends: the runner ends at once and takes its jails along, or goes on as if nothing had been.

use super::*;

/// A run that goes on, so that its end shows the end of the runner.
fn sleeper(runner: &mut Runner) -> Run {
    let mut run = runner.spawn(1, shell("(sleep 1000 &) ; echo up; sleep 1000")).unwrap();
    let mut up = [0; 3];
    run.stdout.read_exact(&mut up).unwrap();
    run
}

/// Sends bytes as they are.
fn send_raw(runner: &Runner, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        rest = &rest[rustix::io::write(runner.receiver.as_fd(), rest).unwrap()..];
    }
}

fn header(kind: u8, fds: u8, len: u32) -> [u8; 24] {
    Header { kind, fds, len, call: 2, ..Header::default() }.encode()
}

#[test]
fn hostile_frames_end_the_runner_and_its_jails() {
    for (what, bytes) in [
        ("a frame of 2 GiB", header(to_runner::SPAWN, 0, 1 << 31).to_vec()),
        ("a frame over the limit", header(to_runner::SPAWN, 0, 9 << 20).to_vec()),
        ("descriptors that did not come", header(to_runner::SPAWN, 255, 0).to_vec()),
        ("a second greeting", header(to_runner::INIT, 0, 0).to_vec()),
        ("noise", vec![0xff; 4096]),
    ] {
        let mut runner = Runner::start();
        let mut run = sleeper(&mut runner);
        send_raw(&runner, &bytes);
        let mut rest = String::new();
        run.stdout.read_to_string(&mut rest).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(!runner.child.wait().unwrap().success(), "{what}");
    }
}

#[test]
fn a_run_of_a_number_that_is_taken_ends_the_runner() {
    let mut runner = Runner::start();
    let mut run = sleeper(&mut runner);
    runner.send(1, shell("echo"));
    let mut rest = String::new();
    run.stdout.read_to_string(&mut rest).unwrap();
    assert!(!runner.child.wait().unwrap().success());
}

#[test]
fn half_a_frame_keeps_nothing_from_ending() {
    let mut runner = Runner::start();
    let run = runner.spawn(1, shell("sleep 0.2; echo done")).unwrap();
    let limited = runner.spawn(2, {
        let mut request = shell("sleep 1000");
        request.spec.limits.wall_ms = 400;
        request
    });
    let limited = limited.unwrap();
    let whole = [&header(to_runner::SPAWN, 0, 2)[..], b"{}"].concat();
    // A frame that begins and does not go on, while runs end by themselves and at their limits.
    let mut call_3 = whole.clone();
    call_3[8] = 3;
    send_raw(&runner, &call_3[..25]);
    assert_eq!(runner.finish(run).stdout, "done\n");
    assert_eq!(runner.finish(limited).outcome.limit, Some(Limit::Wall));
    send_raw(&runner, &call_3[25..]);
    let frame = runner.receiver.receive().unwrap().unwrap();
    assert_eq!((frame.header.kind, frame.header.call), (from_runner::REFUSED, 3));
    assert_eq!(runner.run(shell("echo ok")).stdout, "ok\n");
}

#[test]
fn requests_that_are_refused_cost_no_slot_and_no_descriptor() {
    let mut runner = Runner::start_with(Command::new(RUNNER), 2);
    let open =
        |runner: &Runner| std::fs::read_dir(format!("/proc/{}/fd", runner.child.id())).map(Iterator::count);
    runner.run(shell("echo"));
    let before = open(&runner);
    for round in 0..40 {
        let mut request = match round % 4 {
            0 => request(Profile::Workspace, Program::File("/usr/bin/absent".into()), &[]),
            // A file, but no program: it is refused by the last step of all.
            1 => request(Profile::Workspace, Program::File("/etc/passwd".into()), &[]),
            2 => request(Profile::Code, Program::Engine("perl".into()), &[]),
            _ => shell("echo"),
        };
        if round % 4 == 3 {
            request.spec.cwd = Some("/no/such/directory".into());
        }
        runner.refused(request);
    }
    let first = runner.spawn(1, shell("sleep 1000")).unwrap();
    let second = runner.spawn(2, shell("sleep 1000")).unwrap();
    for run in [first, second] {
        rustix::process::pidfd_send_signal(&run.pidfd, Signal::KILL).unwrap();
        runner.finish(run);
    }
    // Only root may count them.
    if let (Ok(before), Ok(after)) = (before, open(&runner)) {
        assert_eq!(before, after);
    }
    let children =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", runner.child.id())).unwrap();
    assert_eq!(children, "", "nothing of the refused is left");
}
