//! `xlat-ctl top`

mod busiest;
mod rates;
mod screen;

use std::{
    io::{self, IsTerminal},
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};

use self::{
    busiest::Busiest,
    rates::{Reading, View},
};
use super::{Common, Failed, client, output};

/// The end of `xlat-ctl top --help`.
/// A daemon that has not answered in this time has trouble: keys are not looked at meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) const HELP: &str = "q or Esc ends it. It fits a terminal of 80 columns and 24 lines, and sends only what has changed on \
    it. The rates are over the last interval; with --once they are over the one interval for which it waits. The time of XDP is \
    shown where the kernel measures it (sysctl kernel.bpf_stats_enabled=1), which costs some time for each packet; this command \
    does not switch it on. The busiest services are shown where accounting.services is on, in what room there is.\n\n\
    Examples:\n  \
    xlat-ctl top\n  \
    xlat-ctl top --once --interval 10\n  \
    xlat-ctl top --once --json | jq '.directions[].packets_per_second'";

#[derive(Debug, Args)]
pub(super) struct Top {
    /// Seconds between two readings
    #[arg(long, short = 'n', value_name = "SECONDS", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Print the rates over one interval and end
    #[arg(long)]
    once: bool,
}

impl Top {
    /// What does not go together.
    pub(super) fn wrong_usage(&self, common: &Common) -> Option<String> {
        let is_wrong = common.json && !self.once;
        is_wrong.then(|| "--json: give --once too; `stats --watch --json` goes on".to_owned())
    }
}

pub(super) fn top(common: &Common, top: &Top) -> Result<(), Failed> {
    let interval = Duration::from_secs(top.interval);
    if top.once {
        return once(common, interval);
    }
    if !io::stdout().is_terminal() {
        return Err("top: this is no terminal: give --once, or use `stats --watch`".to_owned().into());
    }
    // What is wrong with the daemon is said before the terminal is taken.
    let first = read(common, None)?;
    let mut terminal =
        ratatui::try_init().map_err(|error| format!("top: this terminal cannot be used: {}", crate::plain(&error)))?;
    let ended = run(common, interval, first, &mut terminal);
    ratatui::restore();
    ended
}

fn read(common: &Common, busiest: Option<&Busiest>) -> Result<Reading, Failed> {
    let status = client::get_within(common, "/v1/status", PATIENCE)?.value;
    let stats = client::get_within(common, "/v1/stats", PATIENCE)?.value;
    Ok(Reading { status, stats, services: busiest.map_or_else(Vec::new, Busiest::latest) })
}

fn once(common: &Common, interval: Duration) -> Result<(), Failed> {
    let first = read(common, None)?;
    let services = thread::scope(|scope| {
        let measuring = scope.spawn(|| busiest::measure(common, interval));
        thread::sleep(interval);
        measuring.join().unwrap_or_default()
    });
    let latest = Reading { services, ..read(common, None)? };
    let view = View::new(&latest, Some(&first), &first);
    output::print(&if common.json { output::json(&view) } else { screen::text(&view) });
    Ok(())
}

/// Shows reading after reading until somebody ends it. A daemon that does not answer for a while is waited for.
fn run(common: &Common, interval: Duration, first: Reading, terminal: &mut DefaultTerminal) -> Result<(), Failed> {
    let unusable = |error: io::Error| format!("top: the terminal cannot be used any more: {}", crate::plain(&error));
    let busiest = Busiest::follow(common, interval);
    let (mut before, mut latest, mut trouble) = (None::<Reading>, first.clone(), None);
    loop {
        let view = View::new(&latest, before.as_ref(), &first);
        terminal.draw(|frame| screen::draw(frame, &view, trouble.as_deref())).map_err(unusable)?;
        let due = Instant::now() + interval;
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            if !event::poll(left).map_err(unusable)? {
                break;
            }
            match event::read().map_err(unusable)? {
                Event::Key(key) if is_end(key) => return Ok(()),
                Event::Resize(..) => {
                    terminal.draw(|frame| screen::draw(frame, &view, trouble.as_deref())).map_err(unusable)?;
                }
                _ => {}
            }
        }
        match read(common, Some(&busiest)) {
            Ok(reading) => {
                before = Some(std::mem::replace(&mut latest, reading));
                trouble = None;
            }
            Err(failed) => trouble = Some(failed.message.unwrap_or_default()),
        }
    }
}

fn is_end(key: KeyEvent) -> bool {
    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (control_c || matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc))
}
