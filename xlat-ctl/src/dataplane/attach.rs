//! Attaching the program to interfaces, never in anybody's place.

use aya::programs::{Xdp, loaded_programs, xdp};
use tracing::info;

use super::{
    XdpMode,
    error::{AttachError, DataPlaneError, cause},
};
use crate::netlink;

/// The program on one interface. Dropping it detaches.
pub(super) struct Link {
    pub(super) name: String,
    /// [`XdpMode::Native`] or [`XdpMode::Generic`].
    pub(super) mode: XdpMode,
    /// A BPF link: it is the kernel that detaches when the descriptor goes.
    _link: xdp::XdpLink,
}

/// Attaches in the wanted mode, or in generic mode where any will do and the driver refuses.
pub(super) fn attach(program: &mut Xdp, ifindex: u32, name: &str, mode: XdpMode) -> Result<Link, AttachError> {
    match mode {
        XdpMode::Generic => in_mode(program, ifindex, name, XdpMode::Generic),
        XdpMode::Native => in_mode(program, ifindex, name, XdpMode::Native),
        XdpMode::Auto => match in_mode(program, ifindex, name, XdpMode::Native) {
            Err(AttachError::Refused { reason, .. }) => {
                info!("the driver of {name} takes no XDP program ({reason}): trying generic mode, which is slower");
                in_mode(program, ifindex, name, XdpMode::Generic)
            }
            other => other,
        },
    }
}

fn in_mode(program: &mut Xdp, ifindex: u32, name: &str, mode: XdpMode) -> Result<Link, AttachError> {
    let (kernel_mode, word) = match mode {
        XdpMode::Generic => (xdp::XdpMode::Skb, "generic"),
        XdpMode::Native | XdpMode::Auto => (xdp::XdpMode::Driver, "native"),
    };
    let attached = program.attach_to_if_index(ifindex, kernel_mode).and_then(|id| program.take_link(id));
    let error = match attached {
        Ok(link) => return Ok(Link { name: name.to_owned(), mode, _link: link }),
        Err(error) => error,
    };
    let interface = name.to_owned();
    Err(match cause(&error) {
        (Some(libc::EPERM | libc::EACCES), _) => AttachError::Permission { interface },
        (Some(libc::ENODEV), _) => AttachError::Gone { interface },
        (Some(libc::EBUSY | libc::EEXIST), reason) => match occupant(ifindex)? {
            Some((program, mode)) => AttachError::Occupied { interface, program, mode },
            None => AttachError::Refused { interface, mode: word, reason },
        },
        (Some(libc::EOPNOTSUPP), _) => {
            let reason = "the driver does not support it".to_owned();
            AttachError::Refused { interface, mode: word, reason }
        }
        (_, reason) => AttachError::Refused { interface, mode: word, reason },
    })
}

/// Whose program an interface carries, and in which mode.
fn occupant(ifindex: u32) -> Result<Option<(String, &'static str)>, AttachError> {
    let machine = netlink::snapshot().map_err(DataPlaneError::from)?;
    let Some(program) = machine.interface(ifindex).and_then(|interface| interface.xdp_program) else {
        return Ok(None);
    };
    let mode = if program.generic { "generic" } else { "native" };
    let described = loaded_programs().filter_map(Result::ok).find(|info| info.id() == program.id).map_or_else(
        || format!("id {}", program.id),
        |info| format!("id {}, name {}, tag {:016x}", program.id, info.name_as_str().unwrap_or("?"), info.tag()),
    );
    Ok(Some((described, mode)))
}
