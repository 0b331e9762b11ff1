//! What each device can do with XDP: the generic netlink family `netdev`, since Linux 6.3.

use std::collections::HashMap;

use rtnetlink::{
    packet_core::{Emitable, NetlinkSerializable, NlasIterator},
    sys::protocols::NETLINK_GENERIC,
};

use super::socket::{NetlinkError, Socket};

/// `NETDEV_XDP_ACT_NDO_XMIT`: the device takes frames that a program on another device redirects to it.
pub(crate) const NDO_XMIT: u64 = 4;
/// `NETDEV_XDP_ACT_NDO_XMIT_SG`: so it does with frames of several buffers.
pub(crate) const NDO_XMIT_SG: u64 = 64;
/// `NETDEV_XDP_ACT_RX_SG`: the device gives a program frames of several buffers.
pub(crate) const RX_SG: u64 = 32;

/// `struct genlmsghdr` and one attribute.
#[derive(Clone)]
struct Generic {
    family: u16,
    command: u8,
    attribute: Option<rtnetlink::packet_core::DefaultNla>,
}

const GENERIC_HEADER: usize = 4;
const VERSION: u8 = 1;

impl NetlinkSerializable for Generic {
    fn message_type(&self) -> u16 {
        self.family
    }

    fn buffer_len(&self) -> usize {
        GENERIC_HEADER + self.attribute.as_ref().map_or(0, Emitable::buffer_len)
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..GENERIC_HEADER].copy_from_slice(&[self.command, VERSION, 0, 0]);
        if let Some(attribute) = &self.attribute {
            attribute.emit(&mut buffer[GENERIC_HEADER..]);
        }
    }
}

/// The family's numbers, which the kernel gives out at run time.
#[derive(Clone, Copy)]
pub(crate) struct Family {
    id: u16,
    /// The multicast group that tells of changes.
    pub(crate) management: Option<u32>,
}

impl Family {
    /// Asks for the family. `None`: the kernel has none (before Linux 6.3).
    pub(crate) fn find(socket: &mut Socket) -> Result<Option<Self>, NetlinkError> {
        /// `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY` and its attributes.
        const CONTROLLER: u16 = 16;
        const GET_FAMILY: u8 = 3;
        const FAMILY_ID: u16 = 1;
        const FAMILY_NAME: u16 = 2;
        const GROUPS: u16 = 7;
        let name = rtnetlink::packet_core::DefaultNla::new(FAMILY_NAME, b"netdev\0".to_vec());
        let question = Generic { family: CONTROLLER, command: GET_FAMILY, attribute: Some(name) };
        let (mut id, mut management) = (None, None);
        let answer = socket.get("find the kernel's netdev family", question, &mut |_, payload| {
            for attribute in attributes(payload) {
                match attribute.kind {
                    FAMILY_ID => id = attribute.value.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes)),
                    GROUPS => management = group(attribute.value),
                    _ => {}
                }
            }
            Ok(())
        });
        match answer {
            Ok(()) => Ok(id.map(|id| Self { id, management })),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The XDP features of every device, by `ifindex`.
    pub(crate) fn features(&self, socket: &mut Socket) -> Result<HashMap<u32, u64>, NetlinkError> {
        /// `NETDEV_CMD_DEV_GET` and its attributes.
        const DEV_GET: u8 = 1;
        const IFINDEX: u16 = 1;
        const XDP_FEATURES: u16 = 3;
        let question = Generic { family: self.id, command: DEV_GET, attribute: None };
        let all = socket.dump("ask what the interfaces can do with XDP", &question, |_, payload| {
            let (mut ifindex, mut features) = (None, None);
            for attribute in attributes(payload) {
                match attribute.kind {
                    IFINDEX => ifindex = attribute.value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)),
                    XDP_FEATURES => features = attribute.value.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes)),
                    _ => {}
                }
            }
            Ok(ifindex.zip(features))
        })?;
        Ok(all.into_iter().collect())
    }
}

/// Opens the socket that the family is asked through.
pub(crate) fn open() -> Result<Socket, NetlinkError> {
    Socket::open(NETLINK_GENERIC)
}

struct Attribute<'payload> {
    kind: u16,
    value: &'payload [u8],
}

/// The attributes of a generic netlink message.
fn attributes(payload: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    nested(payload.get(GENERIC_HEADER..).unwrap_or_default())
}

fn nested(bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    NlasIterator::new(bytes).map_while(|attribute| {
        let attribute = attribute.ok()?;
        let length = attribute.value_length();
        let kind = attribute.kind();
        let start = attribute.into_inner().get(4..4 + length)?;
        Some(Attribute { kind, value: start })
    })
}

/// The number of the group "mgmt" among `CTRL_ATTR_MCAST_GROUPS`.
fn group(groups: &[u8]) -> Option<u32> {
    const NAME: u16 = 1;
    const ID: u16 = 2;
    nested(groups).find_map(|group| {
        let name = nested(group.value).find(|attribute| attribute.kind == NAME)?;
        let id = nested(group.value).find(|attribute| attribute.kind == ID)?;
        (name.value == b"mgmt\0").then(|| id.value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)))?
    })
}
