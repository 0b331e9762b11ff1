//! The control socket's and the metrics page's server: bounded in connections, in time and in what it reads.

mod capture;
mod connection;
mod eams;
mod explain;
mod health;
mod host;
mod list;
mod openapi;
mod page;
mod patience;
mod pieces;
mod scarce;
mod share;
mod upload;
mod usage;
mod whole;

use std::{io, net::IpAddr, time::Duration};

use axum::{
    Extension, Json, Router,
    body::{Body, Bytes},
    extract::{
        DefaultBodyLimit, Query, State,
        rejection::{BytesRejection, PathRejection, QueryRejection},
    },
    http::{Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    time::{sleep, timeout},
};
use tracing::error;
use utoipa::IntoParams;
use xlat_common::{
    counters::{Counters, Direction, Protocol, Verdict},
    reason::DropReason,
};

pub(super) use self::capture::told as captures_told;
use self::{
    connection::serve,
    eams::{eam_add, eam_del, eam_find, eam_history, eam_show},
    openapi::{Address, Refused},
    scarce::Scarce,
    whole::{eam_apply, eam_rollback},
};
use super::{
    author::Author,
    metrics,
    owner::{Owner, Refusal, refusal},
};
use crate::{
    api::{self, Code},
    dataplane::DataPlane,
    netlink::links::Links,
};

/// The clients of the control socket at a time.
static CONTROL: Scarce = Scarce::new(256);
/// The clients of the metrics port at a time.
static METRICS: Scarce = Scarce::new(32);
/// Longest request body, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// A request's body must be there in this time.
const BODY_TIME: Duration = Duration::from_secs(5);
/// How long no connection is accepted after accepting one failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the control socket until the task is dropped.
pub(super) async fn serve_control(listener: UnixListener, owner: Owner) {
    let router = control(owner);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone().layer(Extension(Author::of(&stream)));
                admit(stream, router, &CONTROL).await;
            }
            Err(error) => pause("the control socket", &error).await,
        }
    }
}

/// Serves the metrics page until the task is dropped.
pub(super) async fn serve_metrics(listener: TcpListener, owner: Owner) {
    let router = Router::new()
        .route("/metrics", get(metrics_page))
        .merge(health::routes())
        .with_state(owner.clone())
        .merge(page::router(&owner))
        .fallback(async || {
            (
                StatusCode::NOT_FOUND,
                "the metrics are at /metrics, a page for people at /, the checks at /healthz and /readyz\n",
            )
        });
    let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let router = if is_local { router.layer(axum::middleware::from_fn(host::expect_local)) } else { router };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => admit(stream, router.clone(), &METRICS).await,
            Err(error) => pause("the metrics port", &error).await,
        }
    }
}

/// Waits for a place among `clients` and serves a connection there.
async fn admit(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router, clients: &'static Scarce) {
    // Nobody closes what the places are counted by.
    let Ok(place) = clients.acquire(1).await else { return };
    tokio::spawn(async move {
        serve(stream, router, clients).await;
        drop(place);
    });
}

/// Waits a moment where no connection could be accepted: that may be so for a while.
async fn pause(whose: &str, error: &io::Error) {
    error!("cannot accept a connection on {whose}: {}", crate::plain(error));
    sleep(ACCEPT_PAUSE).await;
}

fn control(owner: Owner) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/reload", post(reload))
        .route("/v1/stats", get(stats))
        .route("/v1/lookup", get(lookup))
        .route("/v1/explain", post(explain::explain))
        .route("/v1/capture", get(capture::capture))
        .route("/v1/eam", get(list::eam_list).post(eam_add).delete(eam_del).put(eam_apply))
        .route("/v1/eam/find", get(eam_find))
        .route("/v1/eam/rates", get(usage::eam_rates))
        .route("/v1/eam/idle", get(usage::eam_idle))
        .route("/v1/share", get(share::share))
        .route("/v1/eam/rollback", post(eam_rollback))
        .route("/v1/eam/history", get(eam_history))
        .route("/v1/eam/history/{revision}", get(eam_show))
        .route("/v1/openapi.json", get(openapi::document))
        .fallback(async || refusal(Code::NotFound, "there is no such call: the versions of xlat-ctl and daemon differ"))
        .method_not_allowed_fallback(async |method: Method| {
            refusal(Code::MethodNotAllowed, format!("this call cannot be made with {method}"))
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(Extension(list::Latest::default()))
        .with_state(owner)
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        refusal(Code::Invalid, format!("the request's query cannot be read: {}", rejection.body_text()))
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        refusal(Code::Invalid, format!("the request's path cannot be read: {}", rejection.body_text()))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (status_of(self.code), Json(api::Failure { error: self })).into_response()
    }
}

/// The HTTP status of a refusal.
fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Invalid => StatusCode::BAD_REQUEST,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Conflict => StatusCode::CONFLICT,
        Code::Stale => StatusCode::PRECONDITION_FAILED,
        Code::Full => StatusCode::INSUFFICIENT_STORAGE,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Timeout => StatusCode::REQUEST_TIMEOUT,
        Code::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[utoipa::path(get, path = "/v1/status", tag = "relay", responses((status = 200, body = api::Status), Refused))]
/// State of the relay: interfaces, program, table.
async fn status(State(owner): State<Owner>) -> Result<Json<api::Status>, Refusal> {
    owner.status().await.map(Json)
}

#[utoipa::path(post, path = "/v1/reload", tag = "relay", responses((status = 200, body = api::Reloaded), Refused))]
/// Takes the configuration file as it is, without losing a packet.
async fn reload(
    State(owner): State<Owner>,
    Extension(author): Extension<Author>,
) -> Result<Json<api::Reloaded>, Refusal> {
    let author = eams::blocking(|| author.named()).await?;
    owner.reload(author).await.map(|warnings| Json(api::Reloaded { warnings }))
}

#[utoipa::path(get, path = "/v1/stats", tag = "relay", responses((status = 200, body = api::Stats), Refused))]
/// Packets, bytes and drops since the program was first attached.
async fn stats(State(owner): State<Owner>) -> Result<Json<api::Stats>, Refusal> {
    let counters = owner.counters().await?;
    let uptime = u64::try_from(owner.uptime().as_millis()).unwrap_or(u64::MAX);
    let status = owner.status().await?;
    Ok(Json(api::Stats { interfaces: interfaces(&status), ..stats_of(&counters, uptime) }))
}

/// What the attached interfaces count; one that vanishes meanwhile is left out.
fn interfaces(status: &api::Status) -> Vec<api::InterfaceTraffic> {
    let Ok(mut links) = Links::open() else { return Vec::new() };
    let attached = status.interfaces.iter().filter(|interface| interface.state == api::Attachment::Attached);
    let traffic = attached.filter_map(|interface| {
        let counted = links.counted(&interface.name).ok()?;
        Some(api::InterfaceTraffic {
            name: interface.name.clone(),
            received_packets: counted.rx_packets,
            received_bytes: counted.rx_bytes,
            received_dropped: counted.rx_dropped.saturating_add(counted.rx_missed_errors),
            sent_packets: counted.tx_packets,
            sent_bytes: counted.tx_bytes,
            sent_dropped: counted.tx_dropped,
        })
    });
    traffic.collect()
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LookupQuery {
    /// An IPv4 or IPv6 address.
    #[param(value_type = Address, example = "198.51.100.10")]
    address: String,
}

#[utoipa::path(
    get,
    path = "/v1/lookup",
    tag = "relay",
    params(LookupQuery),
    responses((status = 200, body = api::Lookup), Refused),
)]
/// What an address translates to, and by which rule.
async fn lookup(
    State(owner): State<Owner>,
    query: Result<Query<LookupQuery>, QueryRejection>,
) -> Result<Json<api::Lookup>, Refusal> {
    let Query(query) = query?;
    let address: IpAddr = query.address.parse().map_err(|_| {
        refusal(Code::Invalid, format!("lookup {}: this is not an IPv4 or IPv6 address", query.address))
    })?;
    owner.lookup(address).await.map(Json)
}

/// Reads a request's body, bounded in length and time.
async fn read(request: Request<Body>) -> Result<Bytes, Refusal> {
    use axum::extract::FromRequest;
    match timeout(BODY_TIME, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(BytesRejection::FailedToBufferBody(error))) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(refusal(Code::TooLarge, format!("the request is longer than {MAX_BODY} bytes")))
        }
        Ok(Err(error)) => Err(refusal(Code::Invalid, format!("the request's body cannot be read: {error}"))),
        Err(_) => {
            Err(refusal(Code::Timeout, format!("the request's body did not arrive in {} seconds", BODY_TIME.as_secs())))
        }
    }
}

async fn metrics_page(State(owner): State<Owner>) -> Response {
    let page = async {
        let (status, counters) = (owner.status().await?, owner.counters().await?);
        let usage = owner.usage_for_metrics().await?;
        let ready = if DataPlane::can_be_tried() { Some(owner.ready().await.is_ok()) } else { None };
        metrics::page(&status, &counters, &usage, ready).map_err(|error| refusal(Code::Failed, error.to_string()))
    };
    match page.await {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{}\n", error.message)).into_response(),
    }
}

fn stats_of(counters: &Counters, uptime_milliseconds: u64) -> api::Stats {
    let mut traffic = Vec::new();
    for direction in Direction::ALL {
        for protocol in Protocol::ALL {
            for verdict in Verdict::ALL {
                let counted = counters.traffic(direction, protocol, verdict);
                traffic.push(api::Traffic {
                    direction: direction.name().to_owned(),
                    protocol: protocol.name().to_owned(),
                    verdict: verdict.name().to_owned(),
                    packets: counted.packets,
                    bytes: counted.bytes,
                });
            }
        }
    }
    let drops = DropReason::ALL.iter().map(|reason| api::Drops {
        reason: reason.name().to_owned(),
        packets: counters.drops(*reason),
        text: reason.text().to_owned(),
    });
    api::Stats {
        uptime_milliseconds,
        traffic,
        drops: drops.collect(),
        icmp_errors_sent: counters.errors_sent,
        icmp_errors_suppressed: counters.errors_suppressed,
        passed_other: counters.passed_other,
        hairpinned: counters.hairpinned,
        route_lookups: counters.route_lookups,
        events_suppressed: counters.events_suppressed,
        interfaces: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::{connection::HEAD_TIME, *};

    /// What a client hears that says exactly `request` and then waits; and after how many seconds the connection ends.
    async fn exchange(request: &str) -> (String, u64) {
        let (mut client, server) = duplex(256 * 1024);
        let router = control(Owner::without_data_plane()).layer(Extension(Author::default()));
        let serving = tokio::spawn(serve(server, router, &CONTROL));
        let start = tokio::time::Instant::now();
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        serving.await.unwrap();
        (answer, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_in_json_what_it_cannot_read() {
        for (request, code, sentence) in [
            ("GET /v1/nothing", "404", "there is no such call"),
            ("PATCH /v1/eam", "405", "this call cannot be made with PATCH"),
            ("GET /v1/eam/history/x", "400", "this is not a revision's number"),
            ("GET /v1/eam/history/9223372036854775808", "400", "the greatest is 9223372036854775807"),
            ("DELETE /v1/eam?prefix=192.0.2.1&if_revision=9223372036854775808", "400", "is not a revision's number"),
            ("GET /v1/lookup", "400", "missing field `address`"),
            ("GET /v1/lookup?address=www", "400", "lookup www: this is not an IPv4 or IPv6 address"),
            ("DELETE /v1/eam?prefix=192.0.2.1/24", "400", "has host bits set"),
        ] {
            let (answer, _) = exchange(&format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{request}: {answer}");
            let body = answer.split_once("\r\n\r\n").unwrap().1;
            let failure: api::Failure = serde_json::from_str(body).unwrap();
            assert!(failure.error.message.contains(sentence), "{request}: {body}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_bodies_that_are_wrong_or_too_long() {
        let post = |body: &str| {
            let head = "POST /v1/eam HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ";
            format!("{head}{}\r\n\r\n{body}", body.len())
        };
        for (body, code, sentence) in [
            ("{", "400", "cannot be read: EOF"),
            (r#"{"ipv4":"192.0.2.1","ipv6":"2001:db8::1","extra":1}"#, "400", "unknown field `extra`"),
            (r#"{"ipv4":"192.0.2.0/24","ipv6":"2001:db8::/126"}"#, "400", "8 suffix bits"),
            (r#"{"ipv4":"192.0.2.1","ipv6":"ff02::1"}"#, "400", "multicast"),
            (r#"{"ipv4":"192.0.2.1","ipv6":"2001:db8::1","comment":"a\nb"}"#, "400", "line break"),
            (&"x".repeat(MAX_BODY + 1), "413", "longer than 65536 bytes"),
        ] {
            let (answer, _) = exchange(&post(body)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{answer}");
            assert!(answer.contains(sentence), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn does_not_wait_for_a_client_that_stalls() {
        for (request, limit) in [
            ("", HEAD_TIME),
            ("GET /v1/sta", HEAD_TIME),
            ("POST /v1/eam HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{", BODY_TIME + HEAD_TIME),
        ] {
            let (_, seconds) = exchange(request).await;
            assert!(seconds <= limit.as_secs() + 1, "{request:?} held the connection for {seconds} seconds");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_files_and_changes_that_are_wrong() {
        let call = |line: &str, body: &str| {
            format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        let too_large = format!("PUT /v1/eam HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", api::MAX_FILE + 1);
        for (request, code, sentence) in [
            (call("PUT /v1/eam?format=xml", ""), "400", "`xml` is not a format"),
            (call("PUT /v1/eam?force=true", ""), "400", "unknown field `force`"),
            (call("PUT /v1/eam", "www"), "400", "eam apply: line 1: "),
            (call("PUT /v1/eam?message=a%0Ab", ""), "400", "the message contains U+000A, a line break"),
            (call("PUT /v1/eam?message=a%E2%80%AEb", ""), "400", "the message contains U+202E, which cannot be seen"),
            (call("PUT /v1/eam", "192.0.2.1,2001:db8::1,a\u{202e}b"), "400", "line 1: the comment contains U+202E"),
            (call("POST /v1/eam/rollback", "{}"), "400", "missing field `revision`"),
            (call("GET /v1/eam/history?entry=www", ""), "400", "is not an IPv4 address or prefix"),
            (call("GET /v1/eam/find?address=192.0.2.0/24", ""), "400", "this is not an IPv4 or IPv6 address"),
            (call("GET /v1/eam/history/%FF", ""), "400", "\"the request's path cannot be read: "),
            (too_large, "413", "the file is longer than 256 MiB"),
        ] {
            let (answer, _) = exchange(&request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{request}: {answer}");
            assert!(answer.contains(sentence), "{request}: {answer}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn no_body_is_taken_that_does_not_say_an_entry(
            body in r#"\{("(ipv4|ipv6|comment|if_revision|message|x)": ?("[0-9a-f.:/]{0,12}"|[0-9]{1,3}|null|\[\]),? ?){0,4}\}?|[ -~]{0,40}"#,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
            for call in ["POST /v1/eam", "POST /v1/eam/rollback", "PUT /v1/eam"] {
                let request = format!(
                    "{call} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let (answer, _) = runtime.block_on(exchange(&request));
                // Nobody is there to do it: what can be read fails, the rest is refused.
                proptest::prop_assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 500 "), "{answer}");
                let failure: api::Failure = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
                proptest::prop_assert!(!failure.error.message.is_empty());
            }
        }
    }
}
