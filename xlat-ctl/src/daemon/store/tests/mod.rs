mod copies;
mod damage;

use std::{
    os::unix::fs::{FileExt, PermissionsExt},
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    api::ChangeKind,
    daemon::owner::Prefix,
    eam::{Origin, parse_ipv4, parse_ipv6},
};

const HISTORY: u64 = 1000;

fn entry(number: u32, comment: &str) -> Entry {
    let ipv4 = parse_ipv4(&std::net::Ipv4Addr::from_bits(0xc633_6400 + number).to_string()).unwrap();
    let ipv6 = parse_ipv6(&format!("2001:db8:5e1::{number:x}")).unwrap();
    Entry { pair: Pair::new(ipv4, ipv6).unwrap(), comment: comment.into(), origin: Origin::Dynamic }
}

fn prepare(store: &mut Store, difference: &Difference) -> Result<u64, StoreError> {
    let author = Author { uid: Some(0), user: "root".to_owned(), pid: Some(1) };
    store.prepare(&Change { verb: "apply", origin: Origin::Dynamic, author: &author, message: "a test", difference })
}

fn change(store: &mut Store, difference: &Difference) -> u64 {
    let revision = prepare(store, difference).unwrap();
    store.commit().unwrap();
    revision
}

fn additions(entries: impl IntoIterator<Item = Entry>) -> Difference {
    Difference { added: entries.into_iter().collect(), ..Difference::default() }
}

fn add(store: &mut Store, entries: impl IntoIterator<Item = Entry>) -> u64 {
    change(store, &additions(entries))
}

/// A store with 300 entries in three revisions, closed.
fn filled() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, entries) = open(directory.path(), HISTORY).unwrap();
    assert!(entries.is_empty());
    for hundred in 0..3 {
        add(&mut store, (0..100).map(|number| entry(hundred * 100 + number, "an entry's comment")));
    }
    directory
}

/// The files of a store that is open, as they are at this moment: what `kill -9` leaves.
fn as_after_a_kill(directory: &tempfile::TempDir) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in [DATABASE, "eam.db-wal", witness::NAME, BACKUP] {
        fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
    }
    copy
}

fn open(directory: &Path, history: u64) -> Result<(Store, Vec<Entry>), StoreError> {
    Store::open(Claim::new(directory)?, history)
}

fn refused(directory: &Path) -> String {
    open(directory, HISTORY).map(|_| "it was opened").unwrap_err().to_string()
}

/// The latest revision in the copy; `None`: there is no copy.
fn copied(directory: &Path) -> Option<u64> {
    let copy = open::connect(&directory.join(BACKUP), false).ok()?;
    open::read_table(&copy, Path::new(BACKUP), drop).ok().map(|version| version.revision)
}

#[test]
fn keeps_what_was_committed_and_forgets_what_was_abandoned() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    assert_eq!(add(&mut store, [entry(1, "one"), entry(2, "")]), 1);
    let removal = Difference { removed: vec![entry(2, "")], ..Difference::default() };
    assert_eq!(change(&mut store, &removal), 2);
    let comment = Difference { changed: vec![(entry(1, "uno"), "one".into())], ..Difference::default() };
    assert_eq!(change(&mut store, &comment), 3);
    assert_eq!(prepare(&mut store, &additions([entry(9, "")])).unwrap(), 4);
    store.abandon();
    drop(store);
    let (store, entries) = open(directory.path(), HISTORY).unwrap();
    assert_eq!((store.revision(), entries), (3, vec![entry(1, "uno")]));
}

#[test]
fn lets_one_daemon_have_a_directory() {
    let directory = filled();
    let _open = open(directory.path(), HISTORY).unwrap();
    let said = refused(directory.path());
    assert!(said.contains(&format!("belongs to another daemon (pid {})", std::process::id())), "{said}");
}

#[test]
fn tells_the_history_newest_first_and_of_one_entry() {
    let directory = filled();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    change(&mut store, &Difference { removed: vec![entry(7, "an entry's comment")], ..Difference::default() });
    let reader = store.reader();
    let numbers =
        |limit| -> Vec<u64> { reader.revisions(None, limit).unwrap().iter().map(|one| one.revision).collect() };
    assert_eq!(numbers(10), [4, 3, 2, 1, 0]);
    assert_eq!(numbers(2), [4, 3]);
    let of_one = reader.revisions(Some(Prefix::Ipv6(entry(7, "").pair.ipv6())), 10).unwrap();
    let kinds: Vec<(u64, ChangeKind)> = of_one.iter().map(|one| (one.revision, one.changes[0].kind)).collect();
    assert_eq!(kinds, [(4, ChangeKind::Removed), (1, ChangeKind::Added)]);
    let shown = reader.show(2).unwrap().unwrap();
    assert_eq!((shown.author.user.as_str(), shown.message.as_str(), shown.changes.len()), ("root", "a test", 100));
    assert!(reader.show(5).unwrap().is_none());
    assert_eq!(store.since(2).unwrap().len(), 101);
}

#[test]
fn the_history_forgets_the_oldest_changes_first() {
    let directory = filled();
    let (mut store, _) = open(directory.path(), 150).unwrap();
    add(&mut store, [entry(999, "")]);
    assert_eq!(store.remembered().unwrap(), (3, 4));
    add(&mut store, (1000..1500).map(|number| entry(number, "")));
    assert_eq!(store.remembered().unwrap(), (5, 5));
    drop(store);
    let (store, entries) = open(directory.path(), 150).unwrap();
    assert_eq!((store.revision(), entries.len()), (5, 801));
}

/// What a daemon has in force and its store has not, as when a change could be neither kept nor taken back.
#[test]
fn a_change_of_what_the_store_has_not_is_refused() {
    let directory = filled();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    let removed = |entry: Entry| Difference { removed: vec![entry], ..Difference::default() };
    let changed = |entry: Entry| Difference { changed: vec![(entry, "old".into())], ..Difference::default() };
    let elsewhere =
        Entry { pair: Pair::new(entry(7, "").pair.ipv4(), entry(999, "").pair.ipv6()).unwrap(), ..entry(7, "") };
    for difference in [
        removed(entry(999, "")),
        removed(entry(7, "another comment")),
        removed(Entry { comment: "an entry's comment".into(), ..elsewhere.clone() }),
        changed(entry(999, "new")),
        changed(entry(7, "new")),
        changed(elsewhere),
        additions([entry(7, "is there already")]),
    ] {
        let said = prepare(&mut store, &difference).unwrap_err().to_string();
        assert!(said.contains("does not have the entries that this daemon has in force"), "{said}");
    }
    add(&mut store, [entry(999, "")]);
    drop(store);
    assert_eq!(open(directory.path(), HISTORY).unwrap().1.len(), 301, "its checksum is right");
}

#[test]
fn many_forgotten_changes_go_in_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let many = u32::try_from(AT_ONCE + 3 * backup::PIECE).unwrap();
    let (mut store, _) = open(directory.path(), many.into()).unwrap();
    add(&mut store, (0..many).map(|number| entry(number, "")));
    let left = |store: &Store| -> u64 {
        store.connection.query_row("SELECT count(*) FROM change WHERE revision = 1", (), |row| row.get(0)).unwrap()
    };
    assert_eq!(add(&mut store, [entry(many, "")]), 2);
    assert_eq!(store.remembered().unwrap(), (2, 2));
    assert!(store.reader().show(1).unwrap().is_none());
    let begin = Instant::now();
    while left(&store) > 0 {
        assert!(begin.elapsed() < Duration::from_secs(60), "{} changes are left", left(&store));
        thread::sleep(Duration::from_millis(20));
    }
    add(&mut store, [entry(many + 1, "")]);
    drop(store);
    assert_eq!(open(directory.path(), HISTORY).unwrap().1.len(), many as usize + 2);
}

/// Started once by hand as root, then as a service of its own user.
#[test]
fn what_root_makes_belongs_to_the_owner_of_the_directory() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(directory.path(), Some(1234), Some(1235)).unwrap();
    add(&mut open(directory.path(), HISTORY).unwrap().0, [entry(1, "")]);
    // Its log belongs to the same.
    let _uses = Uses::open(directory.path()).unwrap();
    let _store = open(directory.path(), HISTORY).unwrap();
    let mut names = Vec::new();
    for file in fs::read_dir(directory.path()).unwrap() {
        let (name, metadata) = file.map(|file| (file.file_name(), file.metadata().unwrap())).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 1235), "{name:?}");
        names.push(name);
    }
    names.sort();
    assert!(
        ["acknowledged", "eam.backup.db", "eam.db", "lock", "usage.db"]
            .iter()
            .all(|name| names.contains(&(*name).into()))
    );
}

/// Root follows no link that the owner of the directory has made.
#[test]
fn a_link_in_the_place_of_a_file_is_refused() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    fs::write(elsewhere.path(), "somebody's").unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), directory.path().join(lock::NAME)).unwrap();
    let said = refused(directory.path());
    assert!(said.contains("cannot open ") && said.contains("/lock: "), "{said}");
    assert_eq!(fs::read_to_string(elsewhere.path()).unwrap(), "somebody's");
}

#[test]
fn only_the_owner_reads_a_store_and_its_copies() {
    let directory = filled();
    let mode = |name| fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(DATABASE), mode(BACKUP)), (0o600, 0o600));
    restore::restore(directory.path(), None, true).unwrap();
    assert_eq!(mode(DATABASE), 0o600);
}

#[test]
fn directories_above_the_state_directory_are_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let said = refused(&directory.path().join("not/mounted"));
    assert!(said.contains("cannot make ") && said.contains("not/mounted: No such file or directory"), "{said}");
    open(&directory.path().join("new"), HISTORY).unwrap();
}
