//! The embedded object: loading it as this kernel can take it.

use std::{
    borrow::Cow,
    hash::{BuildHasher, Hasher, RandomState},
    num::NonZero,
    os::fd::{AsFd as _, OwnedFd},
    panic::resume_unwind,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, MapError, ProgramArray},
    programs::{Program, ProgramType, Xdp},
    sys::{BpfHelper, is_helper_supported},
    util::KernelVersion,
};
use xlat_common::{next_hop, programs, settings::Settings};

use super::{
    accounts,
    error::DataPlaneError,
    pins::{Instance, Pins},
};

/// Whether the kernel gives programs frames of several buffers (Linux 5.18). Before 6.3 it loses those that are redirected: the program
/// gives them to the kernel where an interface is not known to take them (`Interface::TAKES_BUFFERS`).
fn has_multi_buffer() -> bool {
    // The helper and the flag came together.
    matches!(is_helper_supported(ProgramType::Xdp, BpfHelper::BPF_FUNC_xdp_get_buff_len), Ok(true))
}

/// A number that nobody outside can know.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// How often a second the kernel's clock ticks, by the resolution of the clock that shows its ticks.
fn clock_ticks() -> u32 {
    const NANOSECONDS: u32 = 1_000_000_000;
    let tick = nix::time::clock_getres(nix::time::ClockId::CLOCK_MONOTONIC_COARSE).map_or(0, |time| time.tv_nsec());
    u32::try_from(tick).ok().filter(|tick| *tick != 0).map_or(100, |tick| NANOSECONDS / tick)
}

/// Completes the settings with what depends on the kernel and on this instance.
pub(super) fn complete(settings: &Settings, buckets: u32, single_buffer: bool) -> Settings {
    Settings {
        abi: xlat_common::ABI_VERSION,
        bucket_mask: buckets - 1,
        multi_buffer: (!single_buffer && has_multi_buffer()).into(),
        seed: random(),
        tick_shift: next_hop::tick_shift(clock_ticks()),
        ..*settings
    }
}

/// The loaded object.
pub(super) struct Loaded<'pins> {
    pub(super) ebpf: Ebpf,
    /// The kernel empties an array of programs when the last reference from user space goes.
    pub(super) tail_calls: ProgramArray<MapData>,
    /// Where its maps are pinned.
    pub(super) place: Pinned<'pins>,
}

/// What a new instance has pinned, as long as it may still come to nothing: its tables would stay in the kernel's memory.
pub(super) struct Pinned<'pins> {
    pins: Option<&'pins Pins>,
    instance: Option<Instance>,
}

impl Pinned<'_> {
    /// It has come to something.
    pub(super) fn keep(mut self) -> Option<Instance> {
        self.instance.take()
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        if let (Some(pins), Some(instance)) = (self.pins, self.instance.take()) {
            pins.remove_instance(&instance);
        }
    }
}

/// Loads every map and program of the object, and makes the rare packets' programs callable. `pinned`: maps that are there already,
/// by their names, each with the place where it is pinned.
pub(super) fn load<'pins>(
    object: &[u8],
    settings: &Settings,
    pins: Option<&'pins Pins>,
    pinned: &[(&str, PathBuf)],
) -> Result<Loaded<'pins>, DataPlaneError> {
    let buckets = settings.bucket_mask + 1;
    // A second loading does not count for anybody.
    let accounts = if pinned.is_empty() { settings.accounts * accounts::parts()? } else { 0 };
    let mut object = Cow::Borrowed(object);
    if settings.multi_buffer == 0 {
        without_frags(object.to_mut());
    }
    if !has_compare_exchange() {
        without_compare_exchange(object.to_mut());
    }
    let mut loader = EbpfLoader::new();
    loader
        .override_global("SETTINGS", settings, true)
        .map_max_entries("TABLE4", buckets)
        .map_max_entries("TABLE6", buckets)
        .map_max_entries("ACCOUNTS", accounts.max(1))
        .map_max_entries("NATIVE", (accounts * settings.native).max(1));
    for (name, path) in pinned {
        loader.map_pin_path(name, path.as_path());
    }
    let mut ebpf = loader.load(&object)?;
    load_programs(&mut ebpf)?;
    let place = Pinned { pins, instance: pins.map(|pins| pins.pin_instance(&ebpf)).transpose()? };
    let tail_calls = link_tail_calls(&mut ebpf)?;
    Ok(Loaded { ebpf, tail_calls, place })
}

/// Loads the programs, as many at a time as there are CPUs: nearly all the time goes into the kernel's verifier.
fn load_programs(ebpf: &mut Ebpf) -> Result<(), DataPlaneError> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let programs = Mutex::new(ebpf.programs_mut());
    // The lock is not held while a program loads.
    let next = || programs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some((name, program)) = next() {
            if let Program::Xdp(program) = program {
                program.load().map_err(|error| DataPlaneError::of_program(name, &error))?;
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// An older kernel refuses programs that say they can handle several buffers. They say it by the name of their section:
/// in the section names, those of the relocations (`.relxdp.frags`) and the type information alike.
pub(super) fn without_frags(object: &mut [u8]) {
    const WITH: &[u8] = b"xdp.frags\0";
    const WITHOUT: &[u8] = b"xdp\0\0\0\0\0\0\0";
    let places: Vec<usize> =
        object.windows(WITH.len()).enumerate().filter(|(_, bytes)| *bytes == WITH).map(|(place, _)| place).collect();
    for place in places {
        object[place..place + WITH.len()].copy_from_slice(WITHOUT);
    }
}

/// Whether programs can compare and exchange in one step (Linux 5.12), which remembering next hops takes.
pub(super) fn has_compare_exchange() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(5, 12, 0))
}

/// An older kernel refuses a program with that instruction in it, even where it is never reached, as where next hops are not
/// remembered. It becomes a plain store, which has the same operands; gives how many there were.
fn without_compare_exchange(object: &mut [u8]) -> usize {
    /// `BPF_STX | BPF_DW`, with `BPF_ATOMIC` and with `BPF_MEM`; `BPF_CMPXCHG` is the instruction's constant.
    const ATOMIC: u8 = 0xdb;
    const STORE: u8 = 0x7b;
    const COMPARE_EXCHANGE: [u8; 4] = 0xf1_u32.to_le_bytes();
    let (instructions, _) = object.as_chunks_mut::<8>();
    let mut count = 0;
    for instruction in instructions {
        if instruction[0] == ATOMIC && instruction[2..4] == [0, 0] && instruction[4..] == COMPARE_EXCHANGE {
            instruction[0] = STORE;
            instruction[4..].fill(0);
            count += 1;
        }
    }
    count
}

fn link_tail_calls(ebpf: &mut Ebpf) -> Result<ProgramArray<MapData>, DataPlaneError> {
    let map = ebpf.take_map("PROGRAMS").ok_or_else(|| DataPlaneError::Object("map PROGRAMS is missing".to_owned()))?;
    let mut array = ProgramArray::try_from(map).map_err(|error| DataPlaneError::Object(error.to_string()))?;
    for (name, index) in programs::TAIL_CALLS {
        let program = xdp(ebpf, name)?;
        let fd = program.fd().map_err(|error| DataPlaneError::of_program(name, &error))?;
        array
            .set(*index, fd, 0)
            .map_err(|error| DataPlaneError::new(&format!("make the program {name} callable"), &error))?;
    }
    Ok(array)
}

/// One of the object's XDP programs.
pub(super) fn xdp<'ebpf>(ebpf: &'ebpf mut Ebpf, name: &str) -> Result<&'ebpf mut Xdp, DataPlaneError> {
    ebpf.program_mut(name)
        .and_then(|program| <&mut Xdp>::try_from(program).ok())
        .ok_or_else(|| DataPlaneError::Object(format!("program {name} is missing")))
}

/// A descriptor of its own for one of the object's XDP programs.
pub(super) fn descriptor(ebpf: &mut Ebpf, name: &str) -> Result<OwnedFd, DataPlaneError> {
    let failed = |error: &dyn std::fmt::Display| DataPlaneError::Object(format!("program {name}: {error}"));
    let program = xdp(ebpf, name)?.fd().map_err(|error| failed(&error))?;
    program.as_fd().try_clone_to_owned().map_err(|error| failed(&error))
}

/// Takes a map of the object, as the type that it is used as.
pub(super) fn map<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<T, DataPlaneError> {
    let map = ebpf.take_map(name).ok_or_else(|| DataPlaneError::Object(format!("map {name} is missing")))?;
    T::try_from(map).map_err(|error| DataPlaneError::Object(format!("map {name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_not_claim_several_buffers_before_an_older_kernel() {
        let mut patched = crate::OBJECT.to_vec();
        without_frags(&mut patched);
        assert!(!patched.windows(9).any(|bytes| bytes == b"xdp.frags"));
    }

    #[test]
    fn takes_every_compare_and_exchange_out_before_an_older_kernel() {
        let mut patched = crate::OBJECT.to_vec();
        assert!((1..64).contains(&without_compare_exchange(&mut patched)));
        assert_eq!(without_compare_exchange(&mut patched), 0);
    }

    #[test]
    fn gives_each_instance_its_own_seed() {
        let seeds = [(); 2].map(|()| complete(&Settings::DEFAULT, 64, false).seed);
        assert_ne!(seeds[0], seeds[1]);
    }
}
