//! One answer: which worker gave it.

use std::error::Error;
use std::time::Duration;

use axum::{Router, routing::get};
use listenfd::ListenFd;
use tokio::net::TcpListener;

async fn answer() -> String {
    tokio::time::sleep(Duration::from_millis(5)).await;
    format!("worker {}\n", std::env::var("ALLCORES_WORKER").unwrap_or_default())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = ListenFd::from_env().take_tcp_listener(0)?.ok_or("no socket was passed")?;
    listener.set_nonblocking(true)?;
    axum::serve(TcpListener::from_std(listener)?, Router::new().route("/", get(answer))).await?;
    Ok(())
}
