//! One connection: bounded in time, and given up early where it stalls while others wait.

use std::{
    convert::Infallible,
    future::Future as _,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    http::Request,
};
use hyper::{
    body::{Body as HttpBody, Frame, SizeHint},
    server::conn::http1,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Duration, Instant, Sleep, sleep},
};
use tower::ServiceExt;
use tracing::debug;

use super::{
    patience::Patience,
    scarce::{HURRY, Scarce},
};

/// A request's head must be there in this time.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(5);
/// A connection is closed after this time, whatever it does, but for a capture: longer than a client waits for a file to be applied.
const CONNECTION_TIME: Duration = Duration::from_secs(150);

/// Answers one connection of `clients`. A client that breaks off, stalls or talks nonsense is its own concern, not the log's.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    clients: &'static Scarce,
) {
    let patience = Patience::new(CONNECTION_TIME);
    let router = router.layer(Extension(patience.clone()));
    let turn = Turn::default();
    let watched = Watched::new(stream, turn.clone(), clients);
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let (router, turn) = (router.clone(), turn.clone());
        async move {
            let request = request.map(|body| Body::new(Asked::new(body, turn.clone())));
            let answer = router.oneshot(request).await.unwrap_or_else(|never| match never {});
            Ok::<_, Infallible>(answer.map(|body| Body::new(Answer { body, turn })))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(watched), service);
    match patience.wait(connection).await {
        Some(Ok(())) => {}
        Some(Err(error)) => debug!("a client's connection ended: {error}"),
        None => debug!("a client's connection was closed: it has lasted too long"),
    }
}

/// Whose turn it is: the daemon's, from the end of a request to the end of its answer, or the client's.
#[derive(Clone, Debug, Default)]
struct Turn(Arc<AtomicBool>);

impl Turn {
    fn is_the_daemons(&self) -> bool {
        self.0.load(Relaxed)
    }

    fn set_the_daemons(&self, daemons: bool) {
        self.0.store(daemons, Relaxed);
    }
}

/// A request's body: when all of it has been read, it is the daemon's turn.
struct Asked<B> {
    body: B,
    turn: Turn,
}

impl<B: HttpBody> Asked<B> {
    fn new(body: B, turn: Turn) -> Self {
        turn.set_the_daemons(body.is_end_stream());
        Self { body, turn }
    }
}

impl<B: HttpBody + Unpin> HttpBody for Asked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.turn.set_the_daemons(frame.is_none() || self.body.is_end_stream());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body: at its end, it is the client's turn.
struct Answer {
    body: Body,
    turn: Turn,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.turn.set_the_daemons(false);
    }
}

/// A client's stream. Where it waits for the client, and another waits to be one, it ends.
struct Watched<S> {
    stream: S,
    turn: Turn,
    clients: &'static Scarce,
    reading: Alarm,
    writing: Alarm,
}

impl<S> Watched<S> {
    fn new(stream: S, turn: Turn, clients: &'static Scarce) -> Self {
        Self { stream, turn, clients, reading: Alarm::default(), writing: Alarm::default() }
    }

    /// What came of writing, or that the client stalls.
    fn written<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.writing.check(result, true, self.clients, context)
    }
}

/// When it is looked at whether a client that stalls is in somebody's way.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// What came of a step, or that the client, whose turn it is, stalls.
    fn check<T>(
        &mut self,
        result: Poll<io::Result<T>>,
        clients_turn: bool,
        clients: &Scarce,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() || !clients_turn {
            self.0 = None;
            return result;
        }
        let alarm = self.0.get_or_insert_with(|| Box::pin(sleep(HURRY)));
        while alarm.as_mut().poll(context).is_ready() {
            if clients.is_wanted() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "it stalls while others wait")));
            }
            alarm.as_mut().reset(Instant::now() + HURRY);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_read(context, buffer);
        // While the daemon works, it looks only whether the client has gone.
        this.reading.check(result, !this.turn.is_the_daemons(), this.clients, context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(context, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(context, pieces);
        this.written(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::timeout,
    };

    use super::*;

    /// Answers at once, after a while, with more than fits, and what it was sent.
    fn router() -> Router {
        Router::new()
            .route("/now", get(async || "now"))
            .route(
                "/later",
                get(async || {
                    sleep(4 * HURRY).await;
                    "later"
                }),
            )
            .route("/much", get(async || "x".repeat(100_000)))
            .route("/echo", post(async |body: Bytes| body))
    }

    /// Connects a client that sends `request` and then does nothing. How long another has to wait for its place, in milliseconds,
    /// and what the first can read afterwards.
    async fn exchange(request: &str) -> (u128, String) {
        let clients: &Scarce = Box::leak(Box::new(Scarce::new(1)));
        let (mut client, server) = duplex(1024);
        let first = tokio::spawn(async move {
            let _place = clients.acquire(1).await.expect("a place");
            serve(server, router(), clients).await;
        });
        client.write_all(request.as_bytes()).await.expect("a request that is taken");
        tokio::task::yield_now().await;
        let start = Instant::now();
        let waited = timeout(Duration::from_secs(60), clients.acquire(1)).await;
        let waited = waited.map_or(u128::MAX, |_| start.elapsed().as_millis());
        let mut heard = Vec::new();
        let _ = client.read_to_end(&mut heard).await;
        first.await.expect("it ends");
        (waited, String::from_utf8_lossy(&heard).into_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn who_stalls_goes_when_another_waits() {
        for request in [
            "",
            "GET /n",
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
            "GET /now HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /much HTTP/1.1\r\nHost: x\r\n\r\n",
        ] {
            let (waited, _) = exchange(request).await;
            assert!(waited <= 2 * HURRY.as_millis(), "{request:?} kept another waiting for {waited} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_being_served_stays() {
        let (waited, heard) = exchange("GET /later HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(heard.ends_with("later"), "it was answered {heard:?}");
        assert!(waited >= 4 * HURRY.as_millis(), "{waited} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn who_stalls_in_nobodys_way_stays_for_seconds() {
        let (mut client, server) = duplex(1024);
        let serving = tokio::spawn(serve(server, router(), Box::leak(Box::new(Scarce::new(1)))));
        let start = Instant::now();
        let mut heard = Vec::new();
        let _ = client.read_to_end(&mut heard).await;
        serving.await.expect("it ends");
        assert_eq!(start.elapsed().as_secs(), HEAD_TIME.as_secs());
    }
}
