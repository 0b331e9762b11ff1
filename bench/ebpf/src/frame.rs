//! Writing a packet into a frame.

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_ktime_get_ns, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len},
    programs::XdpContext,
};
use xlat_bench_common::{Setup, State, Step, Template};

use crate::{
    maps::{SCHEDULE, TEMPLATE},
    packet::at,
};

/// Most looks at the clock before a batch: some 25 ns each.
const MOST_LOOKS: u32 = 4096;

/// Batches that are made up for at a time.
const MOST_LATE: u64 = 4;

/// Words that every frame has room for.
const SHORT: usize = 7;
/// Words that an IPv6 frame has room for.
const MIDDLE: usize = 10;

/// Writes the next packet; gives its family.
#[inline(always)]
pub fn write(ctx: &XdpContext, state: &mut State, setup: &Setup, whole: bool) -> Option<u32> {
    let step = SCHEDULE.get(setup.first_step + (state.position as u32 & setup.step_mask))?;
    state.position += 1;
    let template = TEMPLATE.get(step.template)?;
    set_len(ctx, step.len, whole)?;
    header(ctx, template)?;
    addresses(ctx, template, step)?;
    Some(template.family)
}

/// Moves the frame's start to where it was when this CPU saw it first.
#[inline(always)]
pub fn restore(ctx: &XdpContext, state: &mut State) -> Option<()> {
    let start = ctx.data();
    // The verifier takes a difference of addresses only if one of them has been through memory.
    // SAFETY: a word of this CPU's record.
    let now = unsafe {
        (&raw mut state.scratch).write_volatile(start as u64);
        (&raw const state.scratch).read_volatile()
    };
    if state.start == 0 {
        state.start = now;
    }
    let delta = state.start as i64 - now as i64;
    // Also where nothing is to be moved, so that a subject that moves nothing is charged for the same.
    // SAFETY: the helper checks the room.
    if unsafe { bpf_xdp_adjust_head(ctx.as_ptr().cast(), delta as i32) } != 0 {
        return None;
    }
    Some(())
}

#[inline(always)]
fn set_len(ctx: &XdpContext, len: u32, whole: bool) -> Option<()> {
    let now = if whole {
        // SAFETY: the helper only reads the context.
        (unsafe { bpf_xdp_get_buff_len(ctx.as_ptr().cast()) }) as usize
    } else {
        ctx.data_end() - ctx.data()
    };
    let delta = len as i32 - now as i32;
    // SAFETY: the helper checks the room.
    if delta != 0 && unsafe { bpf_xdp_adjust_tail(ctx.as_ptr().cast(), delta) } != 0 {
        return None;
    }
    Some(())
}

#[inline(always)]
fn header(ctx: &XdpContext, template: &Template) -> Option<()> {
    words::<0, SHORT>(ctx, template)?;
    if template.words as usize > SHORT {
        words::<SHORT, MIDDLE>(ctx, template)?;
        if template.words as usize > MIDDLE {
            words::<MIDDLE, { xlat_bench_common::HEADER_WORDS }>(ctx, template)?;
        }
    }
    Some(())
}

#[inline(always)]
fn words<const FROM: usize, const TO: usize>(ctx: &XdpContext, template: &Template) -> Option<()> {
    let end = at::<u64>(ctx, 8 * (TO - 1))?;
    for word in FROM..TO {
        // SAFETY: the last of them is within the frame.
        unsafe { *end.sub(TO - 1 - word) = template.header[word] };
    }
    Some(())
}

#[inline(always)]
fn addresses(ctx: &XdpContext, template: &Template, step: &Step) -> Option<()> {
    let sum = u64::from(step.service) + u64::from(step.client);
    match template.family {
        Template::IPV4 => {
            let pair = at::<[u32; 2]>(ctx, 26)?;
            let checksum = at::<u16>(ctx, 24)?;
            // SAFETY: `at` has checked the places.
            unsafe {
                *pair = [step.client, step.service];
                *checksum = complement(sum + u64::from(template.header_checksum));
            }
        }
        Template::IPV6 => {
            let (source, destination) = (at::<u32>(ctx, 34)?, at::<u32>(ctx, 50)?);
            // SAFETY: `at` has checked the places.
            unsafe {
                *source = step.service;
                *destination = step.client;
            }
        }
        _ => return Some(()),
    }
    if template.checksum_at != 0 {
        let checksum = at::<u16>(ctx, template.checksum_at as usize & 0xff)?;
        // SAFETY: `at` has checked the place.
        unsafe { *checksum = complement(sum + u64::from(template.checksum)) };
    }
    Some(())
}

/// The checksum of a ones' complement sum (RFC 1071), in the order in which the words were added.
#[inline(always)]
const fn complement(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// Waits until the next batch is due. A batch that is late is sent at once, and so are the next ones until the lost time is made
/// up, if it is no more than [`MOST_LATE`] batches take: else the rest is left out, as a link's queue would not hold it.
#[inline(always)]
pub fn pace(state: &mut State, setup: &Setup) {
    if setup.batch == 0 || !state.position.is_multiple_of(u64::from(setup.batch)) {
        return;
    }
    let mut now = 0;
    for _ in 0..MOST_LOOKS {
        // SAFETY: the helper has no arguments.
        now = unsafe { bpf_ktime_get_ns() };
        if now >= state.due {
            break;
        }
    }
    let most_late = MOST_LATE * setup.pace;
    if now > state.due + most_late {
        state.due = now - most_late;
    }
    state.due += setup.pace;
}
