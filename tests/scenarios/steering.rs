//! Which slots new connections go to.

use crate::story::Story;

fn pool() -> Story {
    let mut story = Story::pool(&[("mode", "reuseport"), ("ready", "alive:0"), ("backoff", "1s")]);
    story.pass(1000);
    story.chapter();
    story
}

#[test]
fn whoever_is_dead_gets_none_while_another_serves() {
    let mut story = pool();
    story.exits(3, 1);
    story.pass(2000);
    story.went(
        "
        1000 3 ends: exit 1
            - worker 2 crashed
            - slot 1 rests 1000ms, failures: 1
            - steer to 0
        2000 a worker is due
            - start worker 3 in slot 1
        2000 a worker becomes ready
            - worker 3 is ready
            - steer to 0 1
        ",
    );
}

#[test]
fn a_queue_that_does_not_move_gets_no_more_until_it_does() {
    let mut story = pool();
    for depths in [[0, 5], [3, 5], [0, 6], [0, 4]] {
        story.queues_are(&depths);
    }
    story.went(
        "
        1000 measured
        1000 measured
            - steer to 0
        1000 measured
        1000 measured
            - steer to 0 1
        ",
    );
}

#[test]
fn a_slot_that_goes_gets_none_before_its_worker_is_told() {
    let mut story = pool();
    story.signal("TTOU");
    story.exits(3, 0);
    story.went(
        "
        1000 TTOU
            - scaled from 2 to 1 as asked
            - steer to 0
            - TERM to 3
        1000 3 ends: exit 0
            - worker 2 stopped
            - keep 1 slots
        ",
    );
}
