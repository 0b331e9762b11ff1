//! Attaching the program to interfaces, never in anybody's place but an older instance's of this relay.

use std::{
    thread,
    time::{Duration, Instant},
};

use aya::programs::{ProgramError, Xdp, links::FdLink, loaded_programs, xdp};
use tracing::{debug, info, warn};

use super::{
    XdpMode,
    error::{AttachError, DataPlaneError, cause},
    pins::Pins,
    refusal,
};
use crate::netlink::{self, Machine};

/// The program on one interface. Dropping it detaches, unless it is pinned.
pub(super) struct Link {
    pub(super) name: String,
    /// [`XdpMode::Native`] or [`XdpMode::Generic`].
    pub(super) mode: XdpMode,
    /// A BPF link: it is the kernel that detaches when the last reference goes.
    link: xdp::XdpLink,
}

/// Where to attach.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) ifindex: u32,
    pub(super) name: &'a str,
    /// Where the links are pinned, if they are to outlive the daemon.
    pub(super) pins: Option<&'a Pins>,
}

/// Takes the place of an older instance; where there is none, attaches in the wanted mode, or in generic mode where any will do
/// and the driver refuses.
pub(super) fn attach(program: &mut Xdp, place: Place<'_>, mode: XdpMode) -> Result<Link, AttachError> {
    if let Some(link) = take_over(program, place, mode)? {
        return Ok(link);
    }
    match mode {
        XdpMode::Generic => in_mode(program, place, XdpMode::Generic),
        XdpMode::Native => in_mode(program, place, XdpMode::Native),
        XdpMode::Auto => match in_mode(program, place, XdpMode::Native) {
            Err(AttachError::Refused { reason, .. }) => {
                let name = place.name;
                info!("the driver of {name} takes no XDP program ({reason}): trying generic mode, which is slower");
                in_mode(program, place, XdpMode::Generic)
            }
            other => other,
        },
    }
}

/// Puts the program in the place of an older instance's, in one step of the kernel. `None`: there is none, or not in the
/// wanted mode.
fn take_over(program: &mut Xdp, place: Place<'_>, wanted: XdpMode) -> Result<Option<Link>, AttachError> {
    let Place { ifindex, name, pins: Some(pins) } = place else { return Ok(None) };
    let Some((link, there)) = pins.link(ifindex)? else { return Ok(None) };
    let machine = netlink::snapshot().map_err(DataPlaneError::from)?;
    let mode = match mode_of(&machine, ifindex, there) {
        Some(mode) if wanted == XdpMode::Auto || mode == wanted => mode,
        Some(_) => {
            warn!("{name}: the mode of the program changes, packets go untranslated for a moment");
            drop(link);
            pins.unpin_link(ifindex);
            wait_until_gone(ifindex, there);
            return Ok(None);
        }
        None => {
            debug!("{name}: what is pinned for its index is not in force");
            pins.unpin_link(ifindex);
            return Ok(None);
        }
    };
    let refused = |reason| AttachError::Refused { interface: name.to_owned(), mode: word(mode), reason };
    let link = xdp::XdpLink::try_from(link).map_err(|error| refused(cause(&error).1))?;
    let link = program
        .attach_to_link(link)
        .and_then(|id| program.take_link(id))
        .map_err(|error: ProgramError| refused(cause(&error).1))?;
    Ok(Some(Link { name: name.to_owned(), mode, link }))
}

/// Waits until the kernel has taken a program off, which it does some time after the last holder of the link has let go.
pub(super) fn wait_until_gone(ifindex: u32, program: u32) {
    const PATIENCE: Duration = Duration::from_secs(2);
    let begun = Instant::now();
    let is_there = || netlink::snapshot().is_ok_and(|machine| mode_of(&machine, ifindex, program).is_some());
    while is_there() && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Puts another program on an interface that carries one of this instance, in one step of the kernel. Where it fails, all stays as it
/// was.
pub(super) fn exchange(program: &mut Xdp, link: &mut Link, place: Place<'_>) -> Result<(), AttachError> {
    let gone = || AttachError::Gone { interface: place.name.to_owned() };
    let refused = |reason| AttachError::Refused { interface: place.name.to_owned(), mode: word(link.mode), reason };
    let pinned = place.pins.map(|pins| pins.link(place.ifindex)).transpose()?.flatten();
    let (another, _) = pinned.ok_or_else(gone)?;
    let another = xdp::XdpLink::try_from(another).map_err(|error| refused(cause(&error).1))?;
    let exchanged = program.attach_to_link(another).and_then(|id| program.take_link(id));
    link.link = exchanged.map_err(|error| match cause(&error) {
        // The link is one of an interface that has gone.
        (Some(libc::ENOLINK), _) => gone(),
        (_, reason) => refused(reason),
    })?;
    Ok(())
}

/// In which mode an interface carries this program; `None`: it does not.
fn mode_of(machine: &Machine, ifindex: u32, program: u32) -> Option<XdpMode> {
    let attached = machine.interface(ifindex)?.xdp_program?;
    if attached.id != program {
        return None;
    }
    Some(if attached.generic { XdpMode::Generic } else { XdpMode::Native })
}

const fn word(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Generic => "generic",
        XdpMode::Native | XdpMode::Auto => "native",
    }
}

fn in_mode(program: &mut Xdp, place: Place<'_>, mode: XdpMode) -> Result<Link, AttachError> {
    let Place { ifindex, name, pins } = place;
    let kernel_mode = if mode == XdpMode::Generic { xdp::XdpMode::Skb } else { xdp::XdpMode::Driver };
    let attached = program.attach_to_if_index(ifindex, kernel_mode).and_then(|id| program.take_link(id));
    let error = match attached {
        Ok(link) => return Ok(Link { name: name.to_owned(), mode, link: keep(link, ifindex, pins)? }),
        Err(error) => error,
    };
    let (interface, mode) = (name.to_owned(), word(mode));
    Err(match cause(&error) {
        (Some(libc::EPERM | libc::EACCES), _) => AttachError::Permission { interface },
        (Some(libc::ENODEV), _) => AttachError::Gone { interface },
        (Some(libc::EBUSY | libc::EEXIST), reason) => match occupant(ifindex)? {
            Some((program, mode)) => AttachError::Occupied { interface, program, mode },
            None => AttachError::Busy { interface, mode, reason },
        },
        (number, reason) => {
            let known = (mode == "native").then(|| refusal::native_mode(name, number)).flatten();
            AttachError::Refused { interface, mode, reason: known.unwrap_or(reason) }
        }
    })
}

impl Link {
    /// Pins it again, which somebody has unpinned. Where that fails the program is detached there.
    pub(super) fn pin_again(self, ifindex: u32, pins: &Pins) -> Result<Self, DataPlaneError> {
        warn!("{}: somebody has removed what keeps the program there; it is pinned again", self.name);
        Ok(Self { link: keep(self.link, ifindex, Some(pins))?, ..self })
    }
}

/// Pins a new link, if links are to be pinned.
fn keep(link: xdp::XdpLink, ifindex: u32, pins: Option<&Pins>) -> Result<xdp::XdpLink, DataPlaneError> {
    let Some(pins) = pins else { return Ok(link) };
    let no_link = |_| DataPlaneError::Object("this kernel attaches without BPF links".to_owned());
    let link = pins.pin_link(ifindex, FdLink::try_from(link).map_err(no_link)?)?;
    xdp::XdpLink::try_from(link).map_err(no_link)
}

/// Whose program an interface carries, and in which mode.
fn occupant(ifindex: u32) -> Result<Option<(String, &'static str)>, AttachError> {
    let machine = netlink::snapshot().map_err(DataPlaneError::from)?;
    let Some(program) = machine.interface(ifindex).and_then(|interface| interface.xdp_program) else {
        return Ok(None);
    };
    let mode = if program.generic { "generic" } else { "native" };
    Ok(Some((describe_program(program.id), mode)))
}

/// As [`describe_program`], of a program that is none of a relay's.
#[must_use]
pub fn describe_other(id: u32) -> Option<String> {
    let info = loaded_programs().filter_map(Result::ok).find(|info| info.id() == id)?;
    let is_own = info.name_as_str().is_some_and(|name| name.starts_with("xlat"));
    (!is_own).then(|| describe_program(id))
}

/// A loaded program in words: id, name and tag.
#[must_use]
pub fn describe_program(id: u32) -> String {
    loaded_programs().filter_map(Result::ok).find(|info| info.id() == id).map_or_else(
        || format!("id {id}"),
        |info| format!("id {id}, name {}, tag {:016x}", info.name_as_str().unwrap_or("?"), info.tag()),
    )
}
