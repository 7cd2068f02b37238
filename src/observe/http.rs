//! HTTP/1.1, as far as probes, metrics and the control socket need it: bytes to a request, a response to bytes.
//!
//! Decides what is a request and what a connection may do after it. Refuses to know paths, sockets and time.

use std::fmt::Write;

/// Longest request line and headers together.
pub const MOST_HEADER: usize = 8 * 1024;
/// Most headers of a request.
const MOST_HEADERS: usize = 64;

/// What a request wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The answer.
    Get,
    /// The answer without its body.
    Head,
    /// Something that changes something.
    Post,
    /// Anything else.
    Other,
}

/// What the connection does once the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// Waits for the next request.
    Keep,
    /// Ends.
    Close,
}

/// The form that somebody prefers, where there is more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Whichever is usual.
    Usual,
    /// Plain text.
    Text,
    /// OpenMetrics text.
    OpenMetrics,
}

/// A request, as far as anybody here cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it wants done.
    pub method: Method,
    /// To what: the query is cut off.
    pub path: String,
    /// The form that it prefers.
    pub form: Form,
    /// What follows.
    pub afterwards: Afterwards,
}

/// What the bytes of a connection begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// A request, and how many bytes it has.
    Request(Request, usize),
    /// The beginning of one.
    Incomplete,
    /// Nothing that will become one.
    Bad(Code),
}

/// Reads the request that the bytes begin with. A body is not looked at, and the connection ends after it.
pub fn parse(bytes: &[u8]) -> Beginning {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= MOST_HEADER => length,
        Ok(httparse::Status::Partial) if bytes.len() < MOST_HEADER => return Beginning::Incomplete,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Beginning::Bad(Code::HeaderTooLarge),
        Err(_) => return Beginning::Bad(Code::BadRequest),
    };
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Beginning::Bad(Code::BadRequest);
    };
    let values = |name: &'static str| {
        let named = parsed.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.filter_map(|header| std::str::from_utf8(header.value).ok())
    };
    let has_body = values("transfer-encoding").next().is_some()
        || values("content-length").any(|length| length.trim() != "0");
    let wants_end = values("connection")
        .any(|words| words.split(',').any(|word| word.trim().eq_ignore_ascii_case("close")));
    let request = Request {
        method: match method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            _ => Method::Other,
        },
        path: target.split(['?', '#']).next().unwrap_or_default().to_owned(),
        form: values("accept").map(form).next().unwrap_or(Form::Usual),
        afterwards: if version == 0 || has_body || wants_end { Afterwards::Close } else { Afterwards::Keep },
    };
    Beginning::Request(request, length)
}

/// OpenMetrics is for whoever names it, wherever in the list; plain text for who wants that first of all.
fn form(accepted: &str) -> Form {
    let kind = |entry: &str| entry.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_refused =
        |entry: &str| entry.split(';').skip(1).any(|word| ["q=0", "q=0.0"].contains(&word.trim()));
    let mut entries = accepted.split(',');
    if entries.clone().any(|entry| kind(entry) == "application/openmetrics-text" && !is_refused(entry)) {
        return Form::OpenMetrics;
    }
    if entries.next().is_some_and(|first| kind(first) == "text/plain") { Form::Text } else { Form::Usual }
}

macro_rules! codes {
    ($($name:ident = $number:literal $phrase:literal,)+) => {
        /// How a request went.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $(#[doc = $phrase] $name,)+ }

        impl Code {
            /// Number and phrase.
            pub fn line(self) -> &'static str {
                match self { $(Self::$name => concat!($number, " ", $phrase),)+ }
            }
        }
    };
}

codes! {
    Ok = 200 "OK",
    BadRequest = 400 "Bad Request",
    Forbidden = 403 "Forbidden",
    NotFound = 404 "Not Found",
    MethodNotAllowed = 405 "Method Not Allowed",
    Conflict = 409 "Conflict",
    HeaderTooLarge = 431 "Request Header Fields Too Large",
    Unavailable = 503 "Service Unavailable",
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// How it went.
    pub code: Code,
    /// What the body is.
    pub content_type: &'static str,
    /// A header of this answer's own, name and value.
    pub extra: Option<(&'static str, &'static str)>,
    /// The body.
    pub body: String,
}

/// Text for people.
pub const TEXT: &str = "text/plain; charset=utf-8";

impl Response {
    /// One line for people.
    pub fn text(code: Code, line: impl Into<String>) -> Self {
        let mut body = line.into();
        body.push('\n');
        Self { code, content_type: TEXT, extra: None, body }
    }

    /// The bytes of the answer; to HEAD, without those of the body.
    pub fn bytes(&self, method: Method, afterwards: Afterwards) -> Vec<u8> {
        let mut head = head(self.code, self.content_type);
        if let Some((name, value)) = self.extra {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        head.push_str(match afterwards {
            Afterwards::Keep => "\r\n",
            Afterwards::Close => "Connection: close\r\n\r\n",
        });
        match method {
            Method::Head => {}
            Method::Get | Method::Post | Method::Other => head.push_str(&self.body),
        }
        head.into_bytes()
    }
}

/// What comes before lines of which nobody knows how many they will be: the end of the connection is their end.
pub fn open_head(code: Code) -> String {
    head(code, TEXT) + "Connection: close\r\n\r\n"
}

/// Nothing of ours is to be kept, or taken for what it is not.
fn head(code: Code, content_type: &str) -> String {
    format!(
        "HTTP/1.1 {}\r\nContent-Type: {content_type}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
        code.line()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request {
        let beginning = parse(text.as_bytes());
        let Beginning::Request(request, length) = beginning else { panic!("{text:?} is {beginning:?}") };
        assert_eq!(length, text.len());
        request
    }

    #[test]
    fn a_request_is_its_method_its_path_and_what_follows() {
        let plain = request("GET /readyz?verbose HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(
            (plain.method, plain.path.as_str(), plain.afterwards),
            (Method::Get, "/readyz", Afterwards::Keep)
        );
        for (text, method) in [("HEAD", Method::Head), ("POST", Method::Post), ("BREW", Method::Other)] {
            assert_eq!(request(&format!("{text} / HTTP/1.1\r\n\r\n")).method, method);
        }
        for text in [
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nConnection: foo, Close\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert_eq!(request(text).afterwards, Afterwards::Close, "{text}");
        }
        assert_eq!(request("POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n").afterwards, Afterwards::Keep);
    }

    #[test]
    fn what_is_not_all_there_may_become_a_request_until_it_is_too_long() {
        for text in ["", "G", "GET / HTTP/1.1", "GET / HTTP/1.1\r\nHost: x\r\n", "\r\n\r\n"] {
            assert_eq!(parse(text.as_bytes()), Beginning::Incomplete, "{text:?}");
        }
        let long = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(MOST_HEADER));
        assert_eq!(parse(long.as_bytes()), Beginning::Bad(Code::HeaderTooLarge));
        assert_eq!(parse(format!("{long}\r\n\r\n").as_bytes()), Beginning::Bad(Code::HeaderTooLarge));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MOST_HEADERS + 1));
        assert_eq!(parse(many.as_bytes()), Beginning::Bad(Code::HeaderTooLarge));
        for text in ["\0", "GET\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            assert_eq!(parse(text.as_bytes()), Beginning::Bad(Code::BadRequest), "{text:?}");
        }
    }

    #[test]
    fn a_form_is_for_who_asks_for_it() {
        let asks = |accept: &str| request(&format!("GET / HTTP/1.1\r\nAccept: {accept}\r\n\r\n")).form;
        for (accept, form) in [
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1",
                Form::OpenMetrics,
            ),
            ("text/plain, application/openmetrics-text; q=0", Form::Text),
            ("text/plain;version=0.0.4", Form::Text),
            ("text/html, text/plain", Form::Usual),
            ("*/*", Form::Usual),
        ] {
            assert_eq!(asks(accept), form, "{accept}");
        }
        assert_eq!(request("GET / HTTP/1.1\r\n\r\n").form, Form::Usual);
    }

    #[test]
    fn an_answer_says_how_long_it_is_and_head_does_not_get_it() {
        let response = Response::text(Code::Ok, "ok");
        let bytes = |method| String::from_utf8(response.bytes(method, Afterwards::Keep)).unwrap();
        assert!(bytes(Method::Get).ends_with("\r\nContent-Length: 3\r\n\r\nok\n"));
        assert!(bytes(Method::Head).ends_with("\r\nContent-Length: 3\r\n\r\n"));
        assert!(bytes(Method::Get).starts_with("HTTP/1.1 200 OK\r\n"));
    }
}
