//! How it looks: the same lines on a terminal and in a script, where there are colours on the one.

use ratatui::{
    Frame,
    style::{Color, Modifier, Style},
    text::{Line, Span, Text},
    widgets::Paragraph,
};

use super::rates::{InterfaceRate, Rate, View};
use crate::{
    api::{Attachment, EamRate, State},
    cli::output::{self, duration},
    eam,
};

/// What stands on a line beside its text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Plain,
    Heading,
    Strong,
    Alarm,
    Faint,
}

type Marked = (String, Mark);

/// Draws everything; `trouble` stands in the last line where there is some.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, trouble: Option<&str>) {
    let area = frame.area();
    let mut lines = lines(view);
    let room = usize::from(area.height.max(1)) - 1;
    lines.truncate(room);
    lines.resize(room, (String::new(), Mark::Plain));
    lines.push(match trouble {
        Some(trouble) => (trouble.to_owned(), Mark::Alarm),
        None => ("q ends".to_owned(), Mark::Faint),
    });
    let text: Text<'_> = lines.into_iter().map(|(text, mark)| Line::from(Span::styled(text, style(mark)))).collect();
    frame.render_widget(Paragraph::new(text), area);
}

/// The same as text.
pub(super) fn text(view: &View) -> String {
    lines(view).into_iter().map(|(line, _)| format!("{}\n", line.trim_end())).collect()
}

fn style(mark: Mark) -> Style {
    match mark {
        Mark::Plain => Style::new(),
        Mark::Heading => Style::new().add_modifier(Modifier::REVERSED),
        Mark::Strong => Style::new().add_modifier(Modifier::BOLD),
        Mark::Alarm => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        Mark::Faint => Style::new().add_modifier(Modifier::DIM),
    }
}

fn lines(view: &View) -> Vec<Marked> {
    let mut lines = about(view);
    lines.push((format!("{:<22}{:>12}{:>12}{:>16}", "TRANSLATED", "PACKETS/S", "BIT/S", "PACKETS"), Mark::Heading));
    for direction in &view.directions {
        lines.push((cells(&direction.all, ""), Mark::Strong));
        lines.extend(direction.protocols.iter().map(|rate| (cells(rate, "  "), Mark::Plain)));
    }
    lines.extend(verdicts(view));
    lines.extend(interfaces(view));
    lines.extend(drops(view));
    lines.extend(services(view));
    lines
}

/// The daemon, its interfaces, and the time of XDP.
fn about(view: &View) -> Vec<Marked> {
    let status = &view.status;
    let (state, mark) = match status.state {
        State::Attached => ("attached", Mark::Strong),
        State::Degraded => ("DEGRADED", Mark::Alarm),
        State::Detached => ("DETACHED", Mark::Alarm),
    };
    let up = duration(status.uptime_seconds);
    let over = if view.seconds > 0.0 { format!("rates over {:.1} s", view.seconds) } else { "no rates yet".to_owned() };
    let table = format!("{} of {} entries", status.table.entries, status.table.max_entries);
    let interfaces = status.interfaces.iter().map(|interface| match (interface.state, &interface.mode) {
        (Attachment::Attached, Some(mode)) => format!("{} {mode}", interface.name),
        (Attachment::Waiting, _) => format!("{} waiting", interface.name),
        (Attachment::Covered, _) => format!("{} covered", interface.name),
        _ => format!("{} FAILED", interface.name),
    });
    let xdp = view.xdp.map_or_else(
        || "not measured".to_owned(),
        |xdp| format!("{:.1} % of a CPU, {:.0} ns a frame", xdp.cpus * 100.0, xdp.nanoseconds),
    );
    let remembered = view
        .next_hops_remembered
        .map_or_else(String::new, |share| format!("; next hops remembered {:.1} %", share * 100.0));
    vec![
        (format!("xlat {} {state}, up {up}, {table}; {over}", status.version), mark),
        (format!("{}; XDP time {xdp}{remembered}", interfaces.collect::<Vec<_>>().join(", ")), Mark::Plain),
    ]
}

fn cells(rate: &Rate, indent: &str) -> String {
    format!(
        "{:<22}{:>12}{:>12}{:>16}",
        format!("{indent}{}", rate.name),
        output::rate(rate.packets_per_second),
        output::rate(rate.bits_per_second),
        rate.packets
    )
}

/// Where packets go, a second.
fn verdicts(view: &View) -> [Marked; 2] {
    let row = |cell: &dyn Fn(&Rate) -> String| view.verdicts.iter().map(|rate| format!("{:>12}", cell(rate))).collect();
    let names: String = row(&|rate| rate.name.to_uppercase());
    [(names, Mark::Heading), (row(&|rate| output::rate(rate.packets_per_second)), Mark::Plain)]
}

/// What each interface counts, a second.
fn interfaces(view: &View) -> Vec<Marked> {
    if view.interfaces.is_empty() {
        return Vec::new();
    }
    let heading = format!("{:<22}{:>12}{:>12}{:>12}{:>12}", "INTERFACE", "IN/S", "BIT/S", "OUT/S", "BIT/S");
    let row = |interface: &InterfaceRate| {
        let (received, sent) = (&interface.received, &interface.sent);
        let rates =
            [received.packets_per_second, received.bits_per_second, sent.packets_per_second, sent.bits_per_second];
        let cells: String = rates.iter().map(|rate| format!("{:>12}", output::rate(*rate))).collect();
        (format!("{:<22}{cells}", interface.name), Mark::Plain)
    };
    [(heading, Mark::Heading)].into_iter().chain(view.interfaces.iter().map(row)).collect()
}

fn drops(view: &View) -> Vec<Marked> {
    let heading = format!("{:<27}{:>11}{:>12}  ", "DROPPED FOR", "PACKETS/S", "PACKETS");
    let mut lines = vec![(format!("{heading:<62}"), Mark::Heading)];
    if view.drops.is_empty() {
        lines.push(("nothing".to_owned(), Mark::Faint));
    }
    for drops in &view.drops {
        let rate = &drops.rate;
        let word = match (drops.new, rate.packets_per_second > 0.0) {
            (true, _) => "NEW",
            (false, true) => "moves",
            (false, false) => "",
        };
        let number = output::rate(rate.packets_per_second);
        let line = format!("{:<27}{number:>11}{:>12}  {word}", rate.name, rate.packets);
        lines.push((line, if drops.new { Mark::Alarm } else { Mark::Plain }));
    }
    lines
}

/// The busiest services.
fn services(view: &View) -> Vec<Marked> {
    if view.services.is_empty() {
        return Vec::new();
    }
    let heading =
        format!("{:<32}{:>12}{:>12}{:>12}{:>12}", "BUSIEST SERVICES", "TO IPv6/S", "BIT/S", "TO IPv4/S", "BIT/S");
    let row = |service: &EamRate| {
        let (there, back) = (&service.rates.four_to_six, &service.rates.six_to_four);
        let rates = [there.packets_per_second, there.bits_per_second, back.packets_per_second, back.bits_per_second];
        let cells: String = rates.iter().map(|rate| format!("{:>12}", output::rate(*rate))).collect();
        let name: String = format!("{} {}", eam::short4(service.entry.ipv4), eam::visible(&service.entry.comment))
            .chars()
            .take(31)
            .collect();
        (format!("{name:<32}{cells}"), Mark::Plain)
    };
    [(heading, Mark::Heading)].into_iter().chain(view.services.iter().map(row)).collect()
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};

    use super::{super::rates::tests::readings, *};

    fn shown(buffer: &Buffer) -> Vec<String> {
        let width = usize::from(buffer.area.width);
        let cells: Vec<&str> = buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect();
        cells.chunks(width).map(|line| line.concat().trim_end().to_owned()).collect()
    }

    fn drawn(view: &View, trouble: Option<&str>) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, view, trouble)).unwrap();
        shown(terminal.backend().buffer())
    }

    #[test]
    fn a_lab_s_readings_fit_a_small_terminal() {
        let [before, after] = readings();
        let view = View::new(&after, Some(&before), &before);
        let screen = drawn(&view, None);
        assert_eq!(screen.len(), 24);
        let whole = text(&view);
        // All of it is on the screen, no line is cut.
        for (line, shown) in whole.lines().zip(&screen) {
            assert_eq!(line, shown);
        }
        assert!(whole.lines().count() < 24, "{whole}");
        assert!(screen[0].contains("attached, up ") && screen[1].contains("inet4 native, inet6 native"), "{whole}");
        assert!(screen.iter().any(|line| line.starts_with("four_to_six") && !line.contains(" 0 ")), "{whole}");
        assert!(screen.iter().any(|line| line.starts_with("hop_limit_exceeded") && line.ends_with("NEW")), "{whole}");
        assert_eq!(screen[23], "q ends");
    }

    #[test]
    fn a_tiny_terminal_and_a_silent_daemon_are_no_fault() {
        let [_, after] = readings();
        let view = View::new(&after, None, &after);
        assert!(drawn(&view, None)[0].ends_with("no rates yet"));
        assert_eq!(drawn(&view, Some("the daemon is away"))[23], "the daemon is away");
        for (width, height) in [(1, 1), (10, 3), (200, 60)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, &view, None)).unwrap();
        }
    }
}
