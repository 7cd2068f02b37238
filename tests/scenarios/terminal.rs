//! One program in the foreground of a terminal.

use crate::story::Story;

#[test]
fn who_suspends_the_worker_suspends_us_and_continues_both() {
    let mut story = Story::new(&[]);
    story.begin();
    story.chapter();
    story.is_suspended(2);
    story.signal("CONT");
    story.signal("CONT");
    story.went(
        "
             0 2 is suspended
               - suspend ourselves
             0 CONT
               - terminal to 2
               - CONT to group 2
             0 CONT
               - CONT to 2",
    );
}

#[test]
fn a_request_to_suspend_goes_to_the_worker_first() {
    let mut story = Story::new(&[]);
    story.begin();
    story.chapter();
    story.signal("TSTP");
    story.is_suspended(2);
    story.signal("CONT");
    story.exits(2, 0);
    story.went(
        "
             0 TSTP
               - TSTP to group 2
             0 2 is suspended
               - suspend ourselves
             0 CONT
               - terminal to 2
               - CONT to group 2
             0 2 ends: exit 0
               - worker 1 exited
               - reap
               - exit 0: all work finished",
    );
}

#[test]
fn a_pool_is_not_suspended() {
    let mut story = Story::pool(&[]);
    story.chapter();
    story.signal("TSTP");
    story.is_suspended(2);
    story.went(
        "
             0 TSTP
               - TSTP means nothing
             0 2 is suspended",
    );
}

#[test]
fn who_is_suspended_while_we_stop_is_continued() {
    let mut story = Story::new(&[]);
    story.begin();
    story.chapter();
    // Both signals come at once: the request is dealt with before the child's change of state is known.
    story.signal("TERM");
    story.is_suspended(2);
    story.is_killed(2, "TERM");
    story.went(
        "
             0 TERM
               - TERM to 2
             0 2 is suspended
               - CONT to group 2
             0 2 ends: killed by TERM
               - worker 1 stopped
               - exit 143: stopped as asked",
    );
}
