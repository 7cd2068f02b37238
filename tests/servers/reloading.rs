//! All workers are replaced, 25 times, under load.
//!
//! Who opens a connection for each request is answered, every time. Who keeps connections meets some that were closed while they
//! idled, and a few that are reset just when they are used again, the request unread, as with every server that leaves: nginx's
//! own reload is measured by the same clients. Every HTTP client asks again then, and so does ours; it counts.
//!
//! What a server does when it is told to leave is its own affair: they share one queue, which is ours, and none of it is lost.
//! Puma 5.6 goes on serving the connections that it has, for half a minute and more, and is killed with requests in its hands;
//! without us, on a socket that a script passes to it, it does the same. So it is not asked to keep connections here.

use crate::load::{CLIENTS, Load, Outcome, Protocol, Request, Tally};
use crate::nginx::Nginx;
use crate::pool::Pool;
use crate::programs::{Server, go, gunicorn, node, puma, uvicorn};

const TIMES: usize = 25;
/// So many answers come before the next reload.
const BETWEEN: usize = 20;

/// Reloads under load. The clients, still at work.
fn reload_under_load(pool: &mut Pool, server: &Server) -> Load {
    let load = Load::start(server.address, server.protocol);
    for _ in 0..TIMES {
        load.wait_for_more(BETWEEN);
        let line = pool.reload();
        assert!(line.contains("reload done"), "{line}");
    }
    load.wait_for_more(BETWEEN);
    load
}

fn reloads(name: &str, server: &Server) {
    let mut pool = Pool::start(server);
    reload_under_load(&mut pool, server).finish_unharmed(name);
    assert_eq!(pool.count("still there, killing it"), 0, "nobody had to be killed");
    assert_eq!(pool.stop().0, 0);
}

#[test]
fn node_is_reloaded_25_times() {
    let server = node().set("ready", "fd:4").env("READY_FD", "4");
    reloads("node", &server);
    reloads("node, keep-alive", &server.keep_alive());
}

#[test]
fn go_is_reloaded_25_times() {
    let server = go().set("ready", "notify");
    reloads("go", &server);
    reloads_what_takes_for_idle_what_has_begun("go, keep-alive", &server.keep_alive());
}

#[test]
fn go_is_reloaded_25_times_with_a_queue_for_each_slot() {
    let server = go().set("ready", "notify").set("mode", "reuseport");
    reloads("go, reuseport", &server);
    reloads_what_takes_for_idle_what_has_begun("go, reuseport, keep-alive", &server.keep_alive());
}

/// `net/http` takes a connection for idle until it has parsed a request's header, and may have read that when it closes the
/// connection in `Shutdown`: it ends, rather than being reset. No handler has seen the request, and clients ask again.
fn reloads_what_takes_for_idle_what_has_begun(name: &str, server: &Server) {
    let mut pool = Pool::start(server);
    let tally = Tally::of(&reload_under_load(&mut pool, server).finish());
    println!("{name}: {tally}");
    assert_eq!(tally.failed(), 0, "{tally}");
    assert!(tally.ended_early <= TIMES * usize::from(server.workers) / 5, "{tally}");
    assert_eq!(pool.stop().0, 0);
}

#[test]
fn gunicorn_is_reloaded_25_times() {
    reloads("gunicorn", &gunicorn(&[]).set("ready", "notify"));
    let server = gunicorn(&["--threads", "4", "--keep-alive", "10"]).set("ready", "notify");
    reloads("gunicorn, threads, keep-alive", &server.keep_alive());
}

/// What its reactor has just read when its threads are told to leave it answers with 500 (`ThreadPool#<<` raises "Unable to add
/// work while shutting down", and `reactor_wakeup` in `server.rb` makes that of it): once in some hundreds of retirements.
#[test]
fn puma_is_reloaded_25_times_and_answers_little_with_500() {
    let server = puma().set("ready", "alive:300ms");
    let mut pool = Pool::start(&server);
    let requests = reload_under_load(&mut pool, &server).finish();
    let tally = Tally::of(&requests);
    println!("puma: {tally}");
    let is_500 = |request: &&Request| matches!(&request.outcome, Outcome::Strange(text) if text.starts_with("HTTP/1.1 500 "));
    let refused_by_puma = requests.iter().filter(is_500).count();
    assert_eq!(tally.failed(), refused_by_puma, "{tally}");
    assert!(refused_by_puma <= TIMES * usize::from(server.workers) / 10, "{tally}");
    assert_eq!(pool.count("still there, killing it"), 0, "nobody had to be killed");
    assert_eq!(pool.stop().0, 0);
}

/// Now and then it closes what it has just taken and not read (`H11Protocol.shutdown` of what has no cycle yet); alone on a
/// passed socket as well, once in 40 times.
#[test]
fn uvicorn_is_reloaded_25_times_and_closes_little_of_what_it_has_just_taken() {
    let server = uvicorn().set("ready", "notify");
    let mut pool = Pool::start(&server);
    let tally = Tally::of(&reload_under_load(&mut pool, &server).finish());
    println!("uvicorn: {tally}");
    let retired = TIMES * usize::from(server.workers);
    assert!(tally.cut <= retired / 3, "{tally}");
    assert_eq!(tally.failed() - tally.cut, 0, "{tally}");
    assert_eq!(pool.stop().0, 0);
    reloads("uvicorn, keep-alive", &server.keep_alive());
}

/// What the clients meet elsewhere, and that they count what happens there.
#[test]
fn nginx_is_reloaded_25_times_without_us() {
    for protocol in [Protocol::Http, Protocol::KeepAlive] {
        let mut nginx = Nginx::start();
        let load = Load::start(nginx.address, protocol);
        for _ in 0..TIMES {
            load.wait_for_more(BETWEEN);
            nginx.reload();
        }
        load.wait_for_more(BETWEEN);
        let tally = load.finish_unharmed(&format!("nginx, {protocol:?}"));
        let kept = matches!(protocol, Protocol::KeepAlive);
        assert_eq!(tally.closed + tally.reset > CLIENTS, kept, "{tally}");
    }
}
