//! The calls that change the table as a whole.

use std::{convert::Infallible, future::Future, sync::mpsc};

use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{Query, State, rejection::QueryRejection},
    http::{Request, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::oneshot,
    task::{self, JoinHandle},
};
use utoipa::IntoParams;

use super::{
    eams::{ask, blocking, revision},
    openapi::{EamFile, Refused},
    read, upload,
};
use crate::{
    api::{self, Applied, Code, LINES},
    daemon::{
        author::Author,
        memory::GiveBack,
        owner::{Manner, Owner, Refusal, Tell, refusal},
    },
    eam_file::{self, Format},
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ApplyQuery {
    /// Format of the file; recognized when it is not given.
    #[param(value_type = Option<Format>)]
    format: Option<String>,
    /// Only tell what would change.
    #[serde(default)]
    dry_run: bool,
    /// Tell what will change before it does: the answer is two lines of JSON then, unless it is refused at once or nothing is to
    /// change. The first is what a dry run would answer, the second the outcome without the changes, or an error.
    #[serde(default)]
    difference_first: bool,
    /// What the history shall say of the change: one line of at most 256 bytes.
    #[serde(default)]
    message: String,
    /// Only if the table is at this revision.
    if_revision: Option<u64>,
}

#[utoipa::path(
    put,
    path = "/v1/eam",
    tag = "table",
    params(ApplyQuery),
    request_body(
        content((String = "text/csv"), (EamFile = "application/json"), (String = "application/toml")),
        description = "A table; at most 256 MiB."
    ),
    responses(
        (status = 200, content((Applied = "application/json"), (String = "application/x-ndjson"))),
        Refused
    ),
)]
/// Makes the entries that were added by command those of a file, in one step.
pub(super) async fn eam_apply(
    State(owner): State<Owner>,
    Extension(author): Extension<Author>,
    query: Result<Query<ApplyQuery>, QueryRejection>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let Query(query) = query?;
    let invalid = |text: String| refusal(Code::Invalid, format!("eam apply: {text}"));
    let format: Option<Format> = query.format.map(|text| text.parse().map_err(invalid)).transpose()?;
    let ask = ask(author, query.message, query.if_revision).await?;
    let memory = GiveBack;
    let (file, room) = upload::read_file(request).await?;
    let lines = blocking(move || eam_file::parse(&file, format)).await?;
    let lines = lines.map_err(|error| invalid(error.to_string()))?;
    let change = async move |manner| {
        let applied = owner.apply(lines, manner, ask).await;
        drop((room, memory));
        applied
    };
    answer(query.dry_run, query.difference_first, change).await
}

#[utoipa::path(
    post,
    path = "/v1/eam/rollback",
    tag = "table",
    request_body = api::Rollback,
    responses(
        (status = 200, content((Applied = "application/json"), (String = "application/x-ndjson"))),
        Refused
    ),
)]
/// Makes the table what it was after an earlier change.
pub(super) async fn eam_rollback(
    State(owner): State<Owner>,
    Extension(author): Extension<Author>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let body = read(request).await?;
    let asked: api::Rollback = serde_json::from_slice(&body)
        .map_err(|error| refusal(Code::Invalid, format!("the request's body cannot be read: {error}")))?;
    let ask = ask(author, asked.message, asked.if_revision).await?;
    let revision = revision(asked.revision)?;
    let change = async move |manner| owner.roll_back(revision, manner, ask).await;
    answer(asked.dry_run, asked.difference_first, change).await
}

/// Has the change made, and answers. With `difference_first` what will change goes out as a line before what has changed.
async fn answer<Outcome>(
    dry_run: bool,
    difference_first: bool,
    change: impl FnOnce(Manner) -> Outcome,
) -> Result<Response, Refusal>
where
    Outcome: Future<Output = Result<Applied, Refusal>> + Send + 'static,
{
    if !difference_first {
        // What it holds is given back when it has been done, also if the client goes away meanwhile.
        let outcome = tokio::spawn(change(Manner { dry_run, tell: None }));
        return joined(outcome).await.map(|applied| Json(applied).into_response());
    }
    let (tell, told) = oneshot::channel();
    let (on_its_way, sent) = mpsc::sync_channel(1);
    let outcome = tokio::spawn(change(Manner { dry_run, tell: Some(Tell { difference: tell, sent }) }));
    let Ok(difference) = told.await else {
        return joined(outcome).await.map(|applied| Json(applied).into_response());
    };
    let last = async move {
        // The server asks for this when it has taken the first line, and writes that once it has to wait for more.
        task::yield_now().await;
        let _ = on_its_way.try_send(());
        match joined(outcome).await {
            Ok(applied) => line(&Applied { changes: Vec::new(), ..applied }),
            Err(error) => line(&api::Failure { error }),
        }
    };
    let lines = stream::iter([line(&difference)]).chain(stream::once(last)).map(Ok::<_, Infallible>);
    Ok(([(header::CONTENT_TYPE, LINES)], Body::from_stream(lines)).into_response())
}

async fn joined(outcome: JoinHandle<Result<Applied, Refusal>>) -> Result<Applied, Refusal> {
    outcome.await.unwrap_or_else(|_| Err(refusal(Code::Failed, "the daemon's task for this ended")))
}

fn line(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(value).expect("an answer has only string keys");
    text.push(b'\n');
    text.into()
}
