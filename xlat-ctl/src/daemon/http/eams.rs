//! The calls that show and change the table of explicit address mappings.

use std::{fmt::Display, net::IpAddr};

use axum::{
    Extension, Json,
    body::Body,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{Request, StatusCode},
    response::Response,
};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use utoipa::IntoParams;

use super::{
    openapi::{self, Address, Refused},
    pieces::Text,
    read,
    scarce::Scarce,
};
use crate::{
    api::{self, Code},
    daemon::{
        author::Author,
        owner::{Ask, Owner, Prefix, Refusal, refusal},
        store::StoreError,
    },
    eam::{self, Entry, Origin, Pair},
};

/// Revisions that are shown when nothing else is said, and at most.
const REVISIONS: (usize, usize) = (50, 10_000);
/// Answers with revisions that are there at a time, some 50 MB each at most.
static SHOWN: Scarce = Scarce::new(4);

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    spawn_blocking(work).await.map_err(|_| refusal(Code::Failed, "the daemon's thread for this ended"))
}

/// Completes who asks: the name of a user may have to come from another machine.
pub(super) async fn ask(author: Author, message: String, if_revision: Option<u64>) -> Result<Ask, Refusal> {
    eam::check_words("message", &message).map_err(|text| refusal(Code::Invalid, text))?;
    let if_revision = if_revision.map(revision).transpose()?;
    let author = match author.named_lately() {
        Some(author) => author,
        None => blocking(|| author.named()).await?,
    };
    Ok(Ask { author, message, if_revision })
}

/// Checks the number of a revision: the store counts them in 63 bits.
pub(super) fn revision(number: u64) -> Result<u64, Refusal> {
    if i64::try_from(number).is_err() {
        return Err(refusal(
            Code::Invalid,
            format!("{number} is not a revision's number: the greatest is {}", i64::MAX),
        ));
    }
    Ok(number)
}

#[utoipa::path(
    post,
    path = "/v1/eam",
    tag = "table",
    request_body = api::EamAdd,
    responses((status = 201, body = api::EamAdded), Refused),
)]
/// Adds an entry. When it is answered, the entry is durable and in force in both directions.
pub(super) async fn eam_add(
    State(owner): State<Owner>,
    Extension(author): Extension<Author>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<api::EamAdded>), Refusal> {
    let body = read(request).await?;
    let add: api::EamAdd = serde_json::from_slice(&body)
        .map_err(|error| refusal(Code::Invalid, format!("the request's body cannot be read: {error}")))?;
    let entry =
        entry_of(&add).map_err(|text| refusal(Code::Invalid, format!("eam add {} {}: {text}", add.ipv4, add.ipv6)))?;
    let added = owner.add(entry, ask(author, add.message, add.if_revision).await?).await?;
    Ok((StatusCode::CREATED, Json(added)))
}

fn entry_of(add: &api::EamAdd) -> Result<Entry, String> {
    let ipv4 = eam::parse_ipv4(&add.ipv4).map_err(|error| error.to_string())?;
    let ipv6 = eam::parse_ipv6(&add.ipv6).map_err(|error| error.to_string())?;
    eam::check_comment(&add.comment)?;
    Ok(Entry { pair: Pair::new(ipv4, ipv6)?, comment: add.comment.as_str().into(), origin: Origin::Dynamic })
}

pub(super) fn parse_prefix(text: &str) -> Result<Prefix, String> {
    let prefix = if text.contains(':') {
        eam::parse_ipv6(text).map(Prefix::Ipv6)
    } else {
        eam::parse_ipv4(text).map(Prefix::Ipv4)
    };
    prefix.map_err(|error| error.to_string())
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DelQuery {
    /// IPv4 or IPv6 prefix of the entry; a single address without a length.
    #[param(value_type = openapi::Prefix, example = "198.51.100.11")]
    prefix: String,
    /// What the history shall say of the change: one line of at most 256 bytes.
    #[serde(default)]
    message: String,
    /// Only if the table is at this revision.
    if_revision: Option<u64>,
}

#[utoipa::path(
    delete,
    path = "/v1/eam",
    tag = "table",
    params(DelQuery),
    responses((status = 200, body = api::EamDeleted), Refused),
)]
/// Deletes an entry that was added by command.
pub(super) async fn eam_del(
    State(owner): State<Owner>,
    Extension(author): Extension<Author>,
    query: Result<Query<DelQuery>, QueryRejection>,
) -> Result<Json<api::EamDeleted>, Refusal> {
    let Query(query) = query?;
    let prefix = parse_prefix(&query.prefix).map_err(|text| refusal(Code::Invalid, format!("eam del: {text}")))?;
    owner.remove(prefix, ask(author, query.message, query.if_revision).await?).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FindQuery {
    /// An IPv4 or IPv6 address.
    #[param(value_type = Address, example = "198.51.100.10")]
    address: String,
}

#[utoipa::path(
    get,
    path = "/v1/eam/find",
    tag = "table",
    params(FindQuery),
    responses((status = 200, body = api::EamList), Refused),
)]
/// The entries that cover an address, longest first.
pub(super) async fn eam_find(
    State(owner): State<Owner>,
    query: Result<Query<FindQuery>, QueryRejection>,
) -> Result<Json<api::EamList>, Refusal> {
    let Query(FindQuery { address }) = query?;
    let address: IpAddr = address
        .parse()
        .map_err(|_| refusal(Code::Invalid, format!("eam find {address}: this is not an IPv4 or IPv6 address")))?;
    owner.find(address).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Only changes of the entries with this IPv4 or IPv6 prefix.
    #[param(value_type = Option<openapi::Prefix>)]
    entry: Option<String>,
    /// How many changes: 50 when it is not given, 10000 at most.
    limit: Option<usize>,
}

#[utoipa::path(
    get,
    path = "/v1/eam/history",
    tag = "history",
    params(HistoryQuery),
    responses((status = 200, body = api::History), Refused),
)]
/// The latest changes of the table, newest first.
pub(super) async fn eam_history(
    State(owner): State<Owner>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query?;
    let prefix = query.entry.as_deref().map(parse_prefix).transpose();
    let prefix = prefix.map_err(|text| refusal(Code::Invalid, format!("eam history: {text}")))?;
    let reader = owner.history()?;
    let limit = query.limit.unwrap_or(REVISIONS.0).min(REVISIONS.1);
    shown("eam history", move || reader.revisions(prefix, limit).map(|revisions| Some(api::History { revisions })))
        .await
}

/// Answers with what `read` finds in the history.
async fn shown<T: Serialize>(
    verb: impl Display,
    read: impl FnOnce() -> Result<Option<T>, StoreError> + Send + 'static,
) -> Result<Response, Refusal> {
    let place = SHOWN.acquire(1).await.map_err(|_| refusal(Code::Failed, "the daemon is stopping"))?;
    let text = |shown: T| serde_json::to_vec(&shown).expect("all keys are strings");
    let read = blocking(move || read().map(|shown| shown.map(text))).await?;
    let shown = read.map_err(|error| refusal(Code::Failed, format!("{verb}: {error}")))?;
    let missing = || refusal(Code::NotFound, format!("{verb}: the history has no such revision"));
    Ok(Text::answer(&SHOWN, shown.ok_or_else(missing)?, place))
}

#[utoipa::path(
    get,
    path = "/v1/eam/history/{revision}",
    tag = "history",
    params(("revision" = u64, Path, description = "Number of the change.")),
    responses((status = 200, body = api::Revision), Refused),
)]
/// One change of the table with the entries that it changed.
pub(super) async fn eam_show(
    State(owner): State<Owner>,
    text: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path(text) = text?;
    let number: u64 = text
        .parse()
        .map_err(|_| refusal(Code::Invalid, format!("eam show {text}: this is not a revision's number")))?;
    let number = revision(number)?;
    let reader = owner.history()?;
    shown(format!("eam show {number}"), move || reader.show(number)).await
}
