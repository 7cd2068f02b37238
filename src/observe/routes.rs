//! What can be asked for by HTTP: one table of what is shown, one of what is changed.
//!
//! Decides which request gets what. What changes something is not done here: it is handed on, and only from the control
//! socket. Refuses to know sockets, and who is at the other end.

use super::figures::{Figures, View};
use super::http::{Code, Form, Method, Request, Response, TEXT};
use super::probes::Probe;
use super::shown::Shown;
use super::{metrics, page, table};
use crate::ids::Slot;
use crate::supervisor::event::{Demand, Scale};
use crate::supervisor::status::Status;

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The address of `HTTP`, for everybody.
    Public,
    /// The control socket, for those who may do what we do.
    Control,
}

/// What follows from a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// This is the answer.
    Response(Response),
    /// The supervisor answers.
    Demand(Demand),
}

/// Where what is shown comes from. Each is looked at only when it is asked for.
pub trait Sight {
    /// What the supervisor knows.
    fn status(&self) -> Status;
    /// What the system reads.
    fn figures(&mut self, status: &Status) -> Figures;
    /// All of it.
    fn view<'a>(&self, status: &'a Status, figures: &'a Figures) -> View<'a>;
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Probe(Probe),
    Metrics,
    Status,
    Page,
}

/// Something that is shown.
#[derive(Debug)]
pub struct Route {
    /// Where.
    pub path: &'static str,
    content: Content,
    /// One sentence.
    pub meaning: &'static str,
}

/// What is shown, through every door, to GET and HEAD.
pub const SHOWN: &[Route] = &[
    Route {
        path: "/livez",
        content: Content::Probe(Probe::Live),
        meaning: "200 while the supervisor works; 503 once it gave up",
    },
    Route {
        path: "/readyz",
        content: Content::Probe(Probe::Ready),
        meaning: "200 when at least `MIN_READY` workers are ready and no stop was asked for; else 503, and why",
    },
    Route {
        path: "/startupz",
        content: Content::Probe(Probe::Startup),
        meaning: "200 once `/readyz` has been 200",
    },
    Route {
        path: "/metrics",
        content: Content::Metrics,
        meaning: "Prometheus text, or OpenMetrics for who asks for it",
    },
    Route {
        path: "/status",
        content: Content::Status,
        meaning: "JSON: everything that `ctl status` shows; to `Accept: text/plain`, its table",
    },
    Route { path: "/", content: Content::Page, meaning: "a page for people, refreshed live" },
];

/// Something that can be demanded.
pub struct Change {
    /// The first word of its path, and of `ctl`.
    pub word: &'static str,
    /// What follows it, or nothing.
    pub argument: &'static str,
    /// One sentence.
    pub meaning: &'static str,
    read: fn(&str) -> Option<Demand>,
}

/// What can be changed, by POST through the control socket.
pub const CHANGES: &[Change] = &[
    Change {
        word: "reload",
        argument: "",
        meaning: "replace every worker, and say how it went",
        read: |argument| argument.is_empty().then_some(Demand::Reload),
    },
    Change {
        word: "restart",
        argument: "SLOT",
        meaning: "replace the worker in one slot",
        read: |argument| number(argument).map(|slot| Demand::Restart(Slot(slot))),
    },
    Change {
        word: "scale",
        argument: "N|+N|-N|auto",
        meaning: "another number of workers; a number suspends `auto` until `scale auto`",
        read: |argument| scale(argument).map(Demand::Scale),
    },
    Change {
        word: "stop",
        argument: "",
        meaning: "stop, as TERM does",
        read: |argument| argument.is_empty().then_some(Demand::Stop),
    },
];

impl Change {
    /// What is demanded with this behind the word; `None` when it makes no sense.
    pub fn demand(&self, argument: &str) -> Option<Demand> {
        (self.read)(argument)
    }
}

/// Digits alone: `parse` would take a sign.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn scale(text: &str) -> Option<Scale> {
    match (text, text.strip_prefix('+'), text.strip_prefix('-')) {
        ("auto", ..) => Some(Scale::Auto),
        (_, Some(more), _) => number(more).map(Scale::More),
        (_, _, Some(less)) => number(less).map(Scale::Less),
        (exactly, None, None) => number(exactly).map(Scale::To),
    }
}

/// What the request gets.
pub fn reply(request: &Request, door: Door, sight: &mut dyn Sight) -> Reply {
    let only = |methods: &'static str| {
        let mut response = Response::text(Code::MethodNotAllowed, format!("only {methods} here"));
        response.extra = Some(("Allow", methods));
        Reply::Response(response)
    };
    let is_reading = match request.method {
        Method::Get | Method::Head => true,
        Method::Post => false,
        Method::Other => return only("GET, HEAD"),
    };
    let shown = SHOWN.iter().find(|route| route.path == request.path);
    match (shown, change(&request.path), door, is_reading) {
        (Some(route), _, _, true) => Reply::Response(show(route.content, request, sight)),
        (Some(_), _, _, false) | (None, _, Door::Public, false) => only("GET, HEAD"),
        (None, Some(_), Door::Control, true) => only("POST"),
        (None, Some((change, argument)), Door::Control, false) => match change.demand(argument) {
            Some(demand) => Reply::Demand(demand),
            None => {
                let line = format!("{}: expected /{0}/{}", change.word, change.argument);
                Reply::Response(Response::text(Code::BadRequest, line))
            }
        },
        (None, _, Door::Public, true) | (None, None, Door::Control, _) => {
            Reply::Response(Response::text(Code::NotFound, "not found"))
        }
    }
}

/// The change that a path names, and what is behind its word.
fn change(path: &str) -> Option<(&'static Change, &str)> {
    let path = path.strip_prefix('/')?;
    let (word, argument) = path.split_once('/').unwrap_or((path, ""));
    CHANGES.iter().find(|change| change.word == word).map(|change| (change, argument))
}

fn show(content: Content, request: &Request, sight: &mut dyn Sight) -> Response {
    let look = |sight: &mut dyn Sight, show: fn(&View, Form) -> Response| {
        let status = sight.status();
        let figures = sight.figures(&status);
        show(&sight.view(&status, &figures), request.form)
    };
    match content {
        Content::Probe(probe) => probe.answer(&sight.status()),
        Content::Page => page::response(),
        Content::Metrics => look(sight, metrics::response),
        Content::Status => look(sight, show_status),
    }
}

/// The object of `/status`, for whoever does not ask by HTTP.
pub fn status(sight: &mut dyn Sight) -> String {
    let status = sight.status();
    let figures = sight.figures(&status);
    Shown::of(&sight.view(&status, &figures)).json()
}

fn show_status(view: &View, form: Form) -> Response {
    let shown = Shown::of(view);
    let (content_type, body) = match form {
        Form::Text => (TEXT, table::render(&shown)),
        Form::Usual | Form::OpenMetrics => ("application/json", shown.json() + "\n"),
    };
    Response { code: Code::Ok, content_type, extra: None, body }
}

/// The README's table of what is shown, as Markdown.
pub fn markdown() -> String {
    let rows = SHOWN.iter().map(|Route { path, meaning, .. }| format!("| `{path}` | {meaning} |\n"));
    std::iter::once("| path | answer |\n|---|---|\n".to_owned()).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::http::{Beginning, parse};
    use crate::observe::sample::Sample;

    fn ask(method: &str, path: &str, door: Door) -> Reply {
        let beginning = parse(format!("{method} {path} HTTP/1.1\r\n\r\n").as_bytes());
        let Beginning::Request(request, _) = beginning else { panic!("{beginning:?}") };
        reply(&request, door, &mut Sample::default())
    }

    fn code(method: &str, path: &str, door: Door) -> Code {
        match ask(method, path, door) {
            Reply::Response(response) => response.code,
            Reply::Demand(demand) => panic!("{method} {path} is {demand:?}"),
        }
    }

    #[test]
    fn everybody_may_look_and_nobody_may_touch() {
        for route in SHOWN {
            for door in [Door::Public, Door::Control] {
                assert_ne!(code("GET", route.path, door), Code::NotFound, "{}", route.path);
                assert_eq!(code("POST", route.path, door), Code::MethodNotAllowed);
                assert_eq!(code("DELETE", route.path, door), Code::MethodNotAllowed);
            }
        }
        for path in ["/reload", "/restart/1", "/scale/+1", "/stop", "/nothing"] {
            assert_eq!(code("GET", path, Door::Public), Code::NotFound, "{path}");
            assert_eq!(code("POST", path, Door::Public), Code::MethodNotAllowed, "{path}");
        }
    }

    #[test]
    fn the_control_socket_takes_demands() {
        for (path, demand) in [
            ("/reload", Demand::Reload),
            ("/restart/3", Demand::Restart(Slot(3))),
            ("/scale/4", Demand::Scale(Scale::To(4))),
            ("/scale/+2", Demand::Scale(Scale::More(2))),
            ("/scale/-1", Demand::Scale(Scale::Less(1))),
            ("/scale/auto", Demand::Scale(Scale::Auto)),
            ("/stop", Demand::Stop),
        ] {
            assert_eq!(ask("POST", path, Door::Control), Reply::Demand(demand), "{path}");
            assert_eq!(code("GET", path, Door::Control), Code::MethodNotAllowed, "{path}");
        }
        for path in
            ["/reload/1", "/restart", "/restart/", "/restart/x", "/restart/+1", "/scale/++1", "/scale/70000"]
        {
            assert_eq!(code("POST", path, Door::Control), Code::BadRequest, "{path}");
        }
        assert_eq!(code("POST", "/nothing", Door::Control), Code::NotFound);
    }
}
