//! What a datagram on the notification socket says (`sd_notify(3)`).
//!
//! Decides which lines mean something to us. Refuses to know who sent it, and whether that counts.

use std::mem::discriminant;
use std::time::Duration;

use super::event::Notification;
use crate::ids::Pid;

/// Most bytes of a status that are kept.
const LONGEST_STATUS: usize = 256;

/// The words of a datagram, in order. Of several lines of a kind the first counts, so that there are never more words than
/// kinds. `lineage` finds a process and its ancestors; it is asked once at most.
pub fn words(datagram: &[u8], lineage: impl Fn(Pid) -> Vec<Pid>) -> Vec<Notification> {
    // Some senders count the NUL of a C string in.
    let text = String::from_utf8_lossy(datagram.strip_suffix(b"\0").unwrap_or(datagram));
    let mut words: Vec<Notification> = Vec::new();
    for (name, value) in text.split('\n').filter_map(|line| line.split_once('=')) {
        let is_new = |kind: &Notification| words.iter().all(|word| discriminant(word) != discriminant(kind));
        let word = match (name, value) {
            ("READY", "1") => Some(Notification::Ready),
            ("RELOADING", "1") => Some(Notification::Reloading),
            ("STOPPING", "1") => Some(Notification::Stopping),
            ("STATUS", status) => Some(Notification::Status(printable(status))),
            ("WATCHDOG", "1") => Some(Notification::Alive),
            ("WATCHDOG", "trigger") => Some(Notification::Hung),
            ("EXTEND_TIMEOUT_USEC", time) => {
                time.parse().ok().map(Duration::from_micros).map(Notification::Extend)
            }
            ("ERRNO", number) => number.parse().ok().map(Notification::Errno),
            ("MAINPID", pid) if is_new(&Notification::MainPid(Vec::new())) => {
                pid.parse().ok().and_then(Pid::new).map(|pid| Notification::MainPid(lineage(pid)))
            }
            _ => None,
        };
        words.extend(word.filter(is_new));
    }
    words
}

/// What can be shown to people on one line.
fn printable(status: &str) -> String {
    let mut kept = String::new();
    for character in status.chars().filter(|character| !character.is_control()) {
        if kept.len() + character.len_utf8() > LONGEST_STATUS {
            break;
        }
        kept.push(character);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(raw: i32) -> Pid {
        Pid::new(raw).unwrap()
    }

    fn read(datagram: impl AsRef<[u8]>) -> Vec<Notification> {
        words(datagram.as_ref(), |own| vec![own, pid(7)])
    }

    #[test]
    fn every_word_that_is_known_is_read_in_order() {
        let datagram = "RELOADING=1\nREADY=1\nSTOPPING=1\nSTATUS=serving 3 = three\nWATCHDOG=1\nWATCHDOG=trigger\n\
            EXTEND_TIMEOUT_USEC=1500000\nERRNO=-2\nMAINPID=42\n";
        assert_eq!(
            read(datagram),
            [
                Notification::Reloading,
                Notification::Ready,
                Notification::Stopping,
                Notification::Status("serving 3 = three".to_owned()),
                Notification::Alive,
                Notification::Hung,
                Notification::Extend(Duration::from_millis(1500)),
                Notification::Errno(-2),
                Notification::MainPid(vec![pid(42), pid(7)]),
            ]
        );
    }

    #[test]
    fn what_means_nothing_is_passed_over() {
        for odd in [
            "",
            "\n\n",
            "READY",
            "READY=",
            "READY=0",
            "READY=10",
            "READY=1 ",
            " READY=1",
            "ready=1",
            "=1",
            "\0READY=1",
            "READY=1\0\0",
            "WATCHDOG=0",
            "WATCHDOG_USEC=5",
            "EXTEND_TIMEOUT_USEC=-1",
            "EXTEND_TIMEOUT_USEC=99999999999999999999",
            "ERRNO=many",
            "MAINPID=0",
            "MAINPID=-1",
            "MAINPID=1x",
            "MAINPID=4294967297",
            "BARRIER=1",
            "FDSTORE=1",
            "MONOTONIC_USEC=5",
        ] {
            assert_eq!(read(odd), [], "{odd:?}");
        }
        assert_eq!(read([0xff, 0xfe, b'=', b'1']), []);
    }

    #[test]
    fn a_word_among_odd_lines_is_heard() {
        for datagram in ["READY=1", "READY=1\n", "READY=1\0", "X=\nREADY=1\nFDNAME=a", "\n=\nREADY=1\nREADY"]
        {
            assert_eq!(read(datagram), [Notification::Ready], "{datagram:?}");
        }
        let with_rubbish = [&b"\xff\xfe\n"[..], b"READY=1"].concat();
        assert_eq!(read(with_rubbish), [Notification::Ready]);
    }

    #[test]
    fn a_flood_of_lines_is_one_word_and_one_look_at_the_processes() {
        let asked = std::cell::Cell::new(0);
        let flood = "READY=1\nMAINPID=3\nSTATUS=a\n".repeat(200);
        let found = words(flood.as_bytes(), |own| {
            asked.set(asked.get() + 1);
            vec![own]
        });
        let expected =
            [Notification::Ready, Notification::MainPid(vec![pid(3)]), Notification::Status("a".to_owned())];
        assert_eq!((found.as_slice(), asked.get()), (&expected[..], 1));
    }

    #[test]
    fn a_status_is_one_short_line_of_text() {
        let status = |text: &str| match read(format!("STATUS={text}")).as_slice() {
            [Notification::Status(status)] => status.clone(),
            other => panic!("{text:?}: {other:?}"),
        };
        assert_eq!(status(""), "");
        assert_eq!(status("a\x1b[31m\tb\r\u{85}"), "a[31mb");
        assert_eq!(status(&"x".repeat(300)), "x".repeat(256));
        // 256 is no multiple of 3: no character is cut in two.
        assert_eq!(status(&"€".repeat(300)), "€".repeat(85));
        assert_eq!(read(b"STATUS=\xffok"), [Notification::Status("\u{fffd}ok".to_owned())]);
    }
}
