//! When workers have so much to take that nothing they say needs us.

use std::time::Duration;

use allcores::cluster::Sharing;
use allcores::cluster::balancer::Choice;

use crate::primary::{Primary, query};

const ROUND_ROBIN: Sharing = Sharing::HandOver(Choice::RoundRobin);
const LULL: Option<Duration> = Some(Duration::from_micros(300));

#[test]
fn workers_that_have_enough_are_left_alone_for_a_moment() {
    let mut primary = Primary::quick(ROUND_ROBIN, 2);
    assert_eq!(primary.lull(), None, "they have nothing");
    primary.clients(16);
    assert_eq!(primary.lull(), None, "the last that they took, they took at once");
    primary.pass(1);
    primary.answers(1, 2, true);
    assert_eq!(primary.lull(), None, "nobody knows of the second yet");
    primary.answers(2, 2, true);
    assert_eq!(primary.lull(), LULL);
    primary.answers(1, 3, true);
    assert_eq!(primary.lull(), LULL, "six each are enough");
    primary.answers(1, 4, true);
    assert_eq!(primary.lull(), None, "five are not");
    primary.clients(1);
    assert_eq!(primary.lull(), LULL);
    primary.answers(2, 3, false);
    primary.answers(2, 4, false);
    assert_eq!(primary.lull(), None, "what was declined is none of its own");
}

#[test]
fn only_workers_that_take_connections_are_asked_whether_they_have_enough() {
    let mut primary = Primary::quick(ROUND_ROBIN, 1);
    primary.clients(8);
    primary.pass(1);
    primary.answers(1, 2, true);
    assert_eq!(primary.lull(), LULL);
    primary.joins(2);
    assert_eq!(primary.lull(), LULL, "it does not listen");
    primary.says(2, &query(1, 8000));
    assert_eq!(primary.lull(), None);
    primary.is_retired(2);
    assert_eq!(primary.lull(), LULL, "it takes nothing any more");
    primary.is_retired(1);
    assert_eq!(primary.lull(), None, "there is nobody to leave alone");
}
