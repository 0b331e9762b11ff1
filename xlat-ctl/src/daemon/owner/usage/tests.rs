use xlat_common::counters::Traffic;

use super::*;
use crate::daemon::store::share::{self, DAY};
use crate::eam::{Comment, Entry, Origin};

fn counted(packets: u64) -> Counted {
    let native = Record { traffic: [Traffic { packets, bytes: 100 * packets }, Traffic::default()] };
    Counted { translated: Record::default(), native }
}

#[test]
fn what_a_refused_change_has_removed_is_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (uses, _) = Uses::open(directory.path()).unwrap();
    let pair = Pair::new("198.51.100.10/32".parse().unwrap(), "2001:db8::10/128".parse().unwrap()).unwrap();
    let mut usage = Usage::new(uses, None, 100);
    let used = Use { since: 7, last: 9, ..Use::default() };
    usage.put(1, Kept { pair, used, changed: false, native: None });
    usage.take(1);
    let kept = usage.coming(pair, 100);
    assert_eq!((kept.used, kept.changed, usage.gone.len()), (used, true, 0));
    usage.put(2, kept);
    usage.take(2);
    usage.leaving.clear();
    assert_eq!((usage.coming(pair, 100).used.since, usage.gone.len()), (100, 1), "it is another entry");
}

/// As after a kill, which loses the latest minute of the totals.
#[test]
fn metrics_count_from_when_they_are_first_shown() {
    let directory = tempfile::tempdir().unwrap();
    let (uses, _) = Uses::open(directory.path()).unwrap();
    let pair = Pair::new("198.51.100.10/32".parse().unwrap(), "2001:db8::10/128".parse().unwrap()).unwrap();
    let mut usage = Usage::new(uses, None, 100);
    let known = Traffic { packets: 1000, bytes: 100_000 };
    usage.put(1, Kept { pair, used: Use { traffic: [known; 2], ..Use::default() }, changed: false, native: None });
    let shown = |usage: &mut Usage| usage.since_shown(1).unwrap().1.translated.traffic.map(|way| way.packets);
    assert_eq!(shown(&mut usage), [0, 0]);
    let record = counted(7).native;
    usage.add(1, &Counted { translated: record, native: Record::default() }, 101);
    assert_eq!(shown(&mut usage), [7, 0]);
    usage.take(1);
    let kept = usage.coming(pair, 102);
    usage.put(1, kept);
    assert_eq!(shown(&mut usage), [0, 0], "it went and came again");
    assert!(usage.since_shown(2).is_none());
}

#[test]
fn a_day_is_written_when_another_begins_and_a_clock_set_back_by_hours_begins_none() {
    let directory = tempfile::tempdir().unwrap();
    let (uses, _) = Uses::open(directory.path()).unwrap();
    let pair = Pair::new("198.51.100.10/32".parse().unwrap(), "2001:db8::10/128".parse().unwrap()).unwrap();
    let mut usage = Usage::new(uses, Some(Today::new(7, Vec::new())), 7 * DAY);
    usage.put(1, Kept { pair, used: Use::default(), changed: false, native: None });
    for (now, packets) in [(7 * DAY, 1), (8 * DAY - 1, 2), (6 * DAY, 4), (8 * DAY, 8)] {
        usage.turn_day(directory.path(), now);
        usage.add(1, &counted(packets), now);
    }
    assert_eq!(usage.native, counted(15).native);
    usage.write();
    drop(usage);
    let (days, services) = share::read(directory.path(), 0, 9, None, true).unwrap();
    assert_eq!(days.into_iter().collect::<Vec<_>>(), [(7, counted(7)), (8, counted(8))]);
    assert_eq!(services, [(Some(pair), counted(15))]);
}

/// At a boot without a clock of its own: a day long ago, until the time is known, and then one of which much is known.
#[test]
fn a_clock_that_is_put_right_loses_no_day() {
    let directory = tempfile::tempdir().unwrap();
    let pair = Pair::new("198.51.100.10/32".parse().unwrap(), "2001:db8::10/128".parse().unwrap()).unwrap();
    let packets = |packets| counted(packets).native.traffic[0].packets;
    let (uses, _) = Uses::open(directory.path()).unwrap();
    let mut usage = Usage::new(uses, Some(Today::new(100, Vec::new())), 100 * DAY);
    usage.put(1, Kept { pair, used: Use::default(), changed: false, native: None });
    usage.add(1, &counted(5), 100 * DAY);
    usage.write();
    drop(usage);
    let (uses, _) = Uses::open(directory.path()).unwrap();
    let mut usage = Usage::new(uses, Some(Today::new(7, Vec::new())), 7 * DAY);
    usage.put(1, Kept { pair, used: Use { last: 99 * DAY, ..Use::default() }, changed: false, native: None });
    for (now, counts) in [(7 * DAY + 1, 1), (100 * DAY + 9, 2), (100 * DAY + 10, 3), (90 * DAY, 4)] {
        usage.follow_clock(now);
        usage.turn_day(directory.path(), now);
        usage.add(1, &counted(counts), now);
        assert!(usage.kept[1].as_ref().unwrap().used.last >= 99 * DAY, "the clock makes it idle");
    }
    assert_eq!(usage.observed, 90 * DAY, "it is not known what was used before");
    usage.write();
    drop(usage);
    let (days, _) = share::read(directory.path(), 0, 999, None, true).unwrap();
    let days: Vec<_> = days.into_iter().map(|(day, counted)| (day, counted.native.traffic[0].packets)).collect();
    assert_eq!(days, [(7, packets(1)), (90, packets(4)), (100, packets(5 + 2 + 3))]);
}

/// Tables that are swapped more often than the store is written keep nothing from it, nor from the metrics.
#[test]
fn a_new_table_puts_off_no_writing_and_ends_no_series() {
    let directory = tempfile::tempdir().unwrap();
    let (uses, _) = Uses::open(directory.path()).unwrap();
    let pair = Pair::new("198.51.100.10/32".parse().unwrap(), "2001:db8::10/128".parse().unwrap()).unwrap();
    let mut usage = Usage::new(uses, None, 100);
    usage.put(1, Kept { pair, used: Use::default(), changed: false, native: None });
    usage.latest = vec![1];
    let (written, looked) = (usage.written, usage.looked);
    let mut table = Table::default();
    table.insert(Entry { pair, comment: Comment::default(), origin: Origin::Dynamic }).unwrap();
    let (rows, numbers) = usage.take_rows();
    usage.number(rows, &numbers, &table, |_| 7, 130);
    assert_eq!((usage.written, usage.looked, &usage.latest[..]), (written, looked, &[7][..]));
    assert!(usage.of(7).is_some() && usage.of(1).is_none());
}
