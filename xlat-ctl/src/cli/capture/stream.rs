//! An answer of the daemon that goes on: line after line until it ends, or somebody interrupts this command.

use futures::future;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::UnixStream,
    signal::unix::{Signal, SignalKind, signal},
    time::{Duration, Instant, sleep_until, timeout},
};

use super::{Common, Failed};
use crate::{api, capture::Line, cli::client};

/// The daemon says something every second; one that has been silent for so long is not there any more.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an interrupted capture waits for the daemon's next word.
const LAST_WORD: Duration = Duration::from_secs(2);

/// `GET`s `path`, and gives `each` line of the answer, read and as it came, until that says that it was the last. An interrupt ends it
/// in peace, with what was on its way and the daemon's count at its next word; a second one at once. So does the end of the terminal.
pub(super) fn follow(common: &Common, path: &str, each: impl FnMut(&Line, &str) -> bool) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {}", crate::plain(&error)))?;
    runtime.block_on(async {
        let listen = |kind| signal(kind).map_err(|error| format!("cannot listen to signals: {}", crate::plain(&error)));
        let mut interrupts = vec![listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?];
        if !is_ignored(SignalKind::hangup()) {
            interrupts.push(listen(SignalKind::hangup())?);
        }
        run(common, path, interrupts, each).await
    })
}

async fn run(
    common: &Common,
    path: &str,
    mut interrupts: Vec<Signal>,
    mut each: impl FnMut(&Line, &str) -> bool,
) -> Result<(), Failed> {
    let socket = client::socket(common);
    let stream = UnixStream::connect(&socket).await.map_err(|error| client::no_connection(&socket, &error))?;
    let broken = |error: hyper::Error| format!("the daemon at {} broke off: {error}", socket.display());
    let silent = |_| format!("the daemon at {} has said nothing for {} seconds", socket.display(), PATIENCE.as_secs());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Its outcome is the request's outcome too.
    tokio::spawn(connection);
    let request = Request::builder().uri(path).header(header::HOST, "xlat").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| format!("the request cannot be made: {error}"))?;
    let answer = tokio::select! {
        answer = timeout(PATIENCE, sender.send_request(request)) => answer.map_err(silent)?.map_err(broken)?,
        () = interrupted(&mut interrupts) => return Ok(()),
    };
    let granted = answer.status().is_success();
    let mut body = answer.into_body();
    if !granted {
        let body = body.collect().await.map_err(broken)?.to_bytes();
        let failure: api::Failure = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
        return Err(client::refused(failure));
    }
    let (mut rest, mut end) = (Vec::new(), None);
    loop {
        let bytes = tokio::select! {
            bytes = timeout(PATIENCE, next(&mut body)) => bytes.map_err(silent)?.map_err(broken)?,
            () = interrupted(&mut interrupts) => match end.replace(Instant::now() + LAST_WORD) {
                None => continue,
                Some(_) => return Ok(()),
            },
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return Ok(()),
        };
        let Some(bytes) = bytes else {
            return Err(format!("the daemon at {} has ended before the capture", socket.display()).into());
        };
        rest.extend_from_slice(&bytes);
        let mut last = |line: &Line, text: &str| each(line, text) || end.is_some() && matches!(line, Line::Progress(_));
        if lines(&mut rest, &mut last)? {
            return Ok(());
        }
    }
}

async fn interrupted(interrupts: &mut [Signal]) {
    let each = interrupts.iter_mut().map(|signal| Box::pin(signal.recv()));
    future::select_all(each).await;
}

/// Whether this process was started with a signal ignored, as by `nohup`.
fn is_ignored(signal: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 << (signal.as_raw_value() - 1) != 0)
}

/// The next bytes of an answer. `None`: that was all.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    let frame = body.frame().await.transpose()?;
    Ok(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

/// Takes the whole lines out of `rest`. `true`: one was the last.
fn lines(rest: &mut Vec<u8>, each: &mut impl FnMut(&Line, &str) -> bool) -> Result<bool, Failed> {
    let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(false) };
    let whole: Vec<u8> = rest.drain(..=end).collect();
    for line in String::from_utf8_lossy(&whole).split_inclusive('\n') {
        let read: Line = serde_json::from_str(line).map_err(|error| unreadable(&error))?;
        if each(&read, line) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn unreadable(error: &serde_json::Error) -> String {
    format!("the daemon's answer cannot be read (another version?): {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_whole_lines_and_leaves_the_rest() {
        let begin: &[u8] = br#"{"begin":{"version":"1","interfaces":["a"]}}"#;
        let mut rest = [begin, b"\n", &begin[..10]].concat();
        let mut seen = 0;
        assert!(
            !lines(&mut rest, &mut |line, _| {
                seen += 1;
                matches!(line, Line::End(_))
            })
            .unwrap()
        );
        assert_eq!((seen, rest.len()), (1, 10));
        assert!(lines(&mut b"nonsense\n".to_vec(), &mut |_, _| false).is_err());
    }
}
