//! Reading what was changed when and by whom.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row, params};

use super::{Checksum, Doing, Store, StoreError, checksum, entry_of, open::connect, schema::Revision};
use crate::{
    api,
    daemon::{owner::Prefix, time},
    eam::{Comment, Entry, Origin, Pair},
};

/// Changes of one revision that are shown at most.
const MOST_CHANGES: usize = 100_000;

/// One change of an entry, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::daemon) struct Step {
    pub(in crate::daemon) kind: api::ChangeKind,
    /// What was added, removed, or is there after the change.
    pub(in crate::daemon) entry: Entry,
    /// The comment before, where that changed.
    pub(in crate::daemon) before: Option<String>,
}

/// Reads the history with a connection of its own, so that no change waits for it.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Reader {
    path: PathBuf,
}

impl Reader {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The latest revisions, newest first; those only that changed an entry with this prefix, if one is given.
    pub(in crate::daemon) fn revisions(
        &self,
        prefix: Option<Prefix>,
        limit: usize,
    ) -> Result<Vec<api::Revision>, StoreError> {
        let connection = self.at_one_moment()?;
        let read = || -> rusqlite::Result<Vec<(Revision, bool)>> {
            let columns = Revision::COLUMNS;
            match prefix {
                None => {
                    let query = format!("SELECT {columns} FROM revision ORDER BY revision DESC LIMIT ?1");
                    connection.prepare(&query)?.query_map([limit as u64], Revision::read)?.collect()
                }
                Some(prefix) => {
                    let (column, text) = prefix.column();
                    let query = format!(
                        "SELECT {columns} FROM revision WHERE revision IN (SELECT revision FROM change WHERE {column} = ?1) \
                         ORDER BY revision DESC LIMIT ?2"
                    );
                    connection.prepare(&query)?.query_map(params![text, limit as u64], Revision::read)?.collect()
                }
            }
        };
        let revisions = read().map_err(|error| StoreError::sqlite(Doing::Read, &self.path, &error))?;
        let mut shown = Vec::with_capacity(revisions.len());
        for (revision, right) in revisions {
            self.expect(right, revision.revision)?;
            let mut one = public(&revision);
            if prefix.is_some() {
                self.tell_changes(&connection, &revision, prefix, &mut one)?;
            }
            shown.push(one);
        }
        Ok(shown)
    }

    /// One revision with its changes; `None`: there is none, or none any more.
    pub(in crate::daemon) fn show(&self, number: u64) -> Result<Option<api::Revision>, StoreError> {
        let failed = |error: rusqlite::Error| StoreError::sqlite(Doing::Read, &self.path, &error);
        let connection = self.at_one_moment()?;
        let query = format!("SELECT {} FROM revision WHERE revision = ?1", Revision::COLUMNS);
        let (revision, right) = match connection.query_row(&query, [number], Revision::read) {
            Err(rusqlite::Error::QueryReturnedNoRows) => return Ok(None),
            other => other.map_err(failed)?,
        };
        self.expect(right, number)?;
        let mut shown = public(&revision);
        self.tell_changes(&connection, &revision, None, &mut shown)?;
        Ok(Some(shown))
    }

    /// Adds a revision's changes, or those of one entry.
    fn tell_changes(
        &self,
        connection: &Connection,
        revision: &Revision,
        prefix: Option<Prefix>,
        shown: &mut api::Revision,
    ) -> Result<(), StoreError> {
        let steps = Steps::read(connection, revision.revision, prefix, MOST_CHANGES)
            .map_err(|error| StoreError::sqlite(Doing::Read, &self.path, &error))?;
        self.expect(steps.sum == revision.changes_sum, revision.revision)?;
        shown.omitted = steps.matching - steps.first.len() as u64;
        shown.changes = steps.first.into_iter().map(api::Change::from).collect();
        Ok(())
    }

    /// A connection that sees what is there now: what is changed or forgotten meanwhile is not in it.
    fn at_one_moment(&self) -> Result<Connection, StoreError> {
        let connection = connect(&self.path, false)?;
        let begun = connection.execute_batch("BEGIN");
        begun.map_err(|error| StoreError::sqlite(Doing::Read, &self.path, &error))?;
        Ok(connection)
    }

    fn expect(&self, right: bool, revision: u64) -> Result<(), StoreError> {
        let wrong =
            || StoreError::damaged(&self.path, format!("the checksum of revision {revision} in its history is wrong"));
        right.then_some(()).ok_or_else(wrong)
    }
}

impl Store {
    /// The revisions from which a rollback can start: the oldest that is remembered, and the latest.
    pub(in crate::daemon) fn remembered(&self) -> Result<(u64, u64), StoreError> {
        self.connection
            .query_row("SELECT min(revision), max(revision) FROM revision", (), |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(|error| StoreError::sqlite(Doing::Read, &self.path, &error))
    }

    /// Whether the history tells of this revision. A restore leaves a gap in the numbers.
    pub(in crate::daemon) fn has(&self, revision: u64) -> Result<bool, StoreError> {
        self.connection
            .query_row("SELECT count(*) FROM revision WHERE revision = ?1", [revision], |row| row.get(0))
            .map_err(|error| StoreError::sqlite(Doing::Read, &self.path, &error))
    }

    /// Whether a revision is a restore, before which there was another table.
    pub(in crate::daemon) fn is_restore(&self, revision: u64) -> Result<bool, StoreError> {
        self.connection
            .query_row("SELECT count(*) FROM revision WHERE revision = ?1 AND verb = 'restore'", [revision], |row| {
                row.get(0)
            })
            .map_err(|error| StoreError::sqlite(Doing::Read, &self.path, &error))
    }

    /// What was changed in dynamic entries after a revision, the latest first. Every checksum is right.
    pub(in crate::daemon) fn since(&self, revision: u64) -> Result<Vec<Step>, StoreError> {
        let failed = |error: rusqlite::Error| StoreError::sqlite(Doing::Read, &self.path, &error);
        let damaged = |what: String| Err(StoreError::damaged(&self.path, what));
        let query = format!("SELECT {} FROM revision WHERE revision = ?1", Revision::COLUMNS);
        let mut all = Vec::new();
        // A restore leaves a gap in the numbers before its own.
        let mut may_be_missing = false;
        for number in (revision + 1..=self.version.revision).rev() {
            let (revision, right) = match self.connection.query_row(&query, [number], Revision::read) {
                Err(rusqlite::Error::QueryReturnedNoRows) if may_be_missing => continue,
                Err(rusqlite::Error::QueryReturnedNoRows) => {
                    return damaged(format!("revision {number} is missing in its history"));
                }
                other => other.map_err(failed)?,
            };
            may_be_missing = revision.verb == "restore";
            let steps = Steps::read(&self.connection, number, None, usize::MAX).map_err(failed)?;
            if !right || steps.sum != revision.changes_sum {
                return damaged(format!("the checksum of revision {number} in its history is wrong"));
            }
            let dynamic = steps.first.into_iter().filter(|step| step.entry.origin == Origin::Dynamic);
            all.extend(dynamic.rev());
        }
        Ok(all)
    }
}

/// Checks every revision and every change that is remembered.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| StoreError::sqlite(Doing::Read, path, &error);
    let query = format!("SELECT {} FROM revision", Revision::COLUMNS);
    let mut statement = connection.prepare(&query).map_err(failed)?;
    for row in statement.query_map((), Revision::read).map_err(failed)? {
        let (revision, right) = row.map_err(failed)?;
        let mut sum = Checksum::default();
        let mut steps = connection.prepare_cached(STEPS).map_err(failed)?;
        let mut rows = steps.query([revision.revision]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            sum.add(sum_of(row).map_err(failed)?);
        }
        if !right || sum != revision.changes_sum {
            let what = format!("the checksum of revision {} in its history is wrong", revision.revision);
            return Err(StoreError::damaged(path, what));
        }
    }
    Ok(())
}

const STEPS: &str =
    "SELECT number, kind, ipv4, ipv6, comment, comment_before FROM change WHERE revision = ?1 ORDER BY number";

fn sum_of(row: &Row<'_>) -> rusqlite::Result<u64> {
    let text = |index: usize| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
    let before = row.get_ref(5)?.as_str_or_null().map_err(rusqlite::Error::from)?;
    Ok(checksum::change(row.get(0)?, text(1)?, text(2)?, text(3)?, text(4)?, before))
}

/// The changes of a revision.
struct Steps {
    /// Those that are wanted, up to a limit.
    first: Vec<Step>,
    /// All that are wanted.
    matching: u64,
    /// Of all the revision's changes, wanted or not.
    sum: Checksum,
}

impl Steps {
    /// Reads them, those of the entry with this prefix if one is given.
    fn read(connection: &Connection, revision: u64, prefix: Option<Prefix>, limit: usize) -> rusqlite::Result<Self> {
        let wanted = prefix.map(Prefix::column);
        let mut statement = connection.prepare_cached(STEPS)?;
        let mut rows = statement.query([revision])?;
        let mut steps = Self { first: Vec::new(), matching: 0, sum: Checksum::default() };
        while let Some(row) = rows.next()? {
            steps.sum.add(sum_of(row)?);
            if let Some((column, text)) = &wanted
                && row.get_ref(*column)?.as_str()? != text
            {
                continue;
            }
            steps.matching += 1;
            if steps.first.len() < limit {
                steps.first.push(step_of(row)?);
            }
        }
        Ok(steps)
    }
}

fn step_of(row: &Row<'_>) -> rusqlite::Result<Step> {
    let text = |index: usize| row.get::<_, String>(index);
    let kind = text(1)?;
    let (kind, origin) = match kind.strip_prefix("static ") {
        Some(kind) => (kind, Origin::Static),
        None => (kind.as_str(), Origin::Dynamic),
    };
    let kind = match kind {
        "+" => api::ChangeKind::Added,
        "-" => api::ChangeKind::Removed,
        _ => api::ChangeKind::Changed,
    };
    let entry = entry_of(&text(2)?, &text(3)?, &text(4)?)
        .map_err(|text| rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, text.into()))?;
    Ok(Step { kind, entry: Entry { origin, ..entry }, before: row.get(5)? })
}

fn public(revision: &Revision) -> api::Revision {
    api::Revision {
        revision: revision.revision,
        time: time::utc(revision.time),
        author: api::Author { uid: revision.uid, user: revision.user.clone(), pid: revision.pid },
        verb: revision.verb.clone(),
        message: revision.message.clone(),
        added: revision.added,
        removed: revision.removed,
        changed: revision.changed,
        entries: revision.entries,
        changes: Vec::new(),
        omitted: 0,
    }
}

impl From<Step> for api::Change {
    fn from(step: Step) -> Self {
        let Entry { pair, comment, origin } = step.entry;
        Self {
            kind: step.kind,
            ipv4: pair.ipv4(),
            ipv6: pair.ipv6(),
            origin,
            comment: comment.into(),
            comment_before: step.before,
        }
    }
}

impl Step {
    /// The entry as it was before the change; `None`: it was not there.
    pub(in crate::daemon) fn undone(self) -> (Pair, Option<Comment>) {
        let pair = self.entry.pair;
        debug_assert_eq!(self.entry.origin, Origin::Dynamic);
        match self.kind {
            api::ChangeKind::Added => (pair, None),
            api::ChangeKind::Removed => (pair, Some(self.entry.comment)),
            api::ChangeKind::Changed => (pair, self.before.map(Comment::from)),
        }
    }
}
