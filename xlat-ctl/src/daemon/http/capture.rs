//! The call that shows packets: an answer that goes on until the capture ends.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Extension,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::header,
    response::{IntoResponse, Response},
};
use futures::stream;
use ipnet::IpNet;
use serde::Serialize;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};
use xlat_common::{
    capture::Tally,
    counters::{Direction, Verdict},
    outcome::{DROP, FRAGMENT, KIND, OTHER, PASS, REFUSE},
    reason::DropReason,
};

use super::{openapi::Refused, patience::Patience, scarce::Counted};
use crate::{
    api::Code,
    capture::{self, Begin, DURATION, End, Frame, Line, Packet, Progress, RATE, SNAPLEN},
    daemon::{
        author::Author,
        owner::{CaptureAsk, CaptureEvent, Capturing, Owner, Refusal, refusal},
    },
    dataplane::{Captured, kernel_time},
    netlink::Machine,
};

/// How long after its end a client may still read what was captured.
const AFTER: Duration = Duration::from_secs(30);
/// Bytes of lines that are sent at a time, about.
const PIECE: usize = 64 * 1024;
/// XDP's action for a frame that the kernel gets (`enum xdp_action`).
const XDP_PASS: u32 = 2;
/// The same for a frame that leaves by the interface it came by.
const XDP_TX: u32 = 3;

#[utoipa::path(
    get,
    path = "/v1/capture",
    tag = "relay",
    params(capture::Query),
    responses(
        (
            status = 200,
            body = Line,
            content_type = "application/x-ndjson",
            description = "Such objects, one a line, as they come",
        ),
        Refused,
    ),
)]
/// Packets before and after translation, as they pass: one JSON object a line, until the duration or the count is over.
pub(super) async fn capture(
    State(owner): State<Owner>,
    Extension(author): Extension<Author>,
    Extension(patience): Extension<Patience>,
    query: Result<Query<capture::Query>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query?;
    let author = spawn_blocking(|| author.named().to_string());
    let author = author.await.map_err(|_| refusal(Code::Failed, "the daemon's thread for this ended"))?;
    let capturing = owner.capture(asked(&query, author)?).await?;
    let end = Instant::now() + Duration::from_secs(query.duration);
    patience.until(end + AFTER);
    let wanted = query.interface.as_ref().map(|name| {
        let machine = capturing.machine.borrow();
        let found = machine.interfaces.iter().find(|interface| interface.name == *name);
        // One that has gone meanwhile has no packets.
        found.map_or(u32::MAX, |interface| interface.ifindex)
    });
    let answer = Answer {
        owner,
        capturing,
        query,
        wanted,
        end,
        progress: Progress::default(),
        elsewhere: 0,
        state: Stage::Begins,
        _open: Counted::new(&OPEN),
    };
    let lines = stream::unfold(answer, async |mut answer| {
        let piece = answer.next().await?;
        Some((Ok::<_, Infallible>(piece), answer))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// What is asked for, checked.
fn asked(query: &capture::Query, author: String) -> Result<CaptureAsk, Refusal> {
    let wrong = |text: String| refusal(Code::Invalid, format!("capture: {text}"));
    let within = |name: &str, value: u64, least: u64, most: u64| {
        let text = || wrong(format!("{name} {value} is not in {least} to {most}"));
        (least..=most).contains(&value).then_some(()).ok_or_else(text)
    };
    within("snaplen", query.snaplen.into(), (*SNAPLEN.start()).into(), (*SNAPLEN.end()).into())?;
    within("rate", query.rate.into(), (*RATE.start()).into(), (*RATE.end()).into())?;
    within("duration", query.duration, *DURATION.start(), *DURATION.end())?;
    within("count", query.count.unwrap_or(1), 1, u64::MAX)?;
    let host = |text: &String| {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(|net| net.trunc()).map_err(|_| wrong(format!("host {text} is not an address or a prefix")))
    };
    let reason = |name: &str| {
        let reason = DropReason::from_name(name);
        let text = || wrong(format!("there is no reason {name}: `xlat-ctl reason` lists them"));
        reason.map(|reason| 1 << reason as u32).ok_or_else(text)
    };
    let names = query.reason.as_deref().unwrap_or_default().split(',').filter(|name| !name.is_empty());
    Ok(CaptureAsk {
        interface: query.interface.clone(),
        host: query.host.as_ref().map(host).transpose()?,
        drops: query.drops,
        reasons: names.map(reason).try_fold(0, |all, one| one.map(|one: u32| all | one))?,
        snaplen: query.snaplen,
        rate: query.rate,
        author,
    })
}

/// Captures whose last line has not been taken yet.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Waits until every capture has been told of its end, a second at most: for a daemon that stops.
pub(in crate::daemon) async fn told() {
    const PAUSE: Duration = Duration::from_millis(10);
    for _ in 0..100 {
        if OPEN.load(Relaxed) == 0 {
            break;
        }
        sleep(PAUSE).await;
    }
}

enum Stage {
    Begins,
    Runs,
    Over,
}

/// The answer, line by line.
struct Answer {
    owner: Owner,
    capturing: Capturing,
    query: capture::Query,
    /// Index of the only interface that packets are shown of.
    wanted: Option<u32>,
    end: Instant,
    progress: Progress,
    /// Packets that came out of the kernel and have come by another interface than the wanted one.
    elsewhere: u64,
    state: Stage,
    _open: Counted<'static>,
}

impl Answer {
    /// The next lines. `None`: that was all.
    async fn next(&mut self) -> Option<String> {
        match self.state {
            Stage::Over => None,
            Stage::Begins => {
                self.state = Stage::Runs;
                let interfaces = self.capturing.interfaces.clone();
                Some(line(&Line::Begin(Begin { version: env!("CARGO_PKG_VERSION").to_owned(), interfaces })))
            }
            Stage::Runs => Some(self.more().await),
        }
    }

    /// What happens next, and what has happened besides.
    async fn more(&mut self) -> String {
        let event = tokio::select! {
            () = sleep_until(self.end) => {
                let text = format!("it has lasted {} seconds", self.query.duration);
                return self.over(text, true, String::new()).await;
            }
            event = self.capturing.events.recv() => event,
        };
        let mut text = String::new();
        let mut next = event.or_else(|| Some(CaptureEvent::Ended("the daemon has ended it".to_owned())));
        while let Some(event) = next {
            match event {
                CaptureEvent::Packet(captured) => text.extend(self.packet(&captured)),
                CaptureEvent::Tally(tally) => {
                    self.count(tally);
                    text.push_str(&line(&Line::Progress(self.progress)));
                }
                CaptureEvent::Ended(reason) => return self.over(reason, false, text).await,
            }
            if self.is_enough() {
                return self.over("it has shown as many packets as asked for".to_owned(), true, text).await;
            }
            next = if text.len() < PIECE { self.capturing.events.try_recv().ok() } else { None };
        }
        text
    }

    fn count(&mut self, tally: Tally) {
        let Tally { matched, over_rate, lost } = tally;
        let matched = matched.saturating_sub(self.elsewhere);
        let lost = lost + self.capturing.crowded.load(Relaxed);
        self.progress = Progress { matched, over_rate, lost, ..self.progress };
    }

    /// Whether as many packets have been shown as were asked for.
    fn is_enough(&self) -> bool {
        self.query.count.is_some_and(|count| self.progress.shown >= count)
    }

    /// The last line, after `text`.
    async fn over(&mut self, reason: String, complete: bool, mut text: String) -> String {
        self.state = Stage::Over;
        if let Some(tally) = self.owner.end_capture(self.capturing.id).await {
            // What came before the end is still shown.
            while !self.is_enough()
                && let Ok(event) = self.capturing.events.try_recv()
            {
                if let CaptureEvent::Packet(captured) = event {
                    text.extend(self.packet(&captured));
                }
            }
            self.count(tally);
            if !self.is_enough() {
                let Progress { shown, matched, over_rate, .. } = self.progress;
                self.progress.lost = matched.saturating_sub(over_rate + shown);
            }
        }
        text.push_str(&line(&Line::End(End { reason, complete, progress: self.progress })));
        text
    }

    /// The line of a packet; `None`: it has come by another interface than the wanted one.
    fn packet(&mut self, captured: &Captured) -> Option<String> {
        let (head, most) = (&captured.head, self.query.snaplen as usize);
        let machine = Arc::clone(&self.capturing.machine.borrow());
        let arrived_at = arrived_at(&machine, head.ifindex);
        // By its index: its name may change.
        let is_of = |wanted: u32| wanted == head.ifindex || wanted == arrived_by(&machine, head.ifindex);
        if self.wanted.is_some_and(|wanted| !is_of(wanted)) {
            self.elsewhere += 1;
            return None;
        }
        self.progress.shown += 1;
        let cut = |bytes: &[u8]| bytes[..bytes.len().min(most)].to_vec();
        let left_by = left_by(&machine, captured);
        let after = Frame { interface: left_by, len: head.after_len, data: cut(&captured.after) };
        let before = Frame { interface: Some(arrived_at), len: head.before_len, data: cut(&captured.before) };
        let (verdict, reason) = outcome(head.outcome);
        let is_ip = verdict != OTHER_NAME;
        Some(line(&Line::Packet(Box::new(Packet {
            number: self.progress.shown,
            time: wall_clock(head.arrived),
            took: head.left.saturating_sub(head.arrived),
            direction: direction(&captured.before).filter(|_| is_ip).map(|direction| direction.name().to_owned()),
            verdict: verdict.to_owned(),
            reason: reason.map(|reason| reason.name().to_owned()),
            answered: reason.is_some() && head.after_len != 0,
            before,
            after: (head.after_len != 0).then_some(after),
        }))))
    }
}

fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("an answer has only string keys");
    text.push('\n');
    text
}

/// The verdict of frames that are none of the relay's.
const OTHER_NAME: &str = "passed_other";

/// The verdict and the reason in a number of `xlat_common::outcome`.
fn outcome(outcome: u32) -> (&'static str, Option<DropReason>) {
    let reason = || DropReason::ALL.get(outcome as usize & 31).copied();
    match outcome & KIND {
        PASS => (Verdict::Passed.name(), None),
        OTHER => (OTHER_NAME, None),
        FRAGMENT => (Verdict::Fragmented.name(), None),
        DROP | REFUSE => (Verdict::Dropped.name(), reason()),
        _ => (Verdict::ALL.get((outcome >> 8 & 0xff) as usize).map_or("?", |verdict| verdict.name()), None),
    }
}

/// Which way a frame is translated, by its last EtherType.
fn direction(frame: &[u8]) -> Option<Direction> {
    let ether_type = |at: usize| frame.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let mut at = 12;
    while matches!(ether_type(at), Some(0x8100 | 0x88a8)) {
        at += 4;
    }
    match ether_type(at)? {
        0x0800 => Some(Direction::FourToSix),
        0x86dd => Some(Direction::SixToFour),
        _ => None,
    }
}

/// The interface that a frame has come by: of a bond's ports, which run its program, the bond.
fn arrived_at(machine: &Machine, ifindex: u32) -> String {
    interface_name(machine, arrived_by(machine, ifindex))
}

fn arrived_by(machine: &Machine, ifindex: u32) -> u32 {
    machine.interface(ifindex).and_then(|port| machine.bond_of(port)).map_or(ifindex, |bond| bond.ifindex)
}

fn interface_name(machine: &Machine, ifindex: u32) -> String {
    machine.interface(ifindex).map_or_else(|| format!("if{ifindex}"), |interface| interface.name.clone())
}

/// The interface that a frame left by: the program does not know where a redirect leads, but the frame has the source address of the
/// interface.
fn left_by(machine: &Machine, captured: &Captured) -> Option<String> {
    if captured.head.action == XDP_TX {
        return Some(arrived_at(machine, captured.head.ifindex));
    }
    let source = captured.after.get(6..12).filter(|_| captured.head.action != XDP_PASS)?;
    let found = machine.interfaces.iter().find(|interface| interface.vlan.is_none() && interface.mac == source);
    found.map(|interface| interface.name.clone())
}

/// Nanoseconds since 1970 of a moment of the kernel's monotonic clock.
fn wall_clock(moment: u64) -> u64 {
    /// Reading two clocks takes less, unless something comes between.
    const TOGETHER: u64 = 5_000;
    let both = || (kernel_time(), SystemTime::now(), kernel_time());
    let apart = |(before, _, after): &(u64, SystemTime, u64)| after - before;
    let first = both();
    let read = if apart(&first) < TOGETHER {
        first
    } else {
        [first, both(), both()].into_iter().min_by_key(apart).unwrap_or(first)
    };
    let age = Duration::from_nanos(read.0.saturating_sub(moment));
    let since = read.1.checked_sub(age).and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
