//! The Ethernet frame around a packet.

use super::Packet;

/// A link-layer address.
pub type Mac = [u8; 6];

/// A frame as it arrives, ordinary in all that is not said.
#[derive(Clone, Debug)]
pub struct Frame {
    /// VLAN tags, outermost first: tag protocol and VLAN ID.
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) ether_type: u16,
    /// From the IP header on.
    pub(crate) packet: Vec<u8>,
    /// To this address; `None`: the interface's own.
    pub(crate) to_mac: Option<Mac>,
    /// The interface it arrives by; `None`: that of its family.
    pub(crate) arrives_by: Option<&'static str>,
    /// Bytes of the frame that are left; `None`: all.
    pub(crate) truncated: Option<usize>,
}

impl Frame {
    /// A frame of any kind.
    #[must_use]
    pub fn new(ether_type: u16, packet: &[u8]) -> Self {
        let packet = packet.to_vec();
        Self { tags: Vec::new(), ether_type, packet, to_mac: None, arrives_by: None, truncated: None }
    }

    /// With a VLAN tag (0x8100) inside those already there.
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        self.tags.push((0x8100, id));
        self
    }

    /// With a service VLAN tag (0x88a8) inside those already there.
    #[must_use]
    pub fn service_vlan(mut self, id: u16) -> Self {
        self.tags.push((0x88a8, id));
        self
    }

    /// To another link-layer address than the interface's own.
    #[must_use]
    pub fn to_mac(mut self, mac: Mac) -> Self {
        self.to_mac = Some(mac);
        self
    }

    /// Arrives by this interface.
    #[must_use]
    pub fn arrives_by(mut self, interface: &'static str) -> Self {
        self.arrives_by = Some(interface);
        self
    }

    /// With bytes after the packet's own end, as Ethernet pads short frames.
    #[must_use]
    pub fn padded_with(mut self, padding: &[u8]) -> Self {
        self.packet.extend_from_slice(padding);
        self
    }

    /// Says to be of another kind.
    #[must_use]
    pub fn ether_type(mut self, ether_type: u16) -> Self {
        self.ether_type = ether_type;
        self
    }

    /// Ends after this many bytes, the Ethernet header included.
    #[must_use]
    pub fn truncated(mut self, len: usize) -> Self {
        self.truncated = Some(len);
        self
    }

    /// Whether it is a whole packet to the interface's own address, without VLAN tags.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let is_ip = self.ether_type == 0x86dd || self.ether_type == 0x0800;
        is_ip && self.tags.is_empty() && self.to_mac.is_none() && self.truncated.is_none()
    }

    /// The frame's bytes.
    pub(crate) fn bytes(&self, to: Mac, from: Mac) -> Vec<u8> {
        let mut bytes = [self.to_mac.unwrap_or(to), from].concat();
        for (protocol, id) in &self.tags {
            bytes.extend_from_slice(&protocol.to_be_bytes());
            bytes.extend_from_slice(&id.to_be_bytes());
        }
        bytes.extend_from_slice(&self.ether_type.to_be_bytes());
        bytes.extend_from_slice(&self.packet);
        bytes.truncate(self.truncated.unwrap_or(bytes.len()));
        bytes
    }
}

impl From<Packet> for Frame {
    fn from(packet: Packet) -> Self {
        Self::new(if packet.is_v6() { 0x86dd } else { 0x0800 }, &packet.bytes())
    }
}
