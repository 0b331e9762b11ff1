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
    Entry { pair: Pair::new(ipv4, ipv6).unwrap(), comment: comment.to_owned(), origin: Origin::Dynamic }
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

fn open(directory: &Path, history: u64) -> Result<(Store, Vec<Entry>), StoreError> {
    Store::open(Claim::new(directory)?, history)
}

fn refused(directory: &Path) -> String {
    open(directory, HISTORY).map(|_| "it was opened").unwrap_err().to_string()
}

#[test]
fn keeps_what_was_committed_and_forgets_what_was_abandoned() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    assert_eq!(add(&mut store, [entry(1, "one"), entry(2, "")]), 1);
    let removal = Difference { removed: vec![entry(2, "")], ..Difference::default() };
    assert_eq!(change(&mut store, &removal), 2);
    let comment = Difference { changed: vec![(entry(1, "uno"), "one".to_owned())], ..Difference::default() };
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

#[test]
fn a_newer_schema_is_refused() {
    let directory = filled();
    let database = Connection::open(directory.path().join(DATABASE)).unwrap();
    database.execute_batch("PRAGMA user_version = 3").unwrap();
    drop(database);
    let said = refused(directory.path());
    assert!(said.contains("a newer xlat has written it (version 3 of its tables, this one knows 2)"), "{said}");
}

#[test]
fn a_missing_or_empty_store_is_not_taken_for_a_new_one() {
    for damage in [
        (|path: &Path| fs::remove_file(path).unwrap()) as fn(&Path),
        |path| fs::write(path, "").unwrap(),
        |path| fs::write(path, "what is this?").unwrap(),
        |path| {
            let database = Connection::open(path).unwrap();
            database.execute_batch("DELETE FROM eam").unwrap();
        },
    ] {
        let directory = filled();
        damage(&directory.path().join(DATABASE));
        let said = refused(directory.path());
        assert!(said.contains("eam.db is damaged: ") && said.contains("xlat-ctl state restore"), "{said}");
    }
}

#[test]
fn a_damaged_acknowledgement_is_not_taken_for_a_missing_one() {
    for (text, sentence) in [
        (String::new(), "acknowledged is damaged: it is empty; nothing has been changed; "),
        ("0000".to_owned(), "acknowledged is damaged: its end is missing; "),
        (format!("{:020} {:016x}\n", 1, 1), "acknowledged is damaged: its checksum is wrong; "),
    ] {
        let directory = filled();
        let file = directory.path().join(witness::NAME);
        fs::write(&file, &text).unwrap();
        let said = refused(directory.path());
        let itself = directory.path().join(DATABASE);
        let cure = format!("`xlat-ctl state restore --from {}` takes it as it is", itself.display());
        assert!(said.contains(sentence) && said.contains(&cure), "{said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        let restored = restore::restore(directory.path(), Some(&itself), false).unwrap();
        assert_eq!((restored.of, restored.revision, restored.lost()), (3, 4, None));
        assert_eq!(open(directory.path(), HISTORY).unwrap().0.revision(), 4);
    }
}

#[test]
fn a_start_that_was_cut_off_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path(), HISTORY).unwrap();
    // As if the machine had stopped while the file was made: it has its name only with what is in it.
    fs::rename(directory.path().join(witness::NAME), directory.path().join("acknowledged.new")).unwrap();
    fs::write(directory.path().join("acknowledged.new"), "").unwrap();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    assert_eq!(add(&mut store, [entry(1, "")]), 1);
    drop(store);
    assert_eq!(open(directory.path(), HISTORY).unwrap().0.revision(), 1);
    assert!(!directory.path().join("acknowledged.new").exists());
}

#[test]
fn a_copy_without_its_store_is_not_taken_for_nothing() {
    let directory = filled();
    let copy = directory.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(directory.path().join(DATABASE), copy.join(BACKUP)).unwrap();
    let before = fs::read(copy.join(BACKUP)).unwrap();
    let said = refused(&copy);
    assert!(said.contains("eam.db") && said.contains("`xlat-ctl state restore` puts it in place"), "{said}");
    assert_eq!(fs::read(copy.join(BACKUP)).unwrap(), before);
}

/// As docs/store.md says it: the copy alone, in an empty directory. SQLite writes copies that do not write ahead.
#[test]
fn a_copy_in_the_place_of_a_store_writes_ahead() {
    let (from, to) = (filled(), tempfile::tempdir().unwrap());
    fs::copy(from.path().join(BACKUP), to.path().join(DATABASE)).unwrap();
    let mode = |store: &Store| store.connection.query_row("PRAGMA journal_mode", (), |row| row.get::<_, String>(0));
    let (mut store, entries) = open(to.path(), HISTORY).unwrap();
    assert_eq!((mode(&store).unwrap().as_str(), entries.len()), ("wal", 300));
    // Who reads keeps nobody waiting.
    let reader = open::connect(&to.path().join(DATABASE), false).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM eam").unwrap();
    add(&mut store, [entry(999, "beside a reader")]);
}

/// What a daemon has in force and its store has not, as when a change could be neither kept nor taken back.
#[test]
fn a_change_of_what_the_store_has_not_is_refused() {
    let directory = filled();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    let removed = |entry: Entry| Difference { removed: vec![entry], ..Difference::default() };
    let changed = |entry: Entry| Difference { changed: vec![(entry, "old".to_owned())], ..Difference::default() };
    let elsewhere =
        Entry { pair: Pair::new(entry(7, "").pair.ipv4(), entry(999, "").pair.ipv6()).unwrap(), ..entry(7, "") };
    for difference in [
        removed(entry(999, "")),
        removed(entry(7, "another comment")),
        removed(Entry { comment: "an entry's comment".to_owned(), ..elsewhere.clone() }),
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
fn a_log_that_is_cut_off_is_noticed() {
    let directory = filled();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    add(&mut store, [entry(901, "")]);
    add(&mut store, [entry(902, "")]);
    // As after `kill -9`: the files as they are at this moment.
    let copy = tempfile::tempdir().unwrap();
    for name in [DATABASE, "eam.db-wal", witness::NAME, BACKUP] {
        fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
    }
    drop(store);
    let log = copy.path().join("eam.db-wal");
    let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
    file.set_len(file.metadata().unwrap().len() - 10).unwrap();
    let before = fs::read(&log).unwrap();
    let said = refused(copy.path());
    assert!(said.contains("its latest revision is 4, but revision 5 was acknowledged"), "{said}");
    assert_eq!(fs::read(&log).unwrap(), before, "what is refused stays as it is");
    // The store itself has more than the copy, and a restore that was not asked to loses nothing of it.
    let itself = copy.path().join(DATABASE);
    let cure = format!("its latest revision is 4 (301 entries): `xlat-ctl state restore --from {}`", itself.display());
    assert!(said.contains(&cure), "{said}");
    let said = restore::restore(copy.path(), None, false).unwrap_err().to_string();
    assert!(said.contains("is sound and has revision 4, the copy ") && said.contains(" only revision 3: "), "{said}");
    let restored = restore::restore(copy.path(), Some(&itself), false).unwrap();
    assert_eq!((restored.of, restored.revision, restored.lost()), (4, 6, Some((5, 5))));
}

/// As of one read that went wrong, or a page that somebody else can still read.
#[test]
fn a_log_in_which_a_page_is_damaged_keeps_the_pages_behind_it() {
    let directory = filled();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    let log = directory.path().join("eam.db-wal");
    add(&mut store, [entry(901, "")]);
    let at = fs::metadata(&log).unwrap().len() + 24 + 100;
    add(&mut store, [entry(902, "")]);
    let copy = tempfile::tempdir().unwrap();
    for name in [DATABASE, "eam.db-wal", witness::NAME, BACKUP] {
        fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
    }
    drop(store);
    let flip = || {
        let file = fs::OpenOptions::new().read(true).write(true).open(copy.path().join("eam.db-wal")).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    };
    flip();
    assert!(refused(copy.path()).contains("but revision 5 was acknowledged"));
    flip();
    assert_eq!(open(copy.path(), HISTORY).unwrap().1.len(), 302);
}

/// A bit of an old change, which the table does not need.
#[test]
fn a_damaged_history_keeps_nobody_from_a_copy_of_the_table() {
    let directory = filled();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    store.connection.execute("UPDATE change SET comment = 'spoilt' WHERE revision = 1 AND number = 7", ()).unwrap();
    add(&mut store, [entry(901, "")]);
    let of_another = entry(8, "").pair.ipv6();
    let said = store.reader().revisions(Some(Prefix::Ipv6(of_another)), 10).unwrap_err().to_string();
    assert!(said.ends_with("eam.db is damaged: the checksum of revision 1 in its history is wrong"), "{said}");
    drop(store);
    assert_eq!(copied(directory.path()), Some(4));
    let restored = restore::restore(directory.path(), None, true).unwrap();
    let damage = restored.history.unwrap();
    assert!(damage.contains("eam.backup.db is damaged: the checksum of revision 1 in its history"), "{damage}");
    let (mut store, entries) = open(directory.path(), 0).unwrap();
    assert_eq!(entries.len(), 301);
    add(&mut store, [entry(902, "")]);
    assert_eq!(store.reader().revisions(None, 10).unwrap().len(), 1, "what is damaged is forgotten");
}

#[test]
fn a_copy_that_has_become_unreadable_is_made_anew() {
    let directory = filled();
    let place = directory.path().join(BACKUP);
    let database = Connection::open(&place).unwrap();
    database.execute("UPDATE eam SET comment = 'spoilt' WHERE ipv4 LIKE '%.7/32'", ()).unwrap();
    drop(database);
    assert_eq!(copied(directory.path()), None);
    let (store, _) = open(directory.path(), HISTORY).unwrap();
    store.back_up();
    drop(store);
    assert_eq!(copied(directory.path()), Some(3));
}

#[test]
fn many_forgotten_changes_go_in_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let many = 3 * u32::try_from(backup::PIECE).unwrap();
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
    drop(Uses::open(directory.path()).unwrap());
    let mut names = Vec::new();
    for file in fs::read_dir(directory.path()).unwrap() {
        let (name, metadata) = file.map(|file| (file.file_name(), file.metadata().unwrap())).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 1235), "{name:?}");
        names.push(name);
    }
    names.sort();
    assert_eq!(names, ["acknowledged", "eam.backup.db", "eam.db", "lock", "usage.db"]);
}

#[test]
fn every_flipped_bit_is_found_or_does_not_matter() {
    let directory = filled();
    let path = directory.path().join(DATABASE);
    let (_, good) = open(directory.path(), HISTORY).map(|(store, entries)| (store.revision(), entries)).unwrap();
    let len = fs::metadata(&path).unwrap().len();
    let bytes = fs::read(&path).unwrap();
    let (mut found, mut harmless) = (0, 0);
    for offset in (0..len).step_by(127) {
        let at = usize::try_from(offset).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[bytes[at] ^ (1 << (offset % 8))], offset).unwrap();
        drop(file);
        match open(directory.path(), HISTORY) {
            Err(_) => found += 1,
            Ok((_, entries)) => {
                assert_eq!(entries, good, "a flipped bit at {offset} changed the table");
                harmless += 1;
            }
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert!(found > harmless / 4, "{found} found, {harmless} harmless");
}

#[test]
fn a_truncated_store_is_found_wherever_it_is_cut() {
    let directory = filled();
    let path = directory.path().join(DATABASE);
    let bytes = fs::read(&path).unwrap();
    for parts in 0..16 {
        fs::write(&path, &bytes[..bytes.len() * parts / 16]).unwrap();
        let said = refused(directory.path());
        assert!(said.contains("is damaged: "), "{parts}/16: {said}");
    }
}

/// The latest revision in the copy; `None`: there is no copy.
fn copied(directory: &Path) -> Option<u64> {
    let copy = open::connect(&directory.join(BACKUP), false).ok()?;
    open::read_table(&copy, Path::new(BACKUP), drop).ok().map(|version| version.revision)
}

#[test]
fn changes_that_come_steadily_are_in_a_copy_after_the_period() {
    let period = Duration::from_millis(300);
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    store.keeper = Keeper::start(&store.path, period);
    let begin = Instant::now();
    let mut number = 0;
    while copied(directory.path()).is_none() {
        assert!(begin.elapsed() < Duration::from_secs(20), "no copy after {number} changes");
        add(&mut store, [entry(number, "")]);
        number += 1;
        thread::sleep(period / 30);
    }
    assert!(begin.elapsed() >= period, "a copy after {:?}", begin.elapsed());
}

#[test]
fn a_clean_end_leaves_a_copy_of_all_changes() {
    let directory = filled();
    assert_eq!(copied(directory.path()), Some(3));
    assert!(!directory.path().join("eam.db-wal").exists());
    let written = fs::metadata(directory.path().join(BACKUP)).unwrap().ino();
    drop(open(directory.path(), HISTORY).unwrap());
    assert_eq!(fs::metadata(directory.path().join(BACKUP)).unwrap().ino(), written, "nothing was to be copied");
}

#[test]
fn a_restored_copy_becomes_a_new_revision() {
    let directory = filled();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    let backup = fs::read(directory.path().join(BACKUP)).unwrap();
    add(&mut store, [entry(901, "")]);
    drop(store);
    // As after `kill -9`: the copy does not have the last change.
    fs::write(directory.path().join(BACKUP), backup).unwrap();
    fs::write(directory.path().join(DATABASE), "spoilt").unwrap();
    let said = refused(directory.path());
    assert!(said.contains("eam.backup.db with revision 3 (300 entries): `xlat-ctl state restore`"), "{said}");
    let restored = restore::restore(directory.path(), None, false).unwrap();
    assert_eq!((restored.of, restored.revision, restored.entries), (3, 5, 300));
    assert_eq!((restored.acknowledged, restored.lost()), (Some(4), Some((4, 4))));
    assert_eq!(fs::read_to_string(&restored.aside[0]).unwrap(), "spoilt");
    let (mut store, entries) = open(directory.path(), HISTORY).unwrap();
    assert_eq!((store.revision(), entries.len()), (5, 300));
    assert!(store.has(3).unwrap() && !store.has(4).unwrap() && store.has(5).unwrap());
    assert_eq!(add(&mut store, [entry(901, "")]), 6);
    assert_eq!(store.since(2).unwrap().len(), 101);
}

#[test]
fn a_sound_store_is_replaced_by_no_older_copy_unasked() {
    let directory = filled();
    let own = directory.path().join(BACKUP);
    let refused = |revision: u64| {
        let before = fs::read(directory.path().join(DATABASE)).unwrap();
        let said = restore::restore(directory.path(), None, false).unwrap_err().to_string();
        let revisions =
            format!("eam.db is sound and has revision {revision}, the copy {} has revision 3: ", own.display());
        assert!(said.contains(&revisions) && said.ends_with(" with `--anyway`"), "{said}");
        assert_eq!(fs::read(directory.path().join(DATABASE)).unwrap(), before);
    };
    refused(3);
    let copy = fs::read(&own).unwrap();
    add(&mut open(directory.path(), HISTORY).unwrap().0, [entry(901, "")]);
    fs::write(&own, copy).unwrap();
    refused(4);
    let restored = restore::restore(directory.path(), None, true).unwrap();
    assert_eq!((restored.of, restored.revision, restored.lost()), (3, 5, Some((4, 4))));
    assert_eq!(open(directory.path(), HISTORY).unwrap().1.len(), 300);
}

#[test]
fn what_a_restore_puts_aside_is_a_whole_store() {
    let directory = filled();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    add(&mut store, [entry(901, "in the log")]);
    // As after `kill -9`: the files as they are at this moment.
    let copy = tempfile::tempdir().unwrap();
    for name in [DATABASE, "eam.db-wal", witness::NAME, BACKUP] {
        fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
    }
    drop(store);
    let restored = restore::restore(copy.path(), None, true).unwrap();
    assert_eq!((restored.of, restored.revision, restored.acknowledged), (3, 5, Some(4)));
    let aside = copy.path().join("eam.db.damaged-5");
    assert_eq!(restored.aside[..2], [aside.clone(), copy.path().join("eam.db.damaged-5-wal")]);
    let back = restore::restore(copy.path(), Some(&aside), true).unwrap();
    assert_eq!((back.of, back.revision, back.entries), (4, 6, 301));
}

#[test]
fn a_newer_copy_replaces_a_sound_store() {
    let (directory, other) = (tempfile::tempdir().unwrap(), filled());
    drop(open(directory.path(), HISTORY).unwrap());
    let restored = restore::restore(directory.path(), Some(&other.path().join(BACKUP)), false).unwrap();
    assert_eq!((restored.of, restored.revision, restored.lost()), (3, 4, None));
}

#[test]
fn a_store_that_somebody_removed_takes_no_change() {
    let directory = filled();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    fs::remove_file(directory.path().join(DATABASE)).unwrap();
    let said = prepare(&mut store, &additions([entry(901, "")])).unwrap_err().to_string();
    assert!(said.contains("cannot find ") && said.contains("eam.db: No such file"), "{said}");
}

#[test]
fn a_store_that_another_daemon_changed_takes_no_change() {
    let directory = filled();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    fs::remove_file(directory.path().join(lock::NAME)).unwrap();
    let (mut other, _) = open(directory.path(), HISTORY).unwrap();
    add(&mut other, [entry(901, "")]);
    let said = prepare(&mut store, &additions([entry(902, "")])).unwrap_err().to_string();
    assert!(said.contains("somebody else has changed it (its latest revision is 4, this daemon's 3): "), "{said}");
    assert_eq!(add(&mut other, [entry(903, "")]), 5);
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
fn a_history_without_its_file_says_so() {
    let directory = filled();
    let (store, _) = open(directory.path(), HISTORY).unwrap();
    let reader = store.reader();
    fs::remove_file(directory.path().join(DATABASE)).unwrap();
    let said = reader.revisions(None, 10).unwrap_err().to_string();
    assert!(said.ends_with("eam.db: there is no such file"), "{said}");
}

#[test]
fn directories_above_the_state_directory_are_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let said = refused(&directory.path().join("not/mounted"));
    assert!(said.contains("cannot make ") && said.contains("not/mounted: No such file or directory"), "{said}");
    open(&directory.path().join("new"), HISTORY).unwrap();
}
