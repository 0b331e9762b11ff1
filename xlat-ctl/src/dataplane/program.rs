//! The program that interfaces carry: what the kernel says of it, and running it on a frame that nobody has sent.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use aya::{
    TestRun as _, TestRunOptions,
    programs::{Program, Xdp},
    util::KernelVersion,
};
use xlat_common::programs;

use super::{DataPlane, error::DataPlaneError};

/// What the kernel says of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramInfo {
    /// Its id.
    pub id: u32,
    /// Its name, as the kernel keeps it (15 bytes).
    pub name: String,
    /// Hash of its instructions, hexadecimal.
    pub tag: String,
    /// Bytes of machine code.
    pub jited_bytes: u32,
    /// Instructions that the verifier went through; 0 if the kernel does not say (before Linux 5.16).
    pub instructions: u32,
    /// Bytes of memory of the program.
    pub memory: u32,
    /// Bytes of memory of the look-up tables.
    pub table_bytes: u64,
    /// How long the program on the interfaces has run, where the kernel measures that (`kernel.bpf_stats_enabled`).
    pub run_time: Duration,
    /// How often it has run meanwhile.
    pub runs: u64,
}

impl DataPlane {
    /// What the kernel says of the entry program.
    #[must_use]
    pub fn program_info(&self) -> ProgramInfo {
        let Some(Ok(info)) = self.ebpf.program(programs::ENTRY).map(Program::info) else {
            return ProgramInfo { table_bytes: self.table_bytes, ..ProgramInfo::default() };
        };
        let (run_time, runs) = self.run_time().unwrap_or_default();
        ProgramInfo {
            id: info.id(),
            name: info.name_as_str().unwrap_or_default().to_owned(),
            tag: format!("{:016x}", info.tag()),
            jited_bytes: info.size_jitted(),
            instructions: info.verified_instruction_count().unwrap_or(0),
            memory: info.memory_locked().unwrap_or(0),
            table_bytes: self.table_bytes,
            run_time,
            runs,
        }
    }

    /// The program that interfaces carry.
    pub(super) fn attached_xdp(&self) -> Option<&Program> {
        match &self.capture {
            Some(capture) => capture.program(),
            None => self.ebpf.program(programs::ENTRY),
        }
    }

    /// How long and how often it has run, those that it went on to included.
    fn run_time(&self) -> Option<(Duration, u64)> {
        let program = self.attached_xdp()?.fd().ok()?.as_fd().as_raw_fd();
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{program}")).ok()?;
        let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        Some((Duration::from_nanos(number("run_time_ns:")?), number("run_cnt:")?))
    }

    /// Whether the kernel runs a program on a frame of a given interface (Linux 5.15).
    #[must_use]
    pub fn can_be_tried() -> bool {
        KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(5, 15, 0))
    }

    /// Runs the program that interfaces carry once on a frame, as if it had arrived at one. Gives the XDP action and the frame as the
    /// program left it.
    ///
    /// # Errors
    /// The kernel refuses: no such interface, or a frame shorter than an Ethernet header.
    pub fn test_run(&self, frame: &[u8], ifindex: u32) -> Result<(u32, Vec<u8>), DataPlaneError> {
        run_once(self.attached_xdp(), frame, ifindex)
    }
}

/// Runs a program once on a frame; see [`DataPlane::test_run`].
pub(super) fn run_once(
    program: Option<&Program>,
    frame: &[u8],
    ifindex: u32,
) -> Result<(u32, Vec<u8>), DataPlaneError> {
    /// Bytes that a packet may grow by.
    const GROWTH: usize = 512;
    let program = program.and_then(|program| <&Xdp>::try_from(program).ok());
    let program = program.ok_or_else(|| DataPlaneError::Object("the entry program is missing".to_owned()))?;
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    let context = [0, frame.len() as u32, 0, ifindex, 0, 0].map(u32::to_ne_bytes).concat();
    let mut out = vec![0; frame.len() + GROWTH];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(&context),
        ..TestRunOptions::new()
    };
    let result = program
        .test_run(options)
        .map_err(|error| DataPlaneError::new(&format!("run the program on a frame of interface {ifindex}"), &error))?;
    out.truncate(result.data_size_out as usize);
    Ok((result.return_value, out))
}
