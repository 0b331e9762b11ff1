//! Files that clients send: bounded in length, in time, and all of them together in memory.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{Request, header},
};
use futures::StreamExt as _;
use tokio::{sync::SemaphorePermit, time::timeout};

use super::scarce::Scarce;
use crate::{
    api::{self, Code},
    daemon::owner::{Refusal, refusal},
};

/// What files are counted in.
const MEBIBYTE: usize = 1 << 20;
/// Mebibytes of files that are in memory at a time. A client holds no more of them than it has sent.
static ROOM: Scarce = Scarce::new(2 * api::MAX_FILE / MEBIBYTE);
/// A file must be there in this time.
const FILE_TIME: Duration = Duration::from_secs(55);
/// More of it must come in this time, and sooner while others wait for memory.
const PAUSE: Duration = Duration::from_secs(5);

/// Reads a file. The permits are for its memory.
pub(super) async fn read_file(request: Request<Body>) -> Result<(Bytes, Option<SemaphorePermit<'static>>), Refusal> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > api::MAX_FILE) {
        return Err(too_large());
    }
    timeout(FILE_TIME, receive(request.into_body())).await.unwrap_or_else(|_| Err(late(FILE_TIME)))
}

async fn receive(body: Body) -> Result<(Bytes, Option<SemaphorePermit<'static>>), Refusal> {
    let mut pieces = body.into_data_stream();
    let mut file = Vec::new();
    let mut room: Option<SemaphorePermit<'static>> = None;
    while let Some(piece) = ROOM.bear(PAUSE, pieces.next()).await.ok_or_else(|| late(PAUSE))? {
        let piece = piece.map_err(|error| refusal(Code::Invalid, format!("the file cannot be read: {error}")))?;
        if file.len() + piece.len() > api::MAX_FILE {
            return Err(too_large());
        }
        let (has, needs) =
            (room.as_ref().map_or(0, SemaphorePermit::num_permits), (file.len() + piece.len()).div_ceil(MEBIBYTE));
        if needs > has {
            let more = u32::try_from(needs - has).expect("no more than a file may have");
            // Who holds some does not wait for long: all might, and nobody go on.
            let patience = if has == 0 { FILE_TIME } else { PAUSE };
            let more = timeout(patience, ROOM.acquire(more)).await.map_err(|_| full())?;
            let more = more.map_err(|_| refusal(Code::Failed, "the daemon is stopping"))?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
        }
        file.extend_from_slice(&piece);
    }
    Ok((file.into(), room))
}

fn too_large() -> Refusal {
    refusal(Code::TooLarge, format!("the file is longer than {} MiB", api::MAX_FILE / MEBIBYTE))
}

fn full() -> Refusal {
    let text =
        "the daemon has no room for this file beside those that others are sending: send it again when they have ended";
    refusal(Code::Timeout, text)
}

fn late(time: Duration) -> Refusal {
    let seconds = time.as_secs();
    refusal(
        Code::Timeout,
        format!(
            "the file, or more of it, did not arrive in {seconds} seconds, or stalled while others waited to send theirs"
        ),
    )
}
