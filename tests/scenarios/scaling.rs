//! How many workers there are to be.

use allcores::supervisor::event::{Demand, Scale};

use crate::story::Story;

fn pool(flags: &[(&'static str, &str)]) -> Story {
    let all: Vec<_> = [("ready", "alive:0")].iter().chain(flags).copied().collect();
    let mut story = Story::pool(&all);
    story.pass(1000);
    story.chapter();
    story
}

#[test]
fn one_more_and_one_less() {
    let mut story = pool(&[]);
    story.signal("TTIN");
    story.pass(0);
    story.signal("TTOU");
    story.went(
        "
        1000 TTIN
            - scaled from 2 to 3 as asked
        1000 a worker is due
            - start worker 3 in slot 2
        1000 a worker becomes ready
            - worker 3 is ready
        1000 TTOU
            - scaled from 3 to 2 as asked
            - TERM to 4
        ",
    );
}

#[test]
fn there_is_always_one() {
    let mut story = pool(&[]);
    story.demands(1, Demand::Scale(Scale::To(0)));
    story.demands(2, Demand::Scale(Scale::Less(7)));
    story.demands(3, Demand::Scale(Scale::To(1025)));
    story.went(
        r#"
        1000 client 1 asks
            - to client 1: Failed("0 workers are not possible; a number from 1 to 1024 is")
        1000 client 2 asks
            - to client 2: Failed("0 workers are not possible; a number from 1 to 1024 is")
        1000 client 3 asks
            - to client 3: Failed("1025 workers are not possible; a number from 1 to 1024 is")
        "#,
    );
}

#[test]
fn the_pool_follows_the_cores_when_they_were_read_twice() {
    let mut story = pool(&[("workers", "auto")]);
    story.is_measured(3, &[]);
    story.is_measured(2, &[]);
    story.is_measured(3, &[]);
    story.is_measured(3, &[]);
    story.is_measured(1, &[]);
    story.is_measured(1, &[]);
    story.went(
        "
        1000 measured
        1000 measured
        1000 measured
        1000 measured
            - scaled from 2 to 3 the container's cores changed
        1000 a worker is due
            - start worker 3 in slot 2
        1000 a worker becomes ready
            - worker 3 is ready
        1000 measured
        1000 measured
            - scaled from 3 to 1 the container's cores changed
            - TERM to 4
            - TERM to 3
        ",
    );
}

#[test]
fn a_number_suspends_auto_until_auto_is_asked_for() {
    let mut story = pool(&[("workers", "auto")]);
    story.demands(1, Demand::Scale(Scale::To(1)));
    story.exits(3, 0);
    story.chapter();
    story.is_measured(3, &[]);
    story.is_measured(3, &[]);
    story.demands(1, Demand::Scale(Scale::Auto));
    story.went(
        r#"
        1000 measured
        1000 measured
        1000 client 1 asks
            - scaled from 1 to 2 as asked
            - to client 1: Done("1 workers before, 2 wanted now")
        1000 a worker is due
            - start worker 3 in slot 1
        1000 a worker becomes ready
            - worker 3 is ready
        "#,
    );
}

#[test]
fn who_still_leaves_is_followed_and_not_joined() {
    let mut story = pool(&[]);
    story.signal("TTOU");
    story.signal("TTIN");
    story.pass(0);
    story.exits(3, 0);
    story.went(
        "
        1000 TTOU
            - scaled from 2 to 1 as asked
            - TERM to 3
        1000 TTIN
            - scaled from 1 to 2 as asked
        1000 3 ends: exit 0
            - worker 2 stopped
        1000 a worker is due
            - start worker 3 in slot 1
        1000 a worker becomes ready
            - worker 3 is ready
        ",
    );
}

#[test]
fn one_program_is_no_pool() {
    let mut story = Story::new(&[]);
    story.begin();
    story.chapter();
    story.demands(1, Demand::Scale(Scale::More(1)));
    story.went(
        r#"
        0 client 1 asks
            - to client 1: Failed("this is one program and no pool; set WORKERS or RESTART=always")
        "#,
    );
}
