//! The page for people: one file, nothing from outside, and nothing in it that could be made to run anything else.

use super::http::{Code, Response};

/// Only this page's own style and script count, known by their hashes (a test computes them), and it may only ask us.
const POLICY: &str = "default-src 'none'; connect-src 'self'; \
    script-src 'sha256-jb2f78Jb2PMVOGMbH4GFurs9Ba8W6cnN9ZjWwsNuGso='; style-src 'sha256-YkMI4gTt1hBGrmxfqsoY2nmgsYMIQpY1XyWY3NaiKPY='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
pub fn response() -> Response {
    Response {
        code: Code::Ok,
        content_type: "text/html; charset=utf-8",
        extra: Some(("Content-Security-Policy", POLICY)),
        body: include_str!("page.html").to_owned(),
    }
}
