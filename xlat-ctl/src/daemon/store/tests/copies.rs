//! Copies of the store, and what is restored from them.

use super::*;

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
    let copy = as_after_a_kill(&directory);
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
