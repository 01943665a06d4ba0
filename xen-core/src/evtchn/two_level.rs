//! The 2-level format: a bit per port in the shared page, a bit per word of bits in `vcpu_info`.
//!
//! Contract: public header event_channel.h; `shared_info.evtchn_pending` and `evtchn_mask` in xen.h.

use core::sync::atomic::{AtomicU64, Ordering};

use super::Raised;
use crate::domain::VcpuInfo;
use crate::machine::Frames;
use crate::num::{Mfn, Port};

/// First word of `shared_info.evtchn_pending`.
const PENDING_WORD: usize = 2048 / 8;
/// First word of `shared_info.evtchn_mask`.
const MASK_WORD: usize = 2560 / 8;
/// Words of either.
const WORDS: u32 = 64;

/// A port's bits.
#[derive(Clone, Copy, Debug)]
struct Bits<'a> {
    pending: &'a AtomicU64,
    mask: &'a AtomicU64,
    /// The port's bit in both words.
    bit: u64,
    /// The word's bit in `evtchn_pending_sel`.
    selector: u64,
}

fn bits(frames: &impl Frames, shared_info: Mfn, port: Port) -> Option<Bits<'_>> {
    let index = port.0 / 64;
    if index >= WORDS {
        return None;
    }
    let words = frames.words(shared_info);
    Some(Bits {
        pending: words.get(PENDING_WORD + index as usize)?,
        mask: words.get(MASK_WORD + index as usize)?,
        bit: 1 << (port.0 % 64),
        selector: 1 << index,
    })
}

/// Sets the selector bit of a vCPU; true if it was clear, and the vCPU must be told.
fn select(frames: &impl Frames, info: Option<VcpuInfo>, selector: u64) -> bool {
    info.is_some_and(|info| {
        info.pending_sel(frames)
            .fetch_or(selector, Ordering::SeqCst)
            & selector
            == 0
    })
}

/// Makes `port` pending; `info` is that of the vCPU to tell.
pub fn raise(frames: &impl Frames, shared_info: Mfn, port: Port, info: Option<VcpuInfo>) -> Raised {
    let Some(Bits {
        pending,
        mask,
        bit,
        selector,
    }) = bits(frames, shared_info, port)
    else {
        return Raised::default();
    };
    if pending.fetch_or(bit, Ordering::SeqCst) & bit != 0 {
        return Raised::default();
    }
    let masked = mask.load(Ordering::SeqCst) & bit != 0;
    Raised {
        newly_pending: true,
        upcall: !masked && select(frames, info, selector),
    }
}

/// Clears the mask of `port`; true if the vCPU of `info` must be told of what was pending behind it.
pub fn unmask(frames: &impl Frames, shared_info: Mfn, port: Port, info: Option<VcpuInfo>) -> bool {
    let Some(Bits {
        pending,
        mask,
        bit,
        selector,
    }) = bits(frames, shared_info, port)
    else {
        return false;
    };
    mask.fetch_and(!bit, Ordering::SeqCst) & bit != 0
        && pending.load(Ordering::SeqCst) & bit != 0
        && select(frames, info, selector)
}

/// Whether `port` is pending.
#[must_use]
pub fn is_pending(frames: &impl Frames, shared_info: Mfn, port: Port) -> bool {
    bits(frames, shared_info, port).is_some_and(|b| b.pending.load(Ordering::SeqCst) & b.bit != 0)
}

/// Whether `port` is masked.
#[must_use]
pub fn is_masked(frames: &impl Frames, shared_info: Mfn, port: Port) -> bool {
    bits(frames, shared_info, port).is_none_or(|b| b.mask.load(Ordering::SeqCst) & b.bit != 0)
}

/// Makes `port` not pending; true if it was.
pub fn clear_pending(frames: &impl Frames, shared_info: Mfn, port: Port) -> bool {
    bits(frames, shared_info, port)
        .is_some_and(|b| b.pending.fetch_and(!b.bit, Ordering::SeqCst) & b.bit != 0)
}
