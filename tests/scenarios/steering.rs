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
            - slot 1 does not accept, 5 wait
            - steer to 0
        1000 measured
        1000 measured
            - slot 1 accepts again
            - steer to 0 1
        ",
    );
}

#[test]
fn a_slot_that_goes_gets_none_for_a_while_before_its_worker_is_told() {
    let mut story = pool();
    story.signal("TTOU");
    story.pass(200);
    story.exits(3, 0);
    story.went(
        "
        1000 TTOU
            - scaled from 2 to 1 as asked
            - steer to 0
        1200 a worker is out of rotation
            - TERM to 3
        1200 3 ends: exit 0
            - worker 2 stopped
            - keep 1 slots
        ",
    );
}

#[test]
fn a_queue_that_is_not_empty_is_soon_looked_at_again() {
    let mut story = pool();
    story.pass(9000);
    story.queues_are(&[0, 5]);
    story.pass(1000);
    story.queues_are(&[0, 0]);
    story.pass(9999);
    story.went(
        "
        10000 cores and memory are read
            - measure
        10000 measured
        11000 cores and memory are read
            - measure
        11000 measured
        ",
    );
}

#[test]
fn who_settles_when_we_are_asked_to_stop_settles_on() {
    let mut story = pool();
    story.signal("TTOU");
    story.pass(100);
    story.signal("TERM");
    story.pass(100);
    story.went(
        "
        1000 TTOU
            - scaled from 2 to 1 as asked
            - steer to 0
        1100 TERM
            - TERM to 2
        1200 a worker is out of rotation
            - TERM to 3
        ",
    );
}
