//! Where programs listen, and what they hear when they cannot.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::pool::{BOTH, Launch, Pool, Primary, host, own_address, own_port};

/// What each of the workers says of the place with this number, ordered by worker.
fn outcomes(pool: &Pool, index: usize) -> Vec<Value> {
    let mut seen = pool.seen("index");
    seen.retain(|value| value["index"] == index);
    seen.sort_by_key(|value| value["worker"].as_u64());
    seen
}

fn start(node: u8, primary: Primary, specs: &Value) -> Pool {
    let pool = Launch::new("listen.js", 2).node(node).env("TEST_LISTEN", &specs.to_string()).start(primary);
    pool.seen_all("done", 2);
    pool
}

/// Who answers, of four that come one after the other.
fn answers<S: Read>(connect: impl Fn() -> std::io::Result<S>) -> Vec<String> {
    let mut answers: Vec<_> = (0..4)
        .map(|_| {
            let mut text = String::new();
            connect().unwrap().read_to_string(&mut text).unwrap();
            text
        })
        .collect();
    answers.sort();
    answers
}

/// Each kind of place, on two workers; both serve there.
pub fn listens_everywhere(node: u8, primary: Primary) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (plain, open) = (path("plain.sock"), path("open.sock"));
    let name = format!("compatibility-{}", own_port());
    let [all, six, only_six] = [own_port(), own_port(), own_port()];
    let four = own_address();
    let specs = json!([
        { "port": all },
        { "port": four.port(), "host": host(four) },
        { "port": six, "host": "::1" },
        { "port": only_six, "host": "::", "ipv6Only": true },
        { "path": plain },
        { "path": open, "readableAll": true, "writableAll": true },
        { "path": format!("@{name}") },
    ]);
    let mut pool = start(node, primary, &specs);

    let address = |address: &str, family: &str, port: u16| json!({ "address": address, "family": family, "port": port });
    let expected = [
        address("::", "IPv6", all),
        address(&host(four), "IPv4", four.port()),
        address("::1", "IPv6", six),
        address("::", "IPv6", only_six),
        json!(plain),
        json!(open),
        json!(format!("\0{name}")),
    ];
    for (index, expected) in expected.iter().enumerate() {
        for outcome in outcomes(&pool, index) {
            assert_eq!(outcome["address"], *expected, "{primary:?}: {outcome}");
        }
    }

    let even = ["1", "1", "2", "2"];
    for place in
        [format!("127.0.0.1:{all}"), format!("[::1]:{all}"), four.to_string(), format!("[::1]:{six}")]
    {
        assert_eq!(answers(|| TcpStream::connect(&place)), even, "{primary:?} at {place}");
    }
    assert_eq!(answers(|| TcpStream::connect(("::1", only_six))), even, "{primary:?}");
    let refused = TcpStream::connect(("127.0.0.1", only_six)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{primary:?}: only IPv6");
    for place in [&plain, &open] {
        assert_eq!(answers(|| UnixStream::connect(place)), even, "{primary:?} at {place}");
    }
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
    if primary == Primary::Nodes && node < 22 {
        // It ends the name at its NUL, and so listens at the working directory that the worker puts in front.
        assert!(UnixStream::connect_addr(&address).is_err());
    } else {
        assert_eq!(answers(|| UnixStream::connect_addr(&address)), even, "{primary:?} at an abstract name");
    }

    let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode();
    // Whether it may be executed differs between Nodes, and means nothing.
    assert_eq!(mode(&plain) & 0o022, 0, "{primary:?}: as the umask has it");
    assert_eq!(mode(&open) & 0o666, 0o666, "{primary:?}: readableAll, writableAll");

    assert_eq!(pool.stop().0, 0);
    for path in [plain, open] {
        assert!(!fs::exists(&path).unwrap(), "{primary:?}: {path} is still there");
    }
}

#[test]
fn the_first_listen_at_port_0_is_shared_and_so_is_the_second() {
    let host = host(own_address());
    let any = json!({ "port": 0, "host": host });
    let specs = json!([any, any, { "port": 0, "host": host, "exclusive": true }]);
    for primary in BOTH {
        let pool = start(crate::NODE, primary, &specs);
        let port = |outcome: &Value| outcome["address"]["port"].as_u64().unwrap() as u16;
        let ports = |index| outcomes(&pool, index).iter().map(port).collect::<Vec<_>>();
        let [first, second, alone] = [ports(0), ports(1), ports(2)];
        assert_eq!(first[0], first[1], "{primary:?}");
        assert_eq!(second[0], second[1], "{primary:?}");
        assert_ne!(first[0], second[0], "{primary:?}");
        assert_ne!(alone[0], alone[1], "{primary:?}: exclusive means alone");
        let at = |port: u16| answers(|| TcpStream::connect((host.as_str(), port)));
        assert_eq!(at(first[0]), ["1", "1", "2", "2"], "{primary:?}");
        assert_eq!(at(second[0]), ["1", "1", "2", "2"], "{primary:?}");
        assert_eq!(at(alone[0]), ["1"; 4], "{primary:?}");
        assert_eq!(at(alone[1]), ["2"; 4], "{primary:?}");
    }
}

#[test]
fn what_cannot_be_bound_is_an_error_in_the_worker() {
    let taken = TcpListener::bind(own_address()).unwrap();
    let taken = taken.local_addr().unwrap();
    let _held = TcpListener::bind(SocketAddr::new(taken.ip(), 8001)).unwrap();
    let specs = json!([
        { "port": 8001, "host": host(taken) },
        // Nobody has this one: it is for documents.
        { "port": 8000, "host": "192.0.2.1" },
        { "path": "/proc/no/such/place" },
        { "port": 0, "host": host(taken) },
    ]);
    for primary in BOTH {
        let pool = start(crate::NODE, primary, &specs);
        for (index, code, errno) in [(0, "EADDRINUSE", -98), (1, "EADDRNOTAVAIL", -99), (2, "EACCES", -13)] {
            for outcome in outcomes(&pool, index) {
                assert_eq!(outcome["error"], code, "{primary:?}: {outcome}");
                assert_eq!(outcome["errno"], errno, "{primary:?}: {outcome}");
                assert_eq!(outcome["syscall"], "bind", "{primary:?}: {outcome}");
            }
        }
        // And the program goes on.
        assert!(outcomes(&pool, 3)[0]["address"].is_object(), "{primary:?}");
    }
}

/// With Node's own primary, a worker may name any descriptor of the primary.
#[test]
fn a_descriptor_is_one_of_listens_sockets_or_none() {
    let address = own_address();
    let specs = json!([{ "fd": 3 }, { "fd": 4 }, { "fd": 0 }, { "fd": 1000 }]);
    let launch = Launch::new("listen.js", 2).env("TEST_LISTEN", &specs.to_string());
    let pool = launch.set("listen", &address.to_string()).start(Primary::Ours);
    pool.seen_all("done", 2);
    for outcome in outcomes(&pool, 0) {
        let expected = json!({ "address": host(address), "family": "IPv4", "port": address.port() });
        assert_eq!(outcome["address"], expected, "{outcome}");
    }
    for index in 1..4 {
        for outcome in outcomes(&pool, index) {
            assert_eq!((&outcome["error"], &outcome["errno"]), (&json!("EBADF"), &json!(-9)), "{outcome}");
        }
    }
    assert_eq!(answers(|| TcpStream::connect(address)), ["1", "1", "2", "2"]);
}

#[test]
fn an_address_that_listen_names_is_the_one_that_programs_ask_for() {
    let (address, port) = (own_address(), own_port());
    let specs = json!([{ "port": address.port(), "host": host(address) }, { "port": port }, { "port": port, "host": "::" }]);
    let launch = Launch::new("listen.js", 2).env("TEST_LISTEN", &specs.to_string());
    let pool = launch.set("listen", &format!("{address},{port}")).start(Primary::Ours);
    pool.seen_all("done", 2);
    assert_eq!(answers(|| TcpStream::connect(address)), ["1", "1", "2", "2"]);
    assert_eq!(answers(|| TcpStream::connect(("127.0.0.1", port))), ["1", "1", "2", "2"]);
    // A program on a plain host would have it twice as well.
    for outcome in outcomes(&pool, 2) {
        assert_eq!(outcome["error"], "EADDRINUSE", "{outcome}");
    }
}

#[test]
fn udp_of_either_family_is_answered() {
    let six = SocketAddr::new("::1".parse().unwrap(), own_port());
    for (kind, address) in [("udp4", own_address()), ("udp6", six)] {
        for primary in BOTH {
            let pool = Launch::new("udp.js", 2).at(address).env("TEST_TYPE", kind).start(primary);
            for value in pool.seen_all("listening", 2) {
                assert_eq!(value["address"]["port"], address.port(), "{primary:?}: {value}");
            }
            let client = UdpSocket::bind((address.ip(), 0)).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            for _ in 0..10 {
                client.send_to(b"?", address).unwrap();
                let mut answer = [0; 8];
                let (length, from) = client.recv_from(&mut answer).unwrap();
                assert_eq!(from, address, "{primary:?}");
                assert!([b"1", b"2"].contains(&answer[..length].try_into().unwrap()), "{primary:?}");
            }
            drop(pool);
            let _held = held_udp(address);
            let pool = Launch::new("udp.js", 1).at(address).env("TEST_TYPE", kind).start(primary);
            assert_eq!(pool.seen_all("error", 1)[0]["error"], "EADDRINUSE", "{primary:?}");
        }
    }
}

/// The address, as soon as the last worker has left it.
fn held_udp(address: SocketAddr) -> UdpSocket {
    crate::common::wait_until("the address is free", || UdpSocket::bind(address).ok())
}
