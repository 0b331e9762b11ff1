//! The call that shows the whole table: as a copy, which all who read the same revision share.

use std::sync::{Arc, Weak};

use axum::{Extension, body::Bytes, extract::State, response::Response};
use tokio::sync::{Mutex, SemaphorePermit};

use super::{
    openapi::Refused,
    pieces::{long, short},
    scarce::Scarce,
};
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
        return Ok(short(list));
    }
    Ok(long(&COPIES, list))
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
