//! What is done beside the changes: moving the log into the database, forgetting old changes, and keeping a verified copy.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tracing::{error, info, warn};

use super::{
    BACKUP, Doing, StoreError, Version, history, log_of,
    open::{check_pages, connect, put_in_place, read_table, sound},
    owner::give_to_owner,
};
use crate::daemon::memory;

/// Bytes of the log from which on it is moved into the database.
const LOG: u64 = 4 << 20;
/// Old changes that are deleted at a time, and the time between two such pieces: so little and so seldom that hardly a new change
/// waits, and none for long.
pub(super) const PIECE: u64 = 200;
const PAUSE: Duration = Duration::from_millis(200);
/// How long a change is in no copy at most.
pub(super) const EVERY: Duration = Duration::from_secs(3600);
/// How long a stop waits for a copy at most. With 1,000,000 entries it takes about a second.
const STOP: Duration = Duration::from_secs(10);

enum Message {
    Changed,
    BackUp,
}

/// The thread that does it, with a connection of its own, so that no change waits for it.
#[derive(Debug)]
pub(super) struct Keeper {
    messages: Option<Sender<Message>>,
    /// Nothing is ever sent: the thread holds the other end as long as it works.
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// `every`: how long a change is in no copy at most.
    pub(super) fn start(path: &Path, every: Duration) -> Self {
        let (messages, inbox) = mpsc::channel();
        let (working, ended) = mpsc::channel();
        let path = path.to_owned();
        let work = move || {
            let _working: Sender<()> = working;
            keep(&path, &inbox, every);
        };
        let thread = thread::Builder::new().name("store".to_owned()).spawn(work);
        let thread = thread.inspect_err(|error| error!("the store has no keeper: {}", crate::plain(error))).ok();
        Self { messages: Some(messages), ended, thread }
    }

    pub(super) fn changed(&self) {
        self.tell(Message::Changed);
    }

    pub(super) fn back_up(&self) {
        self.tell(Message::BackUp);
    }

    fn tell(&self, message: Message) {
        // A keeper that could not be started has said so.
        let _ = self.messages.as_ref().map(|messages| messages.send(message));
    }
}

impl Drop for Keeper {
    /// Waits for a last copy, of changes that are in none.
    fn drop(&mut self) {
        drop(self.messages.take());
        if self.ended.recv_timeout(STOP) == Err(RecvTimeoutError::Timeout) {
            // Its place is taken only by a copy that is whole, so nothing is spoilt.
            warn!("the copy of the store is not written after {} seconds and is given up", STOP.as_secs());
        } else if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keep(path: &Path, inbox: &Receiver<Message>, every: Duration) {
    let mut connection = None;
    // When changes have to be in a copy; `None`: all are.
    let mut due: Option<Instant> = None;
    // When to look for changes that the history has forgotten; `None`: there are none.
    let mut forgets = Some(Instant::now() + PAUSE);
    loop {
        let next = due.into_iter().chain(forgets).min();
        let message = match next.map(|next| next.saturating_duration_since(Instant::now())) {
            None => inbox.recv().map_err(RecvTimeoutError::from),
            // Whatever waits in the inbox.
            Some(Duration::ZERO) => Err(RecvTimeoutError::Timeout),
            Some(left) => inbox.recv_timeout(left),
        };
        let is_due = due.is_some_and(|due| due <= Instant::now());
        let done = match message {
            Ok(Message::Changed) => {
                due.get_or_insert_with(|| Instant::now() + every);
                forgets.get_or_insert_with(|| Instant::now() + PAUSE);
                move_log(path, &mut connection)
            }
            Err(RecvTimeoutError::Timeout) if !is_due => {
                let more = forget(path, &mut connection);
                forgets = more.as_ref().is_ok_and(|more| *more).then(|| Instant::now() + PAUSE);
                more.and_then(|_| move_log(path, &mut connection))
            }
            Ok(Message::BackUp) | Err(RecvTimeoutError::Timeout) => {
                let done = back_up(path);
                due = done.is_err().then(|| Instant::now() + every);
                memory::give_back();
                done
            }
            Err(RecvTimeoutError::Disconnected) => {
                if due.is_some()
                    && let Err(error) = back_up(path)
                {
                    error!("{error}");
                }
                return;
            }
        };
        if let Err(error) = done {
            error!("{error}");
        }
    }
}

/// The keeper's connection, made when it is needed first.
fn open<'keeper>(path: &Path, connection: &'keeper mut Option<Connection>) -> Result<&'keeper Connection, StoreError> {
    Ok(match connection {
        Some(connection) => connection,
        None => {
            let new = connect(path, true)?;
            // What it writes need not be durable before the next change is, and hardly a change waits for its disk.
            let eased = new.execute_batch("PRAGMA synchronous = NORMAL");
            eased.map_err(|error| StoreError::sqlite(Doing::Open, path, &error))?;
            connection.insert(new)
        }
    })
}

fn move_log(path: &Path, connection: &mut Option<Connection>) -> Result<(), StoreError> {
    if fs::metadata(log_of(path)).map_or(0, |metadata| metadata.len()) < LOG {
        return Ok(());
    }
    open(path, connection)?
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()))
        .map_err(|error| StoreError::sqlite(Doing::Write, path, &error))
}

/// Deletes some changes of revisions that the history has forgotten. Gives whether there are more.
fn forget(path: &Path, connection: &mut Option<Connection>) -> Result<bool, StoreError> {
    let connection = open(path, connection)?;
    let forgotten = "FROM change WHERE revision < (SELECT min(revision) FROM revision)";
    let failed = |error: rusqlite::Error| StoreError::sqlite(Doing::Write, path, &error);
    let is_there = connection
        .prepare_cached(&format!("SELECT EXISTS (SELECT 1 {forgotten})"))
        .and_then(|mut exists| exists.query_row((), |row| row.get(0)));
    if !is_there.map_err(failed)? {
        // Gone through, and not needed again for long.
        connection.execute_batch("PRAGMA shrink_memory").map_err(failed)?;
        return Ok(false);
    }
    let piece =
        format!("DELETE FROM change WHERE (revision, number) IN (SELECT revision, number {forgotten} LIMIT ?1)");
    let deleted = connection.prepare_cached(&piece).and_then(|mut forget| forget.execute([PIECE]));
    deleted.map(|deleted| deleted as u64 == PIECE).map_err(failed)
}

/// Copies the database beside itself, if the copy there is of another revision or cannot be read any more. Only a copy whose
/// table is sound takes its place.
fn back_up(path: &Path) -> Result<(), StoreError> {
    let place = path.with_file_name(BACKUP);
    let connection = connect(path, false)?;
    let latest = |connection: &Connection| {
        connection
            .query_row("SELECT max(revision) FROM revision", (), |row| row.get::<_, Option<u64>>(0))
            .ok()
            .flatten()
    };
    let present = connect(&place, false).ok().and_then(|copy| latest(&copy));
    if present.is_some() && present == latest(&connection) {
        if sound(&place).is_some() {
            return Ok(());
        }
        warn!("the copy {} has become unreadable and is made anew", place.display());
    }
    let new = path.with_file_name("eam.backup.db.new");
    let _ = fs::remove_file(&new);
    let copied = copy(&connection, path, &new).inspect_err(|_| {
        let _ = fs::remove_file(&new);
    });
    let Copied { version, history } = copied?;
    put_in_place(&new, &place).map_err(|error| StoreError::io(Doing::Make, &place, &error))?;
    info!("{} is a verified copy of revision {}", place.display(), version.revision);
    if let Some(damage) = history {
        error!(
            "{damage}; the table is sound, and so is its copy: but `eam history`, and a rollback to before that revision, are \
             refused until it is forgotten, which a change after a restart with `[state] history = 0` does"
        );
    }
    Ok(())
}

/// What has been copied.
pub(super) struct Copied {
    /// Of the table, which is sound.
    pub(super) version: Version,
    /// What is wrong with the history, in the copy as in the database.
    pub(super) history: Option<StoreError>,
}

/// Writes a copy of what a database, whose file is `from`, is at this moment, and reads it again.
pub(super) fn copy(connection: &Connection, from: &Path, to: &Path) -> Result<Copied, StoreError> {
    let failed = |error: rusqlite::Error| StoreError::sqlite(Doing::Make, to, &error);
    let name = to.to_str().ok_or_else(|| StoreError::new(to, "its path is not UTF-8"))?;
    // SQLite writes into an empty file, but would make one that everybody may read.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    made.map_err(|error| StoreError::io(Doing::Make, to, &error))?;
    give_to_owner(to)?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(failed)?;
    let copied = connect(to, false)?;
    check_pages(&copied, to)?;
    let version = read_table(&copied, to, drop)?;
    let history = match history::check(&copied, to) {
        Ok(()) => None,
        // What is wrong only in the copy is a copy that has failed.
        Err(error) => Some(history::check(connection, from).err().ok_or(error)?),
    };
    Ok(Copied { version, history })
}
