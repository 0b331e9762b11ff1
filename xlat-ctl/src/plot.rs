//! The share of IPv6 over the days, as a picture: for `xlat-ctl share --plot` and the status page.

use std::time::UNIX_EPOCH;

use svg::{
    Document,
    node::element::{Line, Polyline, Style, Text, Title},
};

use crate::api::{ShareDay, ShareOf};

/// Of the whole picture, in pixels.
const SIZE: (f64, f64) = (800.0, 300.0);
/// Left, top, right and bottom of the plot in it.
const PLOT: (f64, f64, f64, f64) = (50.0, 40.0, 780.0, 265.0);
/// Width of a day's name, about.
const LABEL: f64 = 76.0;
/// Days named at the axis, at most.
const LABELS: usize = 8;
/// Light and dark, as the reader has it.
const STYLE: &str = "text { font: 13px sans-serif; fill: #444 } line { stroke: #ccc } polyline { fill: none; stroke-width: 2 } \
                     .packets { stroke: #0a6cbd } .bytes { stroke: #c2570c; stroke-dasharray: 6 3 } \
                     text.packets { fill: #0a6cbd; stroke: none } text.bytes { fill: #c2570c; stroke: none } \
                     @media (prefers-color-scheme: dark) { text { fill: #bbb } line { stroke: #444 } \
                     .packets { stroke: #5db3f5 } .bytes { stroke: #f0964e } text.packets { fill: #5db3f5 } \
                     text.bytes { fill: #f0964e } }";

/// How a share is reckoned, in per cent.
type Share = fn(&ShareOf) -> Option<f64>;

/// Per cent of the packets that arrive at services which are IPv6 from end to end. `None`: none have arrived.
pub(crate) fn of_packets(traffic: &ShareOf) -> Option<f64> {
    per_cent(traffic.native.to_service.packets, traffic.translated.to_service.packets)
}

/// Per cent of the bytes in both directions.
pub(crate) fn of_bytes(traffic: &ShareOf) -> Option<f64> {
    let bytes = |of: &crate::api::ShareTraffic| of.to_service.bytes + of.from_service.bytes;
    per_cent(bytes(&traffic.native), bytes(&traffic.translated))
}

fn per_cent(part: u64, other: u64) -> Option<f64> {
    let all = part as f64 + other as f64;
    (all > 0.0).then(|| 100.0 * part as f64 / all)
}

/// The days side by side, as an SVG document. Days on which nobody counted, which the list leaves out, are bridged.
pub(crate) fn svg(days: &[ShareDay]) -> String {
    let (left, top, right, bottom) = PLOT;
    let first = days.first().map_or(0, |day| number(&day.day));
    let last = days.last().map_or(0, |day| number(&day.day));
    let x = |day: &str| {
        if first == last {
            (left + right) / 2.0
        } else {
            left + (right - left) * (number(day) - first) as f64 / (last - first) as f64
        }
    };
    let y = |per_cent: f64| bottom - (bottom - top) * per_cent / 100.0;
    let mut picture = Document::new()
        .set("viewBox", (0, 0, SIZE.0, SIZE.1))
        .set("role", "img")
        .add(Title::new("Share of IPv6 in the services' traffic, by day"))
        .add(Style::new(STYLE));
    for per_cent in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let line = Line::new().set("x1", left).set("x2", right).set("y1", y(per_cent)).set("y2", y(per_cent));
        let label = text(&format!("{per_cent} %"), left - 6.0, y(per_cent) + 4.0).set("text-anchor", "end");
        picture = picture.add(line).add(label);
    }
    let step = days.len().div_ceil(LABELS).max(1);
    let mut drawn = f64::INFINITY;
    for day in days.iter().rev().step_by(step) {
        let at = x(&day.day).min(SIZE.0 - LABEL / 2.0);
        // Where days are missing, those that are there lie close together.
        if at > drawn - LABEL {
            continue;
        }
        drawn = at;
        picture = picture.add(text(&day.day, at, bottom + 22.0).set("text-anchor", "middle"));
    }
    let curves: [(&str, &str, f64, Share); 2] = [
        ("packets", "IPv6 of packets to services", left, of_packets),
        ("bytes", "IPv6 of bytes, both ways", 350.0, of_bytes),
    ];
    for (class, title, at, share) in curves {
        let points = days.iter().filter_map(|day| Some((x(&day.day), y(share(&day.traffic)?))));
        let mut points: Vec<(f64, f64)> = points.collect();
        if let [(only, height)] = points[..] {
            // A line has a length.
            points = vec![(only - 4.0, height), (only + 4.0, height)];
        }
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let curve = Polyline::new().set("class", class).set("points", points.join(" "));
        picture = picture.add(curve).add(text(title, at, 20.0).set("class", class));
    }
    picture.to_string()
}

fn text(words: &str, x: f64, y: f64) -> Text {
    Text::new(words).set("x", x).set("y", y)
}

/// Days since 1970 of a date; 0 for what is none.
fn number(date: &str) -> u64 {
    let midnight = humantime::parse_rfc3339(&format!("{date}T00:00:00Z")).unwrap_or(UNIX_EPOCH);
    midnight.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() / 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{EamTraffic, ShareTraffic};

    fn day(day: &str, four: u64, six: u64) -> ShareDay {
        let traffic = |packets| ShareTraffic {
            to_service: EamTraffic { packets, bytes: 100 * packets },
            from_service: EamTraffic { packets, bytes: 300 * packets },
        };
        ShareDay { day: day.to_owned(), traffic: ShareOf { translated: traffic(four), native: traffic(six) } }
    }

    #[test]
    fn dates_are_days() {
        for (date, days) in [("1970-01-01", 0), ("2000-02-29", 11_016), ("2026-11-25", 20_782), ("no date", 0)] {
            assert_eq!(number(date), days, "{date}");
        }
    }

    #[test]
    fn shares_are_of_what_arrives_and_of_all_bytes() {
        let of = day("2026-11-25", 3, 1).traffic;
        assert_eq!((of_packets(&of), of_bytes(&of)), (Some(25.0), Some(25.0)));
        assert_eq!(of_packets(&ShareOf::default()), None);
    }

    #[test]
    fn points_lie_where_their_day_and_share_are() {
        let picture = svg(&[day("2026-11-01", 1, 1), day("2026-11-02", 0, 0), day("2026-11-05", 1, 3)]);
        assert!(picture.contains("50.0,152.5 780.0,96.2"), "{picture}");
        for days in [&[][..], &[day("2026-11-01", 1, 1)]] {
            assert!(svg(days).ends_with("</svg>"));
        }
    }
}
