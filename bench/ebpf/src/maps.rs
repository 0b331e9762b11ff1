//! The maps, all filled and read by the bench.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, PerCpuArray, ProgramArray},
};
use xlat_bench_common::{
    Arrived, HISTOGRAM, MORE_STEPS, NUMBERED_FRAMES, NUMBERS_PER_PAGE, Numbered, Numbering, STEPS, Setup, State, Step,
    TEMPLATES, Template,
};

/// What packets are made of.
#[map]
pub static TEMPLATE: Array<Template> = Array::with_max_entries(TEMPLATES, 0);
/// The packets, one after the other and over again.
#[map]
pub static SCHEDULE: Array<Step> = Array::with_max_entries(STEPS + MORE_STEPS, BPF_F_MMAPABLE);
/// One record.
#[map]
pub static SETUP: Array<Setup> = Array::with_max_entries(1, 0);
/// One record per CPU.
#[map]
pub static STATE: PerCpuArray<State> = PerCpuArray::with_max_entries(1, 0);
/// One record per CPU.
#[map]
pub static ARRIVED: PerCpuArray<Arrived> = PerCpuArray::with_max_entries(1, 0);
/// A histogram per CPU (`xlat_bench_common::place_of`).
#[map]
pub static TIMES: PerCpuArray<u64> = PerCpuArray::with_max_entries(HISTOGRAM, 0);
/// The program that is measured.
#[map]
pub static SUBJECT: ProgramArray = ProgramArray::with_max_entries(1, 0);
/// Cache lines, the first word of each naming the next. The bench sets the size before loading.
#[map]
pub static CHASE: Array<[u32; 16]> = Array::with_max_entries(64, BPF_F_MMAPABLE);
/// The frames that are numbered.
#[map]
pub static NUMBERED: Array<Numbered> = Array::with_max_entries(NUMBERED_FRAMES, 0);
/// One record.
#[map]
pub static NUMBERING: Array<Numbering> = Array::with_max_entries(1, 0);
/// What has come of each number: 0, a fingerprint, or `xlat_bench_common::TWICE`. The proof sets the size before loading.
#[map]
pub static NUMBERS: Array<[u32; NUMBERS_PER_PAGE as usize]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
