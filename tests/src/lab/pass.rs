//! An XDP program that passes everything, for the far ends of the relay's cables: the kernel delivers what XDP_TX sends into a
//! veth at once only if the other end has a program.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    sync::OnceLock,
};

use anyhow::{Context as _, Result};

/// `bpf(2)` commands and constants (include/uapi/linux/bpf.h).
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// `r0 = XDP_PASS; exit`
static INSTRUCTIONS: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];
static LICENSE: &[u8; 4] = b"GPL\0";

/// The first fields of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The same for `BPF_LINK_CREATE`.
#[repr(C)]
struct Create {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are a prefix of union bpf_attr, whose length is given; the kernel only reads them.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both commands give a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(result).expect("a descriptor")) })
}

fn program() -> Result<&'static OwnedFd> {
    static PROGRAM: OnceLock<Result<OwnedFd, String>> = OnceLock::new();
    let load = || {
        let attributes = Load {
            kind: BPF_PROG_TYPE_XDP,
            instruction_count: 2,
            instructions: INSTRUCTIONS.as_ptr() as u64,
            license: LICENSE.as_ptr() as u64,
            flags: BPF_F_XDP_HAS_FRAGS,
            ..Load::default()
        };
        bpf(BPF_PROG_LOAD, &attributes).map_err(|error| format!("loading an XDP program of two instructions: {error}"))
    };
    PROGRAM.get_or_init(load).as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

/// Puts the program on an interface of the calling thread's network namespace, as long as the handle lives.
pub(super) fn attach(ifindex: u32) -> Result<OwnedFd> {
    let attributes = Create {
        program: u32::try_from(program()?.as_raw_fd()).expect("a descriptor"),
        ifindex,
        attach_type: BPF_XDP,
        flags: XDP_FLAGS_DRV_MODE,
    };
    bpf(BPF_LINK_CREATE, &attributes).context("attaching an XDP program to the far end of a cable")
}
