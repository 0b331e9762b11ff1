//! The daemon's log on standard error: for a terminal with time and colour, for the journal with its priorities.

use std::{
    env, fmt,
    io::{self, IsTerminal},
};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Which messages are logged: a level, or `tracing-subscriber`'s directives.
const FILTER: &str = "XLAT_LOG";

/// One event a line, without time and colour, behind what its level gives.
struct Prefixed(fn(Level) -> &'static str);

impl<S, N> FormatEvent<S, N> for Prefixed
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "{}", (self.0)(*event.metadata().level()))?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The priority, as the journal wants it (sd-daemon(3)).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

/// Has a command that does without a daemon say what it cannot do.
pub(crate) fn set_up_for_command() {
    let subscriber = tracing_subscriber::fmt().with_max_level(Level::WARN).with_writer(io::stderr).with_ansi(false);
    let _ = subscriber.event_format(Prefixed(|_| "xlat-ctl: warning: ")).try_init();
}

/// Sets the log up, once per process.
pub(super) fn set_up() {
    let (filter, complaint) = match EnvFilter::try_from_env(FILTER) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), env::var_os(FILTER).map(|_| error.to_string())),
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    let terminal = io::stderr().is_terminal();
    // A library that is used twice in one process (tests) keeps its first log.
    let _ = if env::var_os("JOURNAL_STREAM").is_some() {
        subscriber.event_format(Prefixed(priority)).try_init()
    } else if terminal {
        subscriber.try_init()
    } else {
        subscriber.without_time().with_ansi(false).try_init()
    };
    if let Some(complaint) = complaint {
        tracing::warn!("{FILTER} is not a level such as debug or info, and is ignored: {complaint}");
    }
}
