//! Programs made of packages, and clients that are packages.

use std::process::Command;

use serde_json::{Value, json};

use crate::common::{Ended, run};
use crate::pool::{BOTH, Launch, Primary, own_address};

/// Runs a client of `apps/client.js` to its end.
fn client(kind: &str, address: std::net::SocketAddr) -> Ended {
    let modules = crate::installed().join("packages/node_modules");
    let mut command = Command::new(crate::node(crate::NODE));
    run(command.args([&crate::app("client.js"), kind, &address.to_string()]).env("NODE_PATH", modules))
}

fn result(kind: &str, address: std::net::SocketAddr) -> Value {
    let ended = client(kind, address);
    assert_eq!(ended.code, 0, "{}", ended.text);
    serde_json::from_str(ended.output.trim()).unwrap()
}

fn answers_100_of_100(app: &'static str) {
    let address = own_address();
    for primary in BOTH {
        let mut pool = Launch::new(app, 2).at(address).serve(primary);
        assert_eq!(result("undici", address), json!({ "answered": 100 }), "{primary:?}");
        assert_eq!(pool.lines_with("worker died"), 0, "{primary:?}");
        assert_eq!(pool.stop().0, 0, "{primary:?}");
    }
}

#[test]
fn express_answers_100_of_100() {
    answers_100_of_100("express.js");
}

#[test]
fn fastify_answers_100_of_100() {
    answers_100_of_100("fastify.js");
}

#[test]
fn koa_answers_100_of_100() {
    answers_100_of_100("koa.js");
}

#[test]
fn ws_echoes_100_of_100() {
    let address = own_address();
    for primary in BOTH {
        let _pool = Launch::new("ws.js", 2).at(address).serve(primary);
        assert_eq!(result("ws", address), json!({ "answered": 100, "workers": 2 }), "{primary:?}");
    }
}

/// Long polling needs all connections of a client at one worker.
#[test]
fn socket_io_answers_100_of_100_with_source_ip() {
    let address = own_address();
    let launch = Launch::new("socketio.js", 3).at(address).set("balance", "source-ip");
    let pool = launch.serve(Primary::Ours);
    assert_eq!(result("socketio", address), json!({ "answered": 100, "workers": 1 }));
    drop(pool);

    // With Node's own primary, the second request finds a worker that knows nothing of the first.
    let address = own_address();
    let _pool = launch.at(address).serve(Primary::Nodes);
    assert_ne!(client("socketio", address).code, 0);
}

/// Nine connections with one session, over three workers: all but the first resume it.
pub fn tls_resumes(node: u8, primary: Primary) {
    let address = own_address();
    let certificate = crate::installed().to_str().unwrap();
    let launch = Launch::new("http.js", 3).node(node).at(address).env("TEST_TLS", certificate);
    let _pool = launch.serve(primary);
    let expected = json!({ "answered": 9, "resumed": 8, "workers": 3 });
    assert_eq!(result("tls", address), expected, "{primary:?}");
}
