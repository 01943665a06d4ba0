//! Copying to and from granted pages (GNTTABOP_copy).

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use hypercall_abi::grant_table::{GntStatus, GntcopyFlags, GnttabCopy, GnttabCopyPtr};
use hypercall_abi::xen::DomId;

use super::active::Use;
use super::table::Held;
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::{Frames, Machine};
use crate::num::{GrantRef, Mfn, PAGE_SIZE};

/// One end of a copy, as the caller names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct End {
    domid: DomId,
    what: What,
    write: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Grant(GrantRef),
    Frame(Mfn),
}

impl End {
    fn new(pointer: &GnttabCopyPtr, is_grant: bool, write: bool) -> Self {
        let what = if is_grant {
            What::Grant(GrantRef(pointer.u.as_ref()))
        } else {
            What::Frame(Mfn(pointer.u.as_gmfn()))
        };
        Self {
            domid: pointer.domid,
            what,
            write,
        }
    }
}

/// An end that is held.
#[derive(Debug)]
struct Claimed<'a> {
    end: End,
    page: Held<'a>,
    /// The grant to let go of.
    grant: Option<(Arc<Domain>, GrantRef)>,
}

/// Copies of one hypercall: what the last one used is kept for the next. [`CopyBatch::finish`] must be called.
#[derive(Debug)]
#[must_use]
pub struct CopyBatch<'a> {
    source: Option<Claimed<'a>>,
    dest: Option<Claimed<'a>>,
}

impl<'a> CopyBatch<'a> {
    /// Nothing is held.
    pub const fn new() -> Self {
        Self {
            source: None,
            dest: None,
        }
    }

    /// Makes one copy for `domain`.
    pub fn copy<M: Machine>(
        &mut self,
        hv: &'a Hypervisor<M>,
        domain: &Arc<Domain>,
        op: &GnttabCopy,
    ) -> GntStatus {
        self.try_copy(hv, domain, op)
            .err()
            .unwrap_or(GntStatus::OKAY)
    }

    fn try_copy<M: Machine>(
        &mut self,
        hv: &'a Hypervisor<M>,
        domain: &Arc<Domain>,
        op: &GnttabCopy,
    ) -> Result<(), GntStatus> {
        let flags = GntcopyFlags::from_bits_retain(op.flags);
        let source = End::new(&op.source, flags.contains(GntcopyFlags::SOURCE_GREF), false);
        let dest = End::new(&op.dest, flags.contains(GntcopyFlags::DEST_GREF), true);
        // Both domains first, as Xen answers.
        let source_domain = copy_domain(hv, domain, source)?;
        let dest_domain = copy_domain(hv, domain, dest)?;
        let from = claim(hv, &mut self.source, domain, &source_domain, source)?;
        let to = claim(hv, &mut self.dest, domain, &dest_domain, dest)?;
        let fits = |offset: u16| u64::from(offset) + u64::from(op.len) <= PAGE_SIZE;
        if !fits(op.source.offset) || !fits(op.dest.offset) {
            return Err(GntStatus::BAD_COPY_ARG);
        }
        copy_bytes(
            &hv.machine,
            (from, op.source.offset),
            (to, op.dest.offset),
            op.len,
        );
        Ok(())
    }

    /// Lets go of everything.
    pub fn finish<M: Machine>(&mut self, hv: &Hypervisor<M>) {
        release(hv, &mut self.source);
        release(hv, &mut self.dest);
    }
}

impl Default for CopyBatch<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// The domain of an end. A frame can only be the caller's own, and he must say so by DOMID_SELF.
fn copy_domain<M: Machine>(
    hv: &Hypervisor<M>,
    caller: &Arc<Domain>,
    end: End,
) -> Result<Arc<Domain>, GntStatus> {
    if end.domid == DomId::SELF {
        return Ok(caller.clone());
    }
    match end.what {
        // ABI: whether there is such a domain is asked first.
        What::Frame(_) if hv.granter(caller, end.domid).is_none() => Err(GntStatus::BAD_DOMAIN),
        What::Frame(_) => Err(GntStatus::PERMISSION_DENIED),
        What::Grant(_) => hv.granter(caller, end.domid).ok_or(GntStatus::BAD_DOMAIN),
    }
}

/// Holds `end`, unless the last copy held the same.
fn claim<'a, M: Machine>(
    hv: &'a Hypervisor<M>,
    held: &mut Option<Claimed<'a>>,
    caller: &Domain,
    domain: &Arc<Domain>,
    end: End,
) -> Result<Mfn, GntStatus> {
    if let Some(claimed) = held.as_ref().filter(|claimed| claimed.end == end) {
        return Ok(claimed.page.mfn());
    }
    release(hv, held);
    let claimed = match end.what {
        What::Frame(frame) => {
            let frame = domain
                .frame(&hv.machine, frame.0)
                .ok_or(GntStatus::BAD_PAGE)?;
            Claimed {
                end,
                page: Held::get(&hv.mem, frame, domain.id, end.write)?,
                grant: None,
            }
        }
        What::Grant(reference) => {
            let used = copy_use(end);
            let mut given = domain.grants.given.lock();
            let page = given.begin(&hv.machine, &hv.mem, domain.id, reference, caller.id, used)?;
            Claimed {
                end,
                page,
                grant: Some((domain.clone(), reference)),
            }
        }
    };
    Ok(held.insert(claimed).page.mfn())
}

fn release<M: Machine>(hv: &Hypervisor<M>, held: &mut Option<Claimed<'_>>) {
    let Some(Claimed { end, page, grant }) = held.take() else {
        return;
    };
    drop(page);
    if let Some((domain, reference)) = grant {
        domain
            .grants
            .given
            .lock()
            .end(&hv.machine, reference, copy_use(end));
    }
}

const fn copy_use(end: End) -> Use {
    Use {
        host: true,
        device: false,
        write: end.write,
    }
}

/// Copies within bounds that were checked. Both pages may be one and the same.
fn copy_bytes(frames: &impl Frames, from: (Mfn, u16), to: (Mfn, u16), len: u16) {
    let (source, start) = (from.0, usize::from(from.1));
    let mut buffer = [0u8; PAGE_SIZE as usize + 8];
    let first = start / 8;
    let last = (start + usize::from(len)).div_ceil(8);
    let words = frames.words(source).get(first..last).unwrap_or(&[]);
    for (bytes, word) in buffer.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
    }
    let skip = start % 8;
    if let Some(bytes) = buffer.get(skip..skip + usize::from(len)) {
        frames.write_frame(to.0, usize::from(to.1), bytes);
    }
}
