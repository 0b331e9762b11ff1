//! What is damaged is told, refused, and stays as it is.

use super::*;

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
fn a_log_that_is_cut_off_is_noticed() {
    let directory = filled();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    add(&mut store, [entry(901, "")]);
    add(&mut store, [entry(902, "")]);
    let copy = as_after_a_kill(&directory);
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
    let copy = as_after_a_kill(&directory);
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

/// The log has all that was acknowledged since it was moved last: whoever repairs the database needs it.
#[test]
fn a_refused_database_keeps_its_log() {
    let directory = filled();
    let (mut store, _) = open(directory.path(), HISTORY).unwrap();
    add(&mut store, [entry(901, "")]);
    for spoil in [
        (|file: &fs::File| file.set_len(0).unwrap()) as fn(&fs::File),
        |file| file.write_all_at(b"no header", 0).unwrap(),
        // The version of its tables.
        |file| file.write_all_at(&[0, 0, 0, 99], 60).unwrap(),
    ] {
        let copy = as_after_a_kill(&directory);
        let [database, log] = [DATABASE, "eam.db-wal"].map(|name| copy.path().join(name));
        spoil(&fs::OpenOptions::new().write(true).open(&database).unwrap());
        let before = [fs::read(&database).unwrap(), fs::read(&log).unwrap()];
        let said = refused(copy.path());
        assert_eq!([fs::read(&database).unwrap(), fs::read(&log).unwrap()], before, "{said}");
    }
}

/// What a rollback goes back over is whole, or the rollback is refused.
#[test]
fn a_rollback_does_not_take_a_lost_revision_for_the_gap_of_a_restore() {
    for (damage, sentence) in [
        ("DELETE FROM revision WHERE revision = 2", "revision 2 is missing in its history"),
        (
            "UPDATE revision SET verb = 'restore' WHERE revision = 3",
            "the checksum of revision 3 in its history is wrong",
        ),
    ] {
        let directory = filled();
        let (store, _) = open(directory.path(), HISTORY).unwrap();
        assert_eq!(store.since(1).unwrap().len(), 200);
        store.connection.execute(damage, ()).unwrap();
        let said = store.since(1).unwrap_err().to_string();
        assert!(said.ends_with(sentence), "{said}");
    }
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
fn a_history_without_its_file_says_so() {
    let directory = filled();
    let (store, _) = open(directory.path(), HISTORY).unwrap();
    let reader = store.reader();
    fs::remove_file(directory.path().join(DATABASE)).unwrap();
    let said = reader.revisions(None, 10).unwrap_err().to_string();
    assert!(said.ends_with("eam.db: there is no such file"), "{said}");
}
