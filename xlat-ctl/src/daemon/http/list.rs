//! The call that shows the whole table: as a copy, which all who read the same revision share.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures::stream;
use tokio::sync::{Mutex, SemaphorePermit, mpsc};

use super::{openapi::Refused, scarce::Scarce};
use crate::{
    api::{self, Code},
    daemon::{
        memory::GiveBack,
        owner::{Owner, Refusal, refusal},
    },
    eam::Entry,
};

/// Copies of the table that are there at a time.
static COPIES: Scarce = Scarce::new(4);
/// A client of a list must take the next piece in this time, and sooner while others wait for another copy.
const READ_TIME: Duration = Duration::from_secs(5);
/// Entries of one piece of a list.
const PIECE: usize = 1000;

#[utoipa::path(get, path = "/v1/eam", tag = "table", responses((status = 200, body = api::EamList), Refused))]
/// The whole table, in the order of its IPv4 prefixes.
pub(super) async fn eam_list(
    State(owner): State<Owner>,
    Extension(latest): Extension<Latest>,
) -> Result<Response, Refusal> {
    let list = List { copy: copy_of(&owner, &latest).await?, next: 0, begun: false };
    if list.copy.entries.len() <= PIECE {
        return Ok(json(Body::from_stream(stream::iter(list.map(Ok::<_, Infallible>)))));
    }
    let (pieces, taken) = mpsc::channel(1);
    tokio::spawn(async move {
        for piece in list {
            // A client that does not read makes room for another.
            if !matches!(COPIES.bear(READ_TIME, pieces.send(Some(piece))).await, Some(Ok(()))) {
                return;
            }
        }
        let _ = pieces.send(None).await;
    });
    let pieces = stream::unfold(taken, async |mut taken| match taken.recv().await {
        Some(piece) => piece.map(|piece| (Ok(piece), taken)),
        None => Some((Err(io::Error::from(io::ErrorKind::TimedOut)), taken)),
    });
    Ok(json(Body::from_stream(pieces)))
}

fn json(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// The table as it was with one revision.
struct Copy {
    revision: u64,
    entries: Vec<Entry>,
    // In this order they go, after the entries.
    _memory: Option<GiveBack>,
    _place: SemaphorePermit<'static>,
}

/// The latest copy, as long as somebody reads it. It is shared, so that those who do not read on keep nobody waiting.
#[derive(Clone, Default)]
pub(super) struct Latest(Arc<Mutex<Weak<Copy>>>);

/// The table as it is now.
async fn copy_of(owner: &Owner, latest: &Latest) -> Result<Arc<Copy>, Refusal> {
    let mut latest = latest.0.lock().await;
    if let Some(copy) = latest.upgrade()
        && copy.revision == owner.revision().await?
    {
        return Ok(copy);
    }
    let stopping = |_| refusal(Code::Failed, "the daemon is stopping");
    let place = COPIES.acquire(1).await.map_err(stopping)?;
    let (revision, entries) = owner.list().await?;
    let memory = (entries.len() > PIECE).then_some(GiveBack);
    let copy = Arc::new(Copy { revision, entries, _memory: memory, _place: place });
    *latest = Arc::downgrade(&copy);
    Ok(copy)
}

/// A table as the pieces of its JSON text.
struct List {
    copy: Arc<Copy>,
    next: usize,
    begun: bool,
}

impl Iterator for List {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut text = Vec::new();
        if !self.begun {
            self.begun = true;
            text.extend_from_slice(format!("{{\"revision\":{},\"entries\":[", self.copy.revision).as_bytes());
        } else if self.next > self.copy.entries.len() {
            return None;
        }
        let end = self.copy.entries.len().min(self.next + PIECE);
        for (index, entry) in self.copy.entries[self.next..end].iter().enumerate() {
            if self.next + index > 0 {
                text.push(b',');
            }
            serde_json::to_writer(&mut text, &api::Eam::from(entry)).expect("an entry has only string keys");
        }
        self.next = end;
        if end == self.copy.entries.len() {
            text.extend_from_slice(b"]}");
            self.next = end + 1;
        }
        Some(Bytes::from(text))
    }
}
