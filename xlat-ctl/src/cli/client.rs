//! One call to the daemon over the control socket.

use std::{
    convert::Infallible,
    fmt::Write as _,
    fs,
    io::{self, IsTerminal},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Frame, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    net::UnixStream,
    time::{sleep, timeout},
};

use super::{Common, Failed, output};
use crate::{api, config};

/// A daemon that has not answered in this time will not.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same for a file, which takes its time to be sent, checked and put in force.
const FILE_PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of a file that are sent at a time.
const PIECE: usize = 256 * 1024;

/// What the daemon said to a request that it granted.
pub(super) struct Answer<T> {
    /// The answer.
    pub(super) value: T,
}

impl<T: Serialize> Answer<T> {
    /// Prints the answer as JSON when that was asked for, else what `human` makes of it.
    pub(super) fn print(&self, common: &Common, human: impl FnOnce(&T) -> String) {
        output::print_done(&if common.json { output::json(&self.value) } else { human(&self.value) });
    }
}

pub(super) fn socket(common: &Common) -> PathBuf {
    common.socket.clone().unwrap_or_else(|| PathBuf::from(config::DEFAULT_SOCKET))
}

/// `GET`s `path`.
pub(super) fn get<T: DeserializeOwned>(common: &Common, path: &str) -> Result<Answer<T>, Failed> {
    get_within(common, path, PATIENCE)
}

/// As [`get`], for who cannot wait.
pub(super) fn get_within<T: DeserializeOwned>(
    common: &Common,
    path: &str,
    patience: Duration,
) -> Result<Answer<T>, Failed> {
    call(&socket(common), Method::GET, path, whole(Bytes::new()), patience, None)
}

/// `DELETE`s `path`.
pub(super) fn delete<T: DeserializeOwned>(common: &Common, path: &str) -> Result<Answer<T>, Failed> {
    call(&socket(common), Method::DELETE, path, whole(Bytes::new()), PATIENCE, None)
}

/// `POST`s `body` to `path`.
pub(super) fn post<T: DeserializeOwned>(
    common: &Common,
    path: &str,
    body: &impl Serialize,
) -> Result<Answer<T>, Failed> {
    post_told(common, path, body, None)
}

/// As [`post`], to a call that may tell something before its answer.
pub(super) fn post_told<T: DeserializeOwned>(
    common: &Common,
    path: &str,
    body: &impl Serialize,
    told: Told<'_, T>,
) -> Result<Answer<T>, Failed> {
    let body = serde_json::to_vec(body).expect("a request has only string keys");
    call(&socket(common), Method::POST, path, whole(body.into()), PATIENCE, told)
}

/// `PUT`s a file to `path`; on a terminal it shows how far it is.
pub(super) fn put_file<T: DeserializeOwned>(
    common: &Common,
    path: &str,
    bytes: Bytes,
    mut told: Told<'_, T>,
) -> Result<Answer<T>, Failed> {
    let bar = progress(bytes.len());
    let sending = bar.clone();
    let mut rest = bytes;
    let pieces = std::iter::from_fn(move || {
        if rest.is_empty() {
            sending.set_message("checking and applying");
            return None;
        }
        let piece = rest.split_to(rest.len().min(PIECE));
        sending.inc(piece.len() as u64);
        Some(Ok::<_, Infallible>(Frame::data(piece)))
    });
    let body = BodyExt::boxed(StreamBody::new(stream::iter(pieces)));
    let mut beside = |value| {
        if let Some(told) = &mut told {
            bar.suspend(|| told(value));
        }
    };
    let answer = call(&socket(common), Method::PUT, path, body, FILE_PATIENCE, Some(&mut beside));
    bar.finish_and_clear();
    answer
}

/// A bar where there is a person to look at it, and enough to wait for.
fn progress(length: usize) -> ProgressBar {
    const WORTH_SHOWING: usize = 4 << 20;
    if length < WORTH_SHOWING || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length as u64);
    let style = ProgressStyle::with_template("{spinner} [{bar:40}] {bytes}/{total_bytes} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A value as it stands in a query: everything but letters, digits and a few marks is escaped (RFC 3986 2.1).
pub(super) fn escaped(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("a String takes everything");
        }
        text
    })
}

/// What takes that which a call tells before its answer; `None`: it tells nothing.
pub(super) type Told<'call, T> = Option<&'call mut dyn FnMut(T)>;

type Body = BoxBody<Bytes, Infallible>;

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).boxed()
}

fn call<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: Body,
    patience: Duration,
    mut told: Told<'_, T>,
) -> Result<Answer<T>, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {}", crate::plain(&error)))?;
    let unreadable = |error: serde_json::Error| {
        format!("the answer of the daemon at {} cannot be read (another version?): {error}", socket.display())
    };
    let mut take = |line: &[u8]| -> Result<(), String> {
        let value = serde_json::from_slice(line).map_err(unreadable)?;
        if let Some(told) = &mut told {
            told(value);
        }
        Ok(())
    };
    let (granted, body) = runtime.block_on(exchange(socket, method, path, body, patience, &mut take))?;
    if granted {
        let value = serde_json::from_slice(&body).map_err(unreadable)?;
        return Ok(Answer { value });
    }
    Err(refused(serde_json::from_slice(&body).map_err(unreadable)?))
}

/// What the daemon did not grant.
pub(super) fn refused(failure: api::Failure) -> Failed {
    let answer = Some(output::json(&failure));
    Failed { message: Some(failure.error.message), answer }
}

/// Connects, and waits a while where too many others do: the daemon lets go of those that ask nothing.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    const PATIENCE: Duration = Duration::from_secs(20);
    let begun = Instant::now();
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && begun.elapsed() < PATIENCE => {
                sleep(Duration::from_millis(50)).await;
            }
            other => return other,
        }
    }
}

/// Gives whether the request is granted, and the answer. What is told before the answer goes to `told` as soon as it is there, and
/// may take its time there: `patience` is with the daemon, not with who reads.
async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    body: Body,
    patience: Duration,
    told: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) -> Result<(bool, Bytes), String> {
    let unknown = unknown(&method, path);
    let broken = |error: hyper::Error| format!("the daemon at {} broke off: {error}{unknown}", socket.display());
    let late = |_| {
        let seconds = patience.as_secs();
        format!("the daemon at {} has not answered for {seconds} seconds{unknown}", socket.display())
    };
    let answer = timeout(patience, ask(socket, method, path, body)).await.map_err(late)??;
    let granted = answer.status().is_success();
    let of_lines = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == api::LINES);
    let mut body = answer.into_body();
    if !of_lines {
        let whole = timeout(patience, body.collect()).await.map_err(late)?;
        return Ok((granted, whole.map_err(broken)?.to_bytes()));
    }
    // The first line comes before, the last one is the answer. What comes so late cannot have a status of its own.
    let mut text = Vec::new();
    let mut is_told = false;
    while let Some(frame) = timeout(patience, body.frame()).await.map_err(late)? {
        text.extend_from_slice(&frame.map_err(broken)?.into_data().unwrap_or_default());
        if let Some(end) = text.iter().position(|byte| *byte == b'\n').filter(|_| !is_told) {
            told(&text[..end])?;
            text.drain(..=end);
            is_told = true;
        }
    }
    Ok((granted && serde_json::from_slice::<api::Failure>(&text).is_err(), text.into()))
}

/// What is not known where there is no answer: what has been asked for stays in the daemon's queue.
fn unknown(method: &Method, path: &str) -> &'static str {
    if path.starts_with("/v1/reload") {
        "; it may still do what it was asked: see `xlat-ctl status` and its log"
    } else if *method != Method::GET && path.starts_with("/v1/eam") && !path.contains("dry_run=true") {
        "; it may still do what it was asked: see `xlat-ctl eam history`"
    } else {
        ""
    }
}

/// Sends a request; gives the answer as soon as its head is there.
async fn ask(socket: &Path, method: Method, path: &str, body: Body) -> Result<Response<Incoming>, String> {
    let stream = connect(socket).await.map_err(|error| no_connection(socket, &error))?;
    let unknown = unknown(&method, path);
    let broken = |error: hyper::Error| format!("the daemon at {} broke off: {error}{unknown}", socket.display());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Its outcome is the request's outcome too.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "xlat")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|error| format!("the request cannot be made: {error}"))?;
    sender.send_request(request).await.map_err(broken)
}

pub(super) fn no_connection(socket: &Path, error: &io::Error) -> String {
    let is_socket = fs::metadata(socket).is_ok_and(|metadata| metadata.file_type().is_socket());
    let socket = socket.display();
    match error.kind() {
        io::ErrorKind::ConnectionRefused if !is_socket => {
            format!("no daemon answers at {socket}: this is no socket (another one: --socket or XLAT_SOCKET)")
        }
        io::ErrorKind::NotFound => {
            format!("no daemon runs at {socket}: there is no such socket (another one: --socket or XLAT_SOCKET)")
        }
        io::ErrorKind::ConnectionRefused => {
            format!("no daemon answers at {socket}: the socket is left from one that was killed")
        }
        io::ErrorKind::PermissionDenied => {
            format!("you may not use {socket}: become root, or a member of the group that owns it")
        }
        _ => format!("cannot reach the daemon at {socket}: {}", crate::plain(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_of_the_table_stands_in_its_history() {
        for (method, path, place) in [
            (Method::POST, "/v1/eam", "eam history"),
            (Method::PUT, "/v1/eam?if_revision=3", "eam history"),
            (Method::PUT, "/v1/eam?dry_run=true", ""),
            (Method::POST, "/v1/reload", "xlat-ctl status"),
            (Method::POST, "/v1/explain", ""),
            (Method::GET, "/v1/eam", ""),
        ] {
            let said = unknown(&method, path);
            assert!(if place.is_empty() { said.is_empty() } else { said.contains(place) }, "{method} {path}: {said}");
        }
    }

    #[test]
    fn escapes_what_would_change_the_query() {
        assert_eq!(escaped("2001:db8::/32"), "2001:db8::/32");
        assert_eq!(escaped("a&b=c d%"), "a%26b%3Dc%20d%25");
    }
}
