//! A capture as a file for Wireshark and its relatives.
//!
//! The two frames of a packet stand one after the other, on the interfaces that they came and left by, each with a comment that has
//! the packet's number and says what became of it.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::{self, Write},
    time::{Duration, SystemTime},
};

use pcap_file::{
    DataLink, Endianness, PcapError,
    pcapng::{
        Block, PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
            interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption},
            section_header::{SectionHeaderBlock, SectionHeaderOption},
        },
    },
};

use super::text::comment;
use crate::capture::{Frame, Packet, Progress};

/// `if_tsresol`: nanoseconds.
const NANOSECONDS: u8 = 9;
/// `epb_flags`: which way a frame went.
const INBOUND: u32 = 1;
/// See [`INBOUND`].
const OUTBOUND: u32 = 2;
/// The name of the interface of frames that the kernel forwards.
const KERNEL: &str = "to-kernel";

/// A file that is being written.
pub(super) struct PcapNg<W: Write> {
    writer: PcapNgWriter<W>,
    /// Numbers of the interfaces.
    interfaces: HashMap<String, u32>,
    snaplen: u32,
}

impl<W: Write> PcapNg<W> {
    /// Begins a file.
    pub(super) fn new(out: W, snaplen: u32) -> io::Result<Self> {
        let application = concat!("xlat-ctl ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![SectionHeaderOption::UserApplication(Cow::Borrowed(application))],
            ..SectionHeaderBlock::default()
        };
        let writer = PcapNgWriter::with_section_header(out, section).map_err(plain)?;
        let mut this = Self { writer, interfaces: HashMap::new(), snaplen };
        this.flush()?;
        Ok(this)
    }

    /// Writes a packet: its frame as it arrived, and the other if there is one.
    pub(super) fn write(&mut self, packet: &Packet) -> io::Result<()> {
        let said = comment(packet);
        let text = format!("xlat: packet {}, as it arrived: {said}", packet.number);
        self.frame(&packet.before, packet.time, INBOUND, text)?;
        let Some(after) = &packet.after else { return Ok(()) };
        let what = if packet.answered { "the answer to its sender" } else { "as it left" };
        let text = format!("xlat: packet {}, {what}: {said}", packet.number);
        self.frame(after, packet.time + packet.took, OUTBOUND, text)
    }

    fn frame(&mut self, frame: &Frame, time: u64, flags: u32, comment: String) -> io::Result<()> {
        let interface_id = self.interface(frame.interface.as_deref().unwrap_or(KERNEL))?;
        let block = EnhancedPacketBlock {
            interface_id,
            timestamp: Duration::from_nanos(time),
            original_len: frame.len,
            data: Cow::Borrowed(&frame.data),
            options: vec![EnhancedPacketOption::Comment(Cow::Owned(comment)), EnhancedPacketOption::Flags(flags)],
        };
        self.block(&Block::EnhancedPacket(block))
    }

    /// The number of an interface, which is described when it first has a frame.
    fn interface(&mut self, name: &str) -> io::Result<u32> {
        if let Some(id) = self.interfaces.get(name) {
            return Ok(*id);
        }
        let id = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        let mut options = vec![
            InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ];
        if name == KERNEL {
            let text = "translated packets that the kernel forwards";
            options.push(InterfaceDescriptionOption::IfDescription(Cow::Borrowed(text)));
        }
        let block = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: self.snaplen, options };
        self.block(&Block::InterfaceDescription(block))?;
        self.interfaces.insert(name.to_owned(), id);
        Ok(id)
    }

    /// Hands out what is written so far.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }

    /// Ends the file with what was counted, which the format keeps by interface: it stands with the first.
    pub(super) fn finish(&mut self, progress: &Progress) -> io::Result<()> {
        if !self.interfaces.is_empty() {
            let text = format!("xlat: {} packets were over the rate", progress.over_rate);
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let block = InterfaceStatisticsBlock {
                interface_id: 0,
                // The upper half stands first.
                timestamp: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).rotate_left(32),
                options: vec![
                    InterfaceStatisticsOption::Comment(Cow::Owned(text)),
                    InterfaceStatisticsOption::IsbFilterAccept(progress.matched),
                    InterfaceStatisticsOption::IsbOsDrop(progress.lost),
                    InterfaceStatisticsOption::IsbUsrDeliv(progress.shown),
                ],
            };
            self.block(&Block::InterfaceStatistics(block))?;
        }
        self.flush()
    }

    fn block(&mut self, block: &Block<'_>) -> io::Result<()> {
        self.writer.write_block(block).map(|_| ()).map_err(plain)
    }
}

fn plain(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
