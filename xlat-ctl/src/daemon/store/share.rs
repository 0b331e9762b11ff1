//! How much of the services' traffic is IPv6, day by day, in `usage.db`: a row for the whole and one for each of the busiest.

use std::{collections::BTreeMap, path::Path};

use rusqlite::{Connection, OpenFlags, Row as Found, Transaction, params};
use xlat_common::{account::Record, counters::Traffic};

use super::usage::NAME;
use crate::{
    dataplane::Counted,
    eam::{self, Pair},
};

/// Seconds of a day.
pub(in crate::daemon) const DAY: i64 = 86_400;
/// Days with traffic that are kept: two years.
const KEPT: i64 = 731;

/// One service's traffic on one day, or that of all (`None`).
pub(in crate::daemon) type Row = (Option<Pair>, Counted);

/// The rows of a day.
pub(super) fn of_day(connection: &Connection, day: i64) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare("SELECT * FROM share WHERE day = ?1")?;
    let rows = statement.query_map([day], row)?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// Days before `today` and not before `since`, in days since 1970, each with all traffic or that of `service`; and, if asked for,
/// what each service had in sum.
pub(in crate::daemon) fn read(
    directory: &Path,
    since: i64,
    today: i64,
    service: Option<&Pair>,
    is_by_service: bool,
) -> Result<(BTreeMap<i64, Counted>, Vec<Row>), String> {
    let path = directory.join(NAME);
    let failed = |error: rusqlite::Error| format!("cannot read {}: {error}", path.display());
    let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    let (ipv4, ipv6) = service.map_or_else(Default::default, |pair| (pair.ipv4().to_string(), pair.ipv6().to_string()));
    let mut statement = connection
        .prepare("SELECT * FROM share WHERE day >= ?1 AND day < ?2 AND ipv4 = ?3 AND ipv6 = ?4")
        .map_err(failed)?;
    let days = statement.query_map(params![since, today, ipv4, ipv6], row).map_err(failed)?;
    let days = days.map(|found| found.map(|(day, (_, counted))| (day, counted)));
    let days = days.collect::<rusqlite::Result<_>>().map_err(failed)?;
    if !is_by_service {
        return Ok((days, Vec::new()));
    }
    let mut statement = connection
        .prepare(
            "SELECT 0, ipv4, ipv6, sum(translated_packets_to), sum(translated_bytes_to), sum(translated_packets_from),
                sum(translated_bytes_from), sum(native_packets_to), sum(native_bytes_to), sum(native_packets_from),
                sum(native_bytes_from)
             FROM share WHERE day >= ?1 AND day < ?2 AND ipv4 <> '' GROUP BY ipv4, ipv6",
        )
        .map_err(failed)?;
    let services = statement.query_map([since, today], row).map_err(failed)?;
    let services = services.map(|found| found.map(|(_, row)| row));
    Ok((days, services.collect::<rusqlite::Result<_>>().map_err(failed)?))
}

fn row(found: &Found<'_>) -> rusqlite::Result<(i64, Row)> {
    let (ipv4, ipv6) = (found.get_ref(1)?.as_str()?, found.get_ref(2)?.as_str()?);
    let nets = eam::parse_ipv4(ipv4).ok().zip(eam::parse_ipv6(ipv6).ok());
    let pair = nets.and_then(|(ipv4, ipv6)| Pair::new(ipv4, ipv6).ok());
    let traffic = |at| Ok::<_, rusqlite::Error>(Traffic { packets: found.get(at)?, bytes: found.get(at + 1)? });
    let counted = Counted {
        translated: Record { traffic: [traffic(3)?, traffic(5)?] },
        native: Record { traffic: [traffic(7)?, traffic(9)?] },
    };
    Ok((found.get(0)?, (pair, counted)))
}

/// Makes the rows of a day what is given, and forgets what is too old.
pub(super) fn write(transaction: &Transaction<'_>, day: i64, rows: &[Row]) -> rusqlite::Result<()> {
    if transaction.execute("DELETE FROM share WHERE day = ?1", [day])? == 0 {
        // A day begins. By their number, and not by the clock, which may be wrong for a while.
        let oldest = "SELECT day FROM share WHERE ipv4 = '' ORDER BY day DESC LIMIT 1 OFFSET ?1";
        transaction.execute(&format!("DELETE FROM share WHERE day <= ({oldest})"), [KEPT - 1])?;
    }
    let mut put =
        transaction.prepare_cached("INSERT INTO share VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?;
    // SQLite's numbers have 63 bits.
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    for (pair, Counted { translated, native }) in rows {
        let name = |net: Option<String>| net.unwrap_or_default();
        let [to4, from4] = translated.traffic;
        let [to6, from6] = native.traffic;
        put.execute(params![
            day,
            name(pair.map(|pair| pair.ipv4().to_string())),
            name(pair.map(|pair| pair.ipv6().to_string())),
            number(to4.packets),
            number(to4.bytes),
            number(from4.packets),
            number(from4.bytes),
            number(to6.packets),
            number(to6.bytes),
            number(from6.packets),
            number(from6.bytes),
        ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            now,
            usage::{Batch, Uses},
        },
        *,
    };

    fn pair(last: u8) -> Pair {
        let ipv4 = format!("198.51.100.{last}/32").parse().unwrap();
        Pair::new(ipv4, format!("2001:db8::{last:x}/128").parse().unwrap()).unwrap()
    }

    fn counted(four: u64, six: u64) -> Counted {
        let record = |packets| Record { traffic: [Traffic { packets, bytes: 100 * packets }, Traffic::default()] };
        Counted { translated: record(four), native: record(six) }
    }

    #[test]
    fn days_are_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let today = now().div_euclid(DAY);
        let (mut uses, _) = Uses::open(directory.path()).unwrap();
        let rows =
            |n: u64| vec![(None, counted(n + 1, 2)), (Some(pair(1)), counted(n, 2)), (Some(pair(2)), counted(1, 0))];
        for (day, number) in [(today - 1, 5), (today, 3), (today, 7)] {
            uses.write(Batch::of_day(day, rows(number)));
        }
        drop(uses);
        let (_uses, known) = Uses::open(directory.path()).unwrap();
        assert_eq!(known.today, rows(7));
        let (days, services) = read(directory.path(), 0, today, None, true).unwrap();
        assert_eq!(days, BTreeMap::from([(today - 1, counted(6, 2))]));
        assert_eq!(services, rows(5)[1..]);
        let (days, services) = read(directory.path(), today - 1, today + 1, Some(&pair(1)), false).unwrap();
        assert_eq!(days, BTreeMap::from([(today - 1, counted(5, 2)), (today, counted(7, 2))]));
        assert!(services.is_empty());
    }

    #[test]
    fn the_latest_two_years_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (mut uses, _) = Uses::open(directory.path()).unwrap();
        for day in 1..=KEPT + 2 {
            let rows = vec![(None, counted(day as u64, 0)), (Some(pair(1)), counted(1, 1))];
            uses.write(Batch::of_day(day, rows));
        }
        drop(uses);
        let (days, services) = read(directory.path(), 0, KEPT + 3, None, true).unwrap();
        assert_eq!((days.len() as i64, days.keys().next()), (KEPT, Some(&3)));
        assert_eq!(
            services,
            [(Some(pair(1)), {
                let mut sum = Counted::default();
                (0..KEPT).for_each(|_| sum += counted(1, 1));
                sum
            })]
        );
    }
}
