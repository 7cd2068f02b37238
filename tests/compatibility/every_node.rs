//! What matters most, with each Node.

use crate::pool::{BOTH, Primary};
use crate::{deaths, listening, messages, packages, replacing, sharing, stopping};

macro_rules! with_each {
    ($($module:ident = $version:literal),*) => {$(
        mod $module {
            use super::*;

            #[test]
            fn a_worker_sees_what_a_worker_sees() {
                BOTH.into_iter().for_each(|primary| messages::sees_what_a_worker_sees($version, primary));
            }

            #[test]
            fn sequential_connections_are_spread_evenly() {
                BOTH.into_iter().for_each(|primary| sharing::spreads_evenly($version, primary));
            }

            #[test]
            fn places_of_every_kind_are_listened_at() {
                BOTH.into_iter().for_each(|primary| listening::listens_everywhere($version, primary));
            }

            #[test]
            fn another_worker_answers_what_a_dead_one_did_not_take() {
                deaths::what_was_not_taken_is_answered($version, Primary::Ours);
            }

            #[test]
            fn an_event_loop_that_stands_still_is_found_out() {
                deaths::finds_out_who_hangs($version);
            }

            #[test]
            fn requests_in_hand_are_finished() {
                stopping::finishes_what_it_has($version);
            }

            #[test]
            fn connections_just_taken_are_answered() {
                stopping::answers_what_it_has_just_taken($version);
            }

            #[test]
            fn whoever_has_connected_is_answered() {
                for balance in ["round-robin", "source-ip", "kernel", "shared"] {
                    stopping::answers_all_who_have_connected($version, balance);
                }
            }

            #[test]
            fn workers_are_replaced_under_load() {
                for balance in ["round-robin", "source-ip", "kernel", "shared"] {
                    replacing::reloads($version, balance);
                }
            }

            #[test]
            fn tls_sessions_resume_across_workers() {
                BOTH.into_iter().for_each(|primary| packages::tls_resumes($version, primary));
            }
        }
    )*};
}

with_each!(node_18 = 18, node_20 = 20, node_22 = 22, node_24 = 24, node_26 = 26);
