//! What is done beside the changes: moving the log into the database, and keeping a verified copy.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tracing::{error, info, warn};

use super::{
    BACKUP, Doing, StoreError, history, log_of,
    open::{check_pages, connect, put_in_place, read_table},
};

/// Bytes of the log from which on it is moved into the database.
const LOG: u64 = 4 << 20;
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
    loop {
        let message = match due.map(|due| due.saturating_duration_since(Instant::now())) {
            None => inbox.recv().map_err(RecvTimeoutError::from),
            // Whatever waits in the inbox.
            Some(Duration::ZERO) => Err(RecvTimeoutError::Timeout),
            Some(left) => inbox.recv_timeout(left),
        };
        let done = match message {
            Ok(Message::Changed) => {
                due.get_or_insert_with(|| Instant::now() + every);
                move_log(path, &mut connection)
            }
            Ok(Message::BackUp) | Err(RecvTimeoutError::Timeout) => {
                let done = back_up(path);
                due = done.is_err().then(|| Instant::now() + every);
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

fn move_log(path: &Path, connection: &mut Option<Connection>) -> Result<(), StoreError> {
    if fs::metadata(log_of(path)).map_or(0, |metadata| metadata.len()) < LOG {
        return Ok(());
    }
    if connection.is_none() {
        *connection = Some(connect(path, true)?);
    }
    let Some(connection) = connection else { return Ok(()) };
    connection
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()))
        .map_err(|error| StoreError::sqlite(Doing::Write, path, &error))
}

/// Copies the database beside itself, if the copy there is of another revision. Only a copy that is whole takes its place.
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
        return Ok(());
    }
    let new = path.with_file_name("eam.backup.db.new");
    let _ = fs::remove_file(&new);
    copy(&connection, &new).inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })?;
    let version = read_table(&connect(&new, false)?, &new, drop)?;
    put_in_place(&new, &place).map_err(|error| StoreError::io(Doing::Make, &place, &error))?;
    info!("{} is a verified copy of revision {}", place.display(), version.revision);
    Ok(())
}

/// Writes a copy of what a database is at this moment, and reads it again.
pub(super) fn copy(connection: &Connection, to: &Path) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| StoreError::sqlite(Doing::Make, to, &error);
    let text = |path: &Path| path.to_str().map(str::to_owned);
    let name: PathBuf = to.to_owned();
    let name = text(&name).ok_or_else(|| StoreError::new(to, "its path is not UTF-8"))?;
    // SQLite writes into an empty file, but would make one that everybody may read.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    made.map_err(|error| StoreError::io(Doing::Make, to, &error))?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(failed)?;
    let copied = connect(to, false)?;
    check_pages(&copied, to)?;
    history::check(&copied, to)
}
