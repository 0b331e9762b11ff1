//! The status page on the metrics port: one HTML file that can only look, kept up to date by server-sent events.

use std::{convert::Infallible, sync::LazyLock, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{LookupQuery, METRICS, Owner, scarce::HURRY, stats_of};
use crate::{
    api::{self, Code},
    daemon::owner::{Refusal, refusal},
};

const PAGE: &str = include_str!("page.html");
/// Most pages that are kept up to date at a time: each takes one of the port's connections.
const MAX_STREAMS: usize = 8;
/// Look-ups at a time.
const MAX_LOOKUPS: usize = 2;
/// How often pages hear of the relay.
const PERIOD: Duration = Duration::from_secs(1);

static STREAMS: Semaphore = Semaphore::const_new(MAX_STREAMS);
static LOOKUPS: Semaphore = Semaphore::const_new(MAX_LOOKUPS);

/// Nothing but what is in the page itself may run or be loaded, and nothing but this port be asked.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; base-uri 'none'; form-action \
         'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
});

/// The hash of an element of the page, as a policy names it.
fn hash(element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let inside = PAGE.split_once(&open).and_then(|(_, rest)| rest.split_once(&close)).map_or("", |(inside, _)| inside);
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(inside)))
}

#[derive(Clone)]
struct Page {
    owner: Owner,
    /// The latest event.
    events: watch::Sender<Bytes>,
}

/// The calls of the page, and the task that makes its events while anybody listens.
pub(super) fn router(owner: &Owner) -> Router {
    let events = watch::Sender::new(Bytes::new());
    tokio::spawn(tell(owner.clone(), events.clone()));
    Router::new()
        .route("/", get(page))
        .route("/events", get(listen))
        .route("/lookup", get(look_up))
        .route("/share.svg", get(share))
        .with_state(Page { owner: owner.clone(), events })
}

async fn page() -> Response {
    let headers: [(HeaderName, &str); 6] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, &POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        // Another release has another page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, PAGE).into_response()
}

/// What a page hears once a second.
#[derive(Serialize)]
struct Event {
    status: api::Status,
    stats: api::Stats,
    /// Why the relay is not ready for traffic, as `/readyz` says it.
    not_ready: Option<String>,
}

async fn tell(owner: Owner, events: watch::Sender<Bytes>) {
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        if events.receiver_count() == 0 {
            continue;
        }
        // An owner that cannot answer has nothing to tell: the page sees that nothing comes.
        if let (Ok(status), Ok(counters)) = (owner.status().await, owner.counters().await) {
            let uptime = u64::try_from(owner.uptime().as_millis()).unwrap_or(u64::MAX);
            let not_ready = owner.ready().await.err().map(|refusal| refusal.message);
            let event = Event { status, stats: stats_of(&counters, uptime), not_ready };
            let json = serde_json::to_string(&event).expect("an event has only string keys");
            events.send_replace(format!("data: {json}\n\n").into());
        }
    }
}

/// A page that listens. It gets the latest event when it is ready for one: one that does not read misses events, and delays
/// nobody.
struct Listener {
    events: watch::Receiver<Bytes>,
    #[expect(dead_code, reason = "held, not used")]
    permit: SemaphorePermit<'static>,
}

async fn listen(State(page): State<Page>) -> Response {
    let Some(permit) = stream_of_its_own().await else {
        let headers = [(header::RETRY_AFTER, "5")];
        return (StatusCode::SERVICE_UNAVAILABLE, headers, "so many pages listen already\n").into_response();
    };
    let listener = Listener { events: page.events.subscribe(), permit };
    // How long a browser waits, in milliseconds, before it connects again.
    let head = stream::iter([Ok(Bytes::from_static(b"retry: 500\n\n"))]);
    let events = stream::unfold(listener, |mut listener| async {
        listener.events.changed().await.ok()?;
        let event = listener.events.borrow_and_update().clone();
        Some((Ok::<_, Infallible>(event), listener))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(head.chain(events))).into_response()
}

/// A page that stalls has to make room while another waits.
async fn stream_of_its_own() -> Option<SemaphorePermit<'static>> {
    if let Ok(permit) = STREAMS.try_acquire() {
        return Some(permit);
    }
    let _waiting = METRICS.waiting();
    timeout(4 * HURRY, STREAMS.acquire()).await.ok()?.ok()
}

async fn look_up(
    State(page): State<Page>,
    query: Result<Query<LookupQuery>, QueryRejection>,
) -> Result<axum::Json<api::Lookup>, Refusal> {
    let _permit = LOOKUPS.acquire().await.map_err(|_| refusal(Code::Failed, "the daemon is stopping"))?;
    super::lookup(State(page.owner), query).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PictureQuery {
    /// IPv4 or IPv6 prefix of an entry; `None`: all of them.
    service: Option<String>,
}

async fn share(
    State(page): State<Page>,
    query: Result<Query<PictureQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(PictureQuery { service }) = query?;
    let _permit = LOOKUPS.acquire().await.map_err(|_| refusal(Code::Failed, "the daemon is stopping"))?;
    let Some(picture) = super::share::picture(&page.owner, service.as_deref()).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, picture).into_response())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[test]
    fn the_policy_names_the_script_and_the_style_of_the_page() {
        assert_eq!(PAGE.matches("<script").count(), 1);
        assert_eq!(PAGE.matches("<style").count(), 1);
        let of_nothing = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='";
        for element in ["script", "style"] {
            assert!(POLICY.contains(&hash(element)) && hash(element) != of_nothing, "{}", *POLICY);
        }
        // What the policy does not allow: attributes with script or style, other files.
        for attribute in [" style=", " onclick=", " onload=", "src="] {
            assert!(!PAGE.contains(attribute), "{attribute}");
        }
    }

    #[tokio::test]
    async fn a_page_that_does_not_read_misses_events_and_delays_nobody() {
        let events = watch::Sender::new(Bytes::new());
        let page = Page { owner: Owner::without_data_plane(), events: events.clone() };
        let router = Router::new().route("/events", get(listen)).with_state(page);
        let (mut client, server) = duplex(512);
        let serving = tokio::spawn(super::super::serve(server, router, &super::super::METRICS));
        client.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        while events.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        // A megabyte, of which the connection holds half a kilobyte.
        for number in 0..1000 {
            events.send_replace(format!("data: {number:04} {}\n\n", "x".repeat(1000)).into());
            tokio::task::yield_now().await;
        }
        events.send_replace("data: the last\n\n".into());
        let mut heard = String::new();
        while !heard.contains("data: the last") {
            let mut piece = [0; 4096];
            let count =
                timeout(Duration::from_secs(5), client.read(&mut piece)).await.expect("the last event").unwrap();
            heard.push_str(str::from_utf8(&piece[..count]).unwrap());
        }
        assert!(heard.matches("data: ").count() < 100, "events were kept for it");
        drop(client);
        serving.await.unwrap();
        assert_eq!(events.receiver_count(), 0);
        pages_that_stall_make_room_for_another(&events).await;
    }

    /// In the same test, as the places are the process'.
    async fn pages_that_stall_make_room_for_another(events: &watch::Sender<Bytes>) {
        let listening = || async {
            let page = Page { owner: Owner::without_data_plane(), events: events.clone() };
            let router = Router::new().route("/events", get(listen)).with_state(page);
            let (mut client, server) = duplex(512);
            tokio::spawn(super::super::serve(server, router, &super::super::METRICS));
            client.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            client
        };
        let mut stalled = Vec::new();
        for _ in 0..MAX_STREAMS {
            stalled.push(listening().await);
        }
        while events.receiver_count() < MAX_STREAMS {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            events.send_replace(format!("data: {}\n\n", "x".repeat(1000)).into());
            tokio::task::yield_now().await;
        }
        let mut another = listening().await;
        let mut head = [0; 12];
        let heard = timeout(Duration::from_secs(3), another.read_exact(&mut head)).await.expect("an answer");
        heard.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
    }
}
