//! Captures: the program that stands on the interfaces while one runs (`xlat-ebpf/src/capture`), and the way from it to the daemon.
//!
//! It calls the entry of this instance and shares its scratch record and counters; the instance itself knows nothing of it and
//! stays as it is. What keeps it right without a daemon is pinned with the instance, and goes with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, PerCpuArray, ProgramArray, RingBuf},
    programs::{ProgramFd, Xdp},
};
use nix::time::{ClockId, clock_gettime};
use tokio::{io::unix::AsyncFd, runtime::Handle, task::JoinHandle};
use tracing::{info, warn};
use xlat_common::{
    capture::{Filter, Head, PROGRAM, SLOTS, Tallies, Tally, after_at},
    programs,
};

use super::{
    DataPlane, attach,
    attach::Place,
    error::{AttachError, DataPlaneError},
    object::{self, map},
    pins::Pins,
    readers,
};

/// Bytes of the buffer that packets wait in for the daemon.
const BUFFER: u32 = 4 << 20;
/// How long a capture goes on of which the daemon says nothing any more, nanoseconds.
const LEASE: u64 = 30_000_000_000;
/// The array with the entry, which the kernel empties when nobody holds it.
const LIVE: &str = "LIVE";

/// What each capture asks for, by slot.
pub type Filters = [Option<Filter>; SLOTS];

/// No captures.
const NONE: Filters = [None; SLOTS];

/// A packet that was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// What is told of it.
    pub head: Head,
    /// The first bytes of the frame as it arrived.
    pub before: Vec<u8>,
    /// The first bytes of the frame as it left; empty: it was dropped, or left as it came.
    pub after: Vec<u8>,
}

/// Where captured packets go. Called on a thread that must not wait.
pub type Sink = Arc<dyn Fn(Captured) + Send + Sync>;

/// The kernel's monotonic clock, nanoseconds.
#[must_use]
pub fn kernel_time() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| time.tv_sec().cast_unsigned() * 1_000_000_000 + time.tv_nsec().cast_unsigned())
}

/// The loaded program. What it needs stays pinned with the instance when this is dropped: it may be attached still.
pub(super) struct Program {
    ebpf: Ebpf,
    filters: Array<MapData, Filter>,
    tallies: PerCpuArray<MapData, Tallies>,
    wanted: Filters,
    reader: JoinHandle<()>,
    /// Where the array with the entry is pinned.
    pin: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Program {
    /// Loads it, to call `entry`, of an instance whose maps are pinned in `instance`.
    fn load(entry: &ProgramFd, instance: PathBuf, multi_buffer: u32, sink: Sink) -> Result<Self, DataPlaneError> {
        let runtime = Handle::try_current().map_err(|_| kernel("start a capture", "there is nobody to read it"))?;
        let mut copy = crate::CAPTURE_OBJECT.to_vec();
        if multi_buffer == 0 {
            object::without_frags(&mut copy);
        }
        let mut ebpf = EbpfLoader::new()
            .override_global("MULTI_BUFFER", &multi_buffer, true)
            .map_max_entries("PACKETS", BUFFER)
            .map_pin_path("SCRATCH", instance.join("SCRATCH"))
            .map_pin_path("COUNTERS", instance.join("COUNTERS"))
            .load(&copy)?;
        let program = object::xdp(&mut ebpf, PROGRAM)?;
        program.load().map_err(|error| DataPlaneError::of_program(PROGRAM, &error))?;
        let mut live = map::<ProgramArray<_>>(&mut ebpf, LIVE)?;
        live.set(0, entry, 0).map_err(|error| DataPlaneError::new("make the entry callable for captures", &error))?;
        let pin = instance.join(LIVE);
        // Of one that could not be loaded.
        remove_pin(&pin);
        live.pin(&pin).map_err(|error| DataPlaneError::new("pin the map of captures", &error))?;
        let packets = map::<RingBuf<_>>(&mut ebpf, "PACKETS")?;
        Ok(Self {
            filters: map(&mut ebpf, "FILTERS")?,
            tallies: map(&mut ebpf, "TALLIES")?,
            wanted: NONE,
            reader: runtime.spawn(read(packets, sink)),
            pin,
            ebpf,
        })
    }

    /// The program itself.
    pub(super) fn xdp(&mut self) -> Result<&mut Xdp, DataPlaneError> {
        object::xdp(&mut self.ebpf, PROGRAM)
    }

    /// The same, to look at.
    pub(super) fn program(&self) -> Option<&aya::programs::Program> {
        self.ebpf.program(PROGRAM)
    }

    /// Its id; 0: the kernel does not say.
    fn id(&self) -> u32 {
        let info = self.program().and_then(|program| program.info().ok());
        info.map_or(0, |info| info.id())
    }

    /// Tells it what the captures ask for, and that the daemon is alive.
    fn tell(&mut self, wanted: &Filters) -> Result<(), DataPlaneError> {
        let until = kernel_time() + LEASE;
        for (slot, filter) in (0..).zip(wanted) {
            let filter = filter.map_or(Filter::default(), |filter| Filter { until, ..filter });
            let set = self.filters.set(slot, filter, 0);
            set.map_err(|error| DataPlaneError::new("tell the kernel what a capture asks for", &error))?;
        }
        self.wanted = *wanted;
        Ok(())
    }

    /// Leaves nothing of it behind. It must not be attached any more.
    fn remove(self) {
        remove_pin(&self.pin);
    }

    fn tallies(&self) -> [Tally; SLOTS] {
        let mut sum = [Tally::default(); SLOTS];
        let Ok(each) = self.tallies.get(&0, 0) else { return sum };
        for Tallies(slots) in each.iter() {
            for (sum, more) in sum.iter_mut().zip(slots) {
                sum.matched += more.matched;
                sum.over_rate += more.over_rate;
                sum.lost += more.lost;
            }
        }
        sum
    }
}

fn remove_pin(pin: &Path) {
    if let Err(error) = fs::remove_file(pin)
        && error.kind() != io::ErrorKind::NotFound
    {
        warn!("cannot remove {}: {}", pin.display(), crate::plain(&error));
    }
}

/// The program to attach: that of captures while there are some.
pub(super) fn entry<'a>(capture: &'a mut Option<Program>, ebpf: &'a mut Ebpf) -> Result<&'a mut Xdp, DataPlaneError> {
    match capture {
        Some(capture) => capture.xdp(),
        None => object::xdp(ebpf, programs::ENTRY),
    }
}

impl DataPlane {
    /// Makes these the captures in force. With the first of them the program of captures takes the entry's place on every
    /// interface, in one step of the kernel each; with the last the entry comes back.
    ///
    /// # Errors
    /// The kernel refuses; then there are none.
    pub fn set_captures(&mut self, wanted: &Filters, sink: &Sink) -> Result<(), DataPlaneError> {
        if *wanted == NONE {
            return self.stop_capturing();
        }
        if let Some(capture) = &mut self.capture {
            return capture.tell(wanted);
        }
        let started = self.start_capturing(wanted, sink);
        if started.is_err() {
            self.stop_capturing()?;
        }
        started
    }

    /// Tells the kernel that the captures are still wanted; where there are none, tries again what could not be detached.
    pub fn keep_captures(&mut self) {
        let Some(capture) = &mut self.capture else { return };
        let wanted = capture.wanted;
        let done = if wanted == NONE { self.stop_capturing() } else { capture.tell(&wanted) };
        if let Err(error) = done {
            warn!("{error}");
        }
    }

    /// What the captures have counted since the first of them began, by slot.
    #[must_use]
    pub fn capture_tallies(&self) -> [Tally; SLOTS] {
        self.capture.as_ref().map_or([Tally::default(); SLOTS], Program::tallies)
    }

    /// Id of the program that interfaces carry.
    #[must_use]
    pub fn attached_program(&self) -> u32 {
        self.capture.as_ref().map_or_else(|| self.program_info().id, Program::id)
    }

    fn start_capturing(&mut self, wanted: &Filters, sink: &Sink) -> Result<(), DataPlaneError> {
        let instance = self.pins.as_deref().zip(self.instance.as_ref()).map(|(pins, instance)| pins.place(instance));
        let instance = instance.ok_or_else(|| kernel("start a capture", "the data plane is not pinned"))?;
        let entry = object::xdp(&mut self.ebpf, programs::ENTRY)?;
        let entry = entry.fd().map_err(|error| DataPlaneError::of_program(programs::ENTRY, &error))?;
        let mut capture = Program::load(entry, instance, self.settings.multi_buffer, Arc::clone(sink))?;
        capture.tell(wanted)?;
        self.capture = Some(capture);
        self.exchange()?;
        info!("the program of captures is attached");
        Ok(())
    }

    fn stop_capturing(&mut self) -> Result<(), DataPlaneError> {
        let Some(mut capture) = self.capture.take() else { return Ok(()) };
        let told = capture.tell(&NONE);
        if let Err(error) = told.and_then(|()| self.exchange()) {
            // It stays where it is, and must stay whole.
            self.capture = Some(capture);
            return Err(error);
        }
        // A packet may still be on its way through it, and about to call the entry.
        readers::wait();
        capture.remove();
        info!("the program of captures is detached");
        Ok(())
    }

    /// Puts the program that is to be attached on every interface that has the other.
    fn exchange(&mut self) -> Result<(), DataPlaneError> {
        self.mend_pins()?;
        let Some(pins) = self.pins.as_deref() else { return Ok(()) };
        let program = entry(&mut self.capture, &mut self.ebpf)?;
        let near = self.fragmenter.as_ref().map(|fragmenter| fragmenter.near().ifindex);
        let near = near.zip(self.near_link.as_mut());
        let mut outcome = Ok(());
        // Also where one refuses: the others are to have what the data plane takes for its own.
        for (ifindex, link) in self.links.iter_mut().map(|(ifindex, link)| (*ifindex, link)).chain(near) {
            let name = link.name.clone();
            outcome = outcome.and(exchange_on(program, link, ifindex, &name, pins));
        }
        outcome
    }
}

fn exchange_on(
    program: &mut Xdp,
    link: &mut attach::Link,
    ifindex: u32,
    name: &str,
    pins: &Pins,
) -> Result<(), DataPlaneError> {
    match attach::exchange(program, link, Place { ifindex, name, pins: Some(pins) }) {
        Ok(()) => Ok(()),
        // The owner hears of that by itself.
        Err(AttachError::Gone { .. }) => Ok(()),
        Err(error) => Err(kernel(&format!("change the program on {name}"), &error.to_string())),
    }
}

fn kernel(what: &str, reason: &str) -> DataPlaneError {
    DataPlaneError::Kernel { what: what.to_owned(), reason: reason.to_owned() }
}

/// Reads packets until the task is dropped.
async fn read(packets: RingBuf<MapData>, sink: Sink) {
    /// Packets after which other tasks have their turn.
    const TURN: usize = 256;
    // SAFETY: the buffer owns its map and gives out the same descriptor all its life.
    let mut packets = match unsafe { AsyncFd::register(packets) } {
        Ok(packets) => packets,
        Err(error) => return warn!("captured packets cannot be read: {error}"),
    };
    while let Ok(mut ready) = packets.readable_mut().await {
        let mut count = 0;
        while let Some(bytes) = ready.get_inner_mut().next() {
            match parse(&bytes) {
                Some(captured) => sink(captured),
                None => warn!("a captured packet cannot be read: {} bytes", bytes.len()),
            }
            drop(bytes);
            count += 1;
            if count % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        ready.clear_ready();
    }
}

/// What the program has written. `None`: not that.
fn parse(bytes: &[u8]) -> Option<Captured> {
    let (head, bytes) = bytes.split_at_checked(size_of::<Head>())?;
    // SAFETY: as many bytes as a Head has, which is integers only, read at any alignment.
    let head: Head = unsafe { head.as_ptr().cast::<Head>().read_unaligned() };
    let after_at = after_at(head.before_kept) as usize;
    Some(Captured {
        head,
        before: bytes.get(..head.before_kept as usize)?.to_vec(),
        after: bytes.get(after_at..after_at + head.after_kept as usize)?.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_program_writes_and_nothing_shorter() {
        let head = Head { before_kept: 3, after_kept: 2, before_len: 60, after_len: 80, ..Head::default() };
        // SAFETY: integers without padding.
        let mut bytes =
            unsafe { std::slice::from_raw_parts((&raw const head).cast::<u8>(), size_of::<Head>()) }.to_vec();
        bytes.extend_from_slice(&[1, 2, 3, 0, 0, 0, 0, 0, 4, 5]);
        let captured = parse(&bytes).expect("a packet");
        assert_eq!((captured.before, captured.after), (vec![1, 2, 3], vec![4, 5]));
        assert_eq!(parse(&bytes[..bytes.len() - 1]), None);
        assert_eq!(parse(&bytes[..10]), None);
    }
}
