//! What goes over the channel, whatever it is.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::client::{Connection, get};
use crate::common::wait_until;
use crate::pool::{BOTH, Launch, Primary, cause, own_address, send};

/// What `identity.js` sees of being one of two workers.
pub fn sees_what_a_worker_sees(node: u8, primary: Primary) {
    let pool = Launch::new("identity.js", 2).node(node).start(primary);
    let mut seen = pool.seen_all("id", 2);
    seen.sort_by_key(|value| value["id"].as_u64());
    for (value, id) in seen.iter_mut().zip(1..) {
        let ours = value.as_object_mut().unwrap().remove("ours");
        assert_eq!(ours, (primary == Primary::Ours).then(|| json!(id.to_string())), "the same number");
        let expected = json!({
            "id": id, "isWorker": true, "isPrimary": false, "left": [], "send": "function", "connected": true,
            "channel": "object", "fork": "undefined", "isConnected": true,
        });
        assert_eq!(*value, expected, "{primary:?}");
    }
    assert_eq!(pool.workers().len(), 2, "the channel alone keeps them alive");
}

#[test]
fn messages_of_every_kind_and_length_hurt_nobody() {
    let address = own_address();
    for primary in BOTH {
        let pool = Launch::new("messages.js", 2).at(address).serve(primary);
        let errors: Vec<Value> = pool.seen("error");
        assert_eq!(errors, [] as [Value; 0], "{primary:?}");
        for _ in 0..10 {
            get(address).unwrap();
        }
        assert_eq!(pool.lines_with("worker died"), 0, "{primary:?}");
        assert_eq!(pool.seen("message"), [] as [Value; 0], "{primary:?}: nobody answers");
    }
}

#[test]
fn a_worker_that_sends_handles_is_not_mute_afterwards() {
    let address = own_address();
    for primary in BOTH {
        let pool = Launch::new("handles.js", 1).at(address).serve(primary);
        let mut connection = Connection::open(address).unwrap();
        assert_eq!(connection.rest().as_deref(), Ok(""), "{primary:?}: whoever it was sent to closes it");
        pool.seen_all("again", 1);
        let sent = pool.seen("sent");
        let said: Vec<_> =
            sent.iter().map(|value| (value["sent"].as_str().unwrap(), &value["error"])).collect();
        let null = &Value::Null;
        assert_eq!(said, [("socket", null), ("udp", null), ("words", null)], "{primary:?}");
        assert_eq!(pool.seen("count")[0]["count"], 0, "{primary:?}");
        assert_eq!(pool.seen("closed").len(), 1, "{primary:?}");
    }
}

/// Worker 1 leaves in the way that is named, and others serve.
fn leaves(how: &str) {
    let address = own_address();
    for primary in BOTH {
        let pool = Launch::new("leave.js", 2).at(address).env("TEST_LEAVE", how).serve(primary);
        let one = pool.seen("listening").into_iter().find(|value| value["worker"] == 1).unwrap();
        send(one["pid"].as_i64().unwrap() as i32, Signal::SIGUSR2);
        let death = pool.wait_for_death();
        assert!(death.contains("worker=1 "), "{primary:?}: {death}");
        assert!(death.contains("code=0"), "{primary:?}: {death}");
        let exit = pool.seen_all("exit", 1);
        assert_eq!((&exit[0]["worker"], &exit[0]["exit"]), (&json!(1), &json!(0)), "{primary:?}");
        let disconnected = pool.seen("disconnected");
        assert_eq!(disconnected.len(), 1, "{primary:?}: it heard of it");
        if primary == Primary::Ours {
            assert_eq!(cause(&death), Some("exited"), "{death}");
            assert_eq!(pool.lines_with("failures="), 0, "it has not failed");
        }
        // Its replacement is number 3.
        wait_until("worker 3 listens", || {
            pool.seen("listening").iter().any(|value| value["worker"] == 3).then_some(())
        });
        for _ in 0..10 {
            get(address).unwrap();
        }
    }
}

#[test]
fn a_worker_that_disconnects_itself_is_answered_and_replaced() {
    leaves("disconnect");
}

#[test]
fn a_worker_that_kills_itself_is_answered_and_replaced() {
    leaves("kill");
}

/// Worker 1 does what ends its channel; the others and we are not hurt.
fn is_ended(rude: &str, reason: &str) {
    let address = own_address();
    let pool = Launch::new("rude.js", 2).at(address).env("TEST_RUDE", rude).start(Primary::Ours);
    let line = pool.program.wait_for_line(&["worker broke the protocol"]);
    assert!(line.contains(reason) && line.contains("worker=1 "), "{line}");
    let death = pool.wait_for_death();
    assert!(death.contains("worker=1 "), "{death}");
    wait_until("two others serve", || {
        let others = pool.seen("listening").iter().filter(|value| value["worker"] != 1).count();
        (others >= 2).then_some(())
    });
    for _ in 0..10 {
        assert_ne!(get(address).unwrap(), 1);
    }
    assert_eq!(pool.lines_with("broke the protocol"), 1, "one line, and no more");
}

/// Node's own primary dies of it, with all its workers.
#[test]
fn a_worker_that_sends_no_json_ends_only_itself() {
    is_ended("garbage", "no JSON");
    let address = own_address();
    let mut pool = Launch::new("rude.js", 2).at(address).env("TEST_RUDE", "garbage").start(Primary::Nodes);
    assert_eq!(pool.program.wait(), 1);
}

/// Node's own primary reads on, as long as there is memory.
#[test]
fn a_worker_that_sends_a_line_of_9_mib_ends_only_itself() {
    is_ended("long", "longer than 8 MiB");
}

#[test]
fn the_text_ready_makes_a_worker_ready() {
    let pool = Launch::new("ready.js", 1).at(own_address()).set("ready", "message").start(Primary::Ours);
    pool.seen_all("listening", 1);
    let worker = *pool.workers().first().unwrap();
    assert_eq!(pool.lines_with("worker ready"), 0, "it only listens");
    send(worker, Signal::SIGUSR2);
    pool.program.wait_for_line(&["worker ready"]);
}

#[test]
fn a_program_that_never_listens_is_not_ready_in_time() {
    let launch = Launch::new("ready.js", 1).env("TEST_NEVER", "1");
    let pool = launch.set("ready-timeout", "1s").set("stop-timeout", "1s").start(Primary::Ours);
    let started = std::time::Instant::now();
    let line = pool.program.wait_for_line(&["worker is not ready in time"]);
    assert!(line.contains("no server of its listens"), "{line}");
    let death = pool.wait_for_death();
    assert_eq!(cause(&death), Some("ready-timeout"), "{death}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn pm2s_shutdown_message_is_delivered_when_it_is_asked_for() {
    for (setting, expected) in [("on", 1), ("off", 0)] {
        let launch = Launch::new("messages.js", 1).at(own_address()).set("stop-message", setting);
        let mut pool = launch.serve(Primary::Ours);
        assert_eq!(pool.stop().0, 0);
        let heard = pool.seen("message").iter().filter(|value| value["message"] == "shutdown").count();
        assert_eq!(heard, expected, "STOP_MESSAGE={setting}");
    }
}
