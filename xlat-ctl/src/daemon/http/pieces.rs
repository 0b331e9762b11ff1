//! Long answers, given piece by piece: a client that does not read on makes room for another.

use std::{convert::Infallible, io, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures::stream;
use tokio::sync::{SemaphorePermit, mpsc};

use super::scarce::Scarce;
use crate::daemon::memory::GiveBack;

/// A client must take the next piece in this time, and sooner while others wait for a share.
const READ_TIME: Duration = Duration::from_secs(5);
/// Bytes of a piece of a [`Text`].
const PIECE: usize = 256 << 10;

/// An answer of JSON text whose pieces hold a share of `scarce` as long as they are not all taken.
pub(super) fn long(scarce: &'static Scarce, all: impl Iterator<Item = Bytes> + Send + 'static) -> Response {
    let (pieces, taken) = mpsc::channel(1);
    tokio::spawn(async move {
        for piece in all {
            if !matches!(scarce.bear(READ_TIME, pieces.send(Some(piece))).await, Some(Ok(()))) {
                return;
            }
        }
        let _ = pieces.send(None).await;
    });
    let pieces = stream::unfold(taken, async |mut taken| match taken.recv().await {
        Some(piece) => piece.map(|piece| (Ok(piece), taken)),
        None => Some((Err(io::Error::from(io::ErrorKind::TimedOut)), taken)),
    });
    json(Body::from_stream(pieces))
}

/// An answer of JSON text that is short enough to be there as a whole.
pub(super) fn short(all: impl Iterator<Item = Bytes> + Send + 'static) -> Response {
    json(Body::from_stream(stream::iter(all.map(Ok::<_, Infallible>))))
}

fn json(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A whole text with its share, cut into pieces.
pub(super) struct Text {
    rest: Bytes,
    // In this order they go, after the text.
    _memory: GiveBack,
    _place: SemaphorePermit<'static>,
}

impl Text {
    /// An answer with this text, which gives its share back at once if it is short.
    pub(super) fn answer(scarce: &'static Scarce, text: Vec<u8>, place: SemaphorePermit<'static>) -> Response {
        let rest = Bytes::from(text);
        if rest.len() > PIECE {
            return long(scarce, Self { rest, _memory: GiveBack, _place: place });
        }
        short([rest].into_iter())
    }
}

impl Iterator for Text {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let piece = self.rest.split_to(PIECE.min(self.rest.len()));
        // A copy: what a client leaves lying must not hold all of the text.
        (!piece.is_empty()).then(|| Bytes::copy_from_slice(&piece))
    }
}
