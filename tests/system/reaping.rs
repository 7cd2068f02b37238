//! Every orphan is reaped, and none is taken for a worker.

use std::collections::BTreeMap;

use crate::harness::{allcores_sh, field, until};
use crate::kernel::{self, is_alive, send};

#[test]
fn twenty_thousand_orphans_while_workers_crash_leave_none_behind() {
    // 40 lives that leave 500 orphans each and then crash; later ones stay.
    let line = "[ $ALLCORES_WORKER -gt 40 ] && { echo up; exec sleep 1000; }
                i=0; while [ $i -lt 125 ]; do ( : & : & : & : & ); i=$((i+1)); done; exit 1";
    let mut running =
        allcores_sh(line).set("WORKERS", "4").set("BACKOFF", "0..1ms").set("MAX_FAILURES", "0").start();
    running.output.next_of(4, "up");
    until("four workers and no zombie", || (running.below().len() == 4).then_some(()));
    let ended = running.stop();
    let mut started = BTreeMap::new();
    for line in ended.log.lines().filter(|line| line.contains("worker started")) {
        assert_eq!(started.insert(field(line, "worker"), field(line, "pid")), None, "{line}");
    }
    assert_eq!(started.len(), 44);
    for line in ended.log.lines().filter(|line| line.contains("worker died")) {
        // The right process, once, with a code that no orphan had.
        assert_eq!(started.remove(field(line, "worker")), Some(field(line, "pid")), "{line}");
        assert!(
            line.contains("code=1 cause=crashed") || line.contains("signal=TERM cause=stopped"),
            "{line}"
        );
    }
    assert_eq!(started.len(), 0, "{started:?}");
}

#[test]
fn two_hundred_deaths_behind_one_notification_are_all_reaped() {
    let line = "i=0; while [ $i -lt 200 ]; do (sleep 1000 &); i=$((i+1)); done; echo up; exec sleep 2000";
    let mut running = allcores_sh(line).start();
    running.output.next("up");
    let worker = running.worker().1;
    let orphans: Vec<i32> = running.below().into_iter().filter(|pid| *pid != worker).collect();
    assert_eq!(orphans.len(), 200);
    running.send(libc::SIGSTOP);
    for orphan in &orphans {
        send(*orphan, libc::SIGKILL);
    }
    until("200 zombies", || orphans.iter().all(|orphan| !is_alive(*orphan)).then_some(()));
    assert_eq!(running.below().len(), 201, "somebody reaped while it was suspended");
    running.send(libc::SIGCONT);
    until("all are reaped", || (running.below() == [worker]).then_some(()));
}

#[test]
fn workers_that_real_time_signals_killed_are_reaped_and_replaced() {
    let mut running =
        allcores_sh("echo up; exec sleep 1000").set("WORKERS", "2").set("BACKOFF", "0..10ms").start();
    running.output.next_of(2, "up");
    running.worker();
    for (number, name) in [(34, "RTMIN"), (35, "RTMIN+1"), (63, "RTMAX-1"), (64, "RTMAX")] {
        let pid = running.worker().1;
        send(pid, number);
        let died = running.log.next("worker died");
        assert_eq!((field(&died, "signal"), field(&died, "cause")), (name, "crashed"));
        running.output.next("up");
    }
    until("two workers and no zombie", || (running.below().len() == 2).then_some(()));
}

#[test]
fn orphans_become_ours_when_we_are_not_pid_1() {
    let mut running = allcores_sh("(sleep 1000 &); echo up; exec sleep 2000").below_an_init().start();
    running.output.next("up");
    let (worker, ours) = (running.worker().1, running.pid());
    let orphan = until("an adopted orphan", || running.below().into_iter().find(|pid| *pid != worker));
    until("it is ours", || (kernel::status(orphan, "PPid") == Some(ours.to_string())).then_some(()));
    send(orphan, libc::SIGKILL);
    until("it is reaped", || (running.below() == [worker]).then_some(()));
    assert_eq!(running.stop().code, Some(143));
}
