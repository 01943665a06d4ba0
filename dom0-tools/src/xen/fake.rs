//! A hypervisor for tests: domains with memory, and everything that was asked of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use hypercall_abi::domctl::{Domctl, DomctlCmd, DomctlGetdomaininfo, DomctlU};
use hypercall_abi::memory::{MemResource, MemoryOp, MemoryReservation};
use hypercall_abi::sysctl::{Sysctl, SysctlCmd, SysctlPhysinfo, SysctlU};
use hypercall_abi::xen::{DomId, HypercallNr, MmuextOp};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::{Arg, GuestMemory, PAGE, Xen, XenError};

/// Memory that is not a guest's.
pub struct Memory(std::sync::Mutex<Vec<u8>>);

impl Memory {
    /// Zeros.
    pub fn new(len: usize) -> Self {
        Self(std::sync::Mutex::new(vec![0; len]))
    }
}

impl GuestMemory for Memory {
    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
    fn read(&self, offset: usize, to: &mut [u8]) {
        to.copy_from_slice(&self.0.lock().unwrap()[offset..offset + to.len()]);
    }
    fn write(&self, offset: usize, from: &[u8]) {
        self.0.lock().unwrap()[offset..offset + from.len()].copy_from_slice(from);
    }
    fn fill(&self, offset: usize, len: usize, byte: u8) {
        self.0.lock().unwrap()[offset..offset + len].fill(byte);
    }
    fn load_u32(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes);
        u32::from_ne_bytes(bytes)
    }
    fn store_u32(&self, offset: usize, value: u32) {
        self.write(offset, &value.to_ne_bytes());
    }
    fn load_u8(&self, offset: usize) -> u8 {
        self.0.lock().unwrap()[offset]
    }
    fn store_u8(&self, offset: usize, value: u8) {
        self.write(offset, &[value]);
    }
}

type Frames = std::sync::Arc<std::sync::Mutex<BTreeMap<u64, Vec<u8>>>>;

/// Frames of the machine seen as consecutive bytes.
struct View {
    frames: Frames,
    mfns: Vec<u64>,
}

impl View {
    fn each(&self, offset: usize, len: usize, mut act: impl FnMut(&mut u8, usize)) {
        assert!(offset + len <= self.mfns.len() * PAGE as usize);
        let mut frames = self.frames.lock().unwrap();
        let mut done = 0;
        while done < len {
            let at = offset + done;
            let frame = self.mfns[at / PAGE as usize];
            let inside = at % PAGE as usize;
            let count = (PAGE as usize - inside).min(len - done);
            let bytes = frames.get_mut(&frame).expect("the frame exists");
            for (index, byte) in bytes[inside..inside + count].iter_mut().enumerate() {
                act(byte, done + index);
            }
            done += count;
        }
    }
}

impl GuestMemory for View {
    fn len(&self) -> usize {
        self.mfns.len() * PAGE as usize
    }
    fn read(&self, offset: usize, to: &mut [u8]) {
        self.each(offset, to.len(), |byte, index| to[index] = *byte);
    }
    fn write(&self, offset: usize, from: &[u8]) {
        self.each(offset, from.len(), |byte, index| *byte = from[index]);
    }
    fn fill(&self, offset: usize, len: usize, value: u8) {
        self.each(offset, len, |byte, _| *byte = value);
    }
    fn load_u32(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes);
        u32::from_ne_bytes(bytes)
    }
    fn store_u32(&self, offset: usize, value: u32) {
        self.write(offset, &value.to_ne_bytes());
    }
    fn load_u8(&self, offset: usize) -> u8 {
        let mut byte = [0];
        self.read(offset, &mut byte);
        byte[0]
    }
    fn store_u8(&self, offset: usize, value: u8) {
        self.write(offset, &[value]);
    }
}

/// A domain of the fake.
#[derive(Clone, Debug, Default)]
pub struct FakeDomain {
    /// Machine frame of each guest frame.
    pub p2m: BTreeMap<u64, u64>,
    /// Claimed pages.
    pub claimed: u64,
    /// The level-4 table that was pinned.
    pub pinned: Option<u64>,
    /// vCPU 0's context.
    pub context: Vec<u8>,
    /// The shared page's frame.
    pub shared_info: u64,
    /// The grant table's frame.
    pub grants: u64,
    /// The domain's next port.
    pub ports: u32,
}

/// The fake.
#[derive(Default)]
pub struct FakeXen {
    frames: Frames,
    state: RefCell<State>,
}

/// What the fake knows.
#[derive(Default)]
pub struct State {
    /// Domains by id.
    pub domains: BTreeMap<u16, FakeDomain>,
    /// Free pages.
    pub free: u64,
    /// Whether extents larger than a page can be had.
    pub large: bool,
    next_mfn: u64,
    /// Calls by name, in order.
    pub calls: Vec<String>,
}

impl FakeXen {
    /// A machine with `free` free pages and domain 1, empty.
    pub fn new(free: u64) -> Rc<Self> {
        let xen = Self::default();
        {
            let mut state = xen.state.borrow_mut();
            state.free = free;
            state.large = true;
            state.next_mfn = 0x10_0000;
        }
        let shared_info = xen.allocate(1);
        let grants = xen.allocate(1);
        xen.state.borrow_mut().domains.insert(
            1,
            FakeDomain {
                shared_info,
                grants,
                ..FakeDomain::default()
            },
        );
        Rc::new(xen)
    }

    /// What the fake knows.
    pub fn state(&self) -> std::cell::RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// Bytes of a machine frame.
    pub fn frame(&self, mfn: u64) -> Vec<u8> {
        self.frames.lock().unwrap()[&mfn].clone()
    }

    /// A word of a machine frame.
    pub fn word(&self, mfn: u64, index: usize) -> u64 {
        let frame = self.frame(mfn);
        u64::from_ne_bytes(frame[index * 8..index * 8 + 8].try_into().unwrap())
    }

    fn allocate(&self, pages: u64) -> u64 {
        let mut state = self.state.borrow_mut();
        // Neighbours in the guest are not neighbours in the machine.
        let first = state.next_mfn.next_multiple_of(pages);
        state.next_mfn = first + pages + 3;
        let mut frames = self.frames.lock().unwrap();
        for mfn in first..first + pages {
            // Not zero: the builder must not rely on it.
            frames.insert(mfn, vec![0xa5; PAGE as usize]);
        }
        first
    }

    fn domctl(&self, op: &mut Domctl, lent: &mut [super::Lent<'_>]) -> Result<u64, i32> {
        let id = op.domain.0;
        let mut state = self.state.borrow_mut();
        let domain = state.domains.get_mut(&id).ok_or(libc::ESRCH)?;
        match op.cmd {
            DomctlCmd::GETDOMAININFO => {
                let mut info = DomctlGetdomaininfo::new_zeroed();
                info.domain = op.domain;
                info.shared_info_frame = domain.shared_info;
                info.tot_pages = domain.p2m.len() as u64;
                op.u = DomctlU::from_getdomaininfo(info);
                Ok(0)
            }
            DomctlCmd::SETVCPUCONTEXT => {
                domain.context = lent[0].bytes.to_vec();
                Ok(0)
            }
            DomctlCmd::HYPERCALL_INIT => {
                let mfn = op.u.as_hypercall_init().gmfn;
                self.frames
                    .lock()
                    .unwrap()
                    .get_mut(&mfn)
                    .ok_or(libc::EINVAL)?[0] = 0x51;
                Ok(0)
            }
            _ => Err(libc::ENOSYS),
        }
    }

    fn memory_op(
        &self,
        op: MemoryOp,
        reservation: &MemoryReservation,
        lent: &mut [super::Lent<'_>],
    ) -> Result<u64, i32> {
        let id = reservation.domid.0;
        match op {
            MemoryOp::CLAIM_PAGES => {
                let mut state = self.state.borrow_mut();
                if reservation.nr_extents > state.free {
                    return Err(libc::ENOMEM);
                }
                let domain = state.domains.get_mut(&id).ok_or(libc::ESRCH)?;
                domain.claimed = reservation.nr_extents;
                Ok(0)
            }
            MemoryOp::POPULATE_PHYSMAP => {
                let pages = 1 << reservation.extent_order;
                let (words, _) = lent[0].bytes.as_chunks_mut::<8>();
                for (done, word) in words.iter_mut().enumerate() {
                    let enough = {
                        let state = self.state.borrow();
                        state.free >= pages && (state.large || pages == 1)
                    };
                    if !enough {
                        return Ok(done as u64);
                    }
                    let pfn = u64::from_ne_bytes(*word);
                    let mfn = self.allocate(pages);
                    *word = mfn.to_ne_bytes();
                    let mut state = self.state.borrow_mut();
                    state.free -= pages;
                    let domain = state.domains.get_mut(&id).ok_or(libc::ESRCH)?;
                    for index in 0..pages {
                        domain.p2m.insert(pfn + index, mfn + index);
                    }
                }
                Ok(words.len() as u64)
            }
            _ => Err(libc::ENOSYS),
        }
    }
}

impl Xen for FakeXen {
    fn call(&self, number: HypercallNr, args: &mut [Arg<'_>]) -> Result<u64, i32> {
        match (number, args) {
            (HypercallNr::DOMCTL, [Arg::Memory(bytes, lent)]) => {
                let mut op = Domctl::read_from_bytes(bytes).unwrap();
                self.state.borrow_mut().calls.push(format!("{:?}", op.cmd));
                let result = self.domctl(&mut op, lent);
                bytes.copy_from_slice(op.as_bytes());
                result
            }
            (HypercallNr::SYSCTL, [Arg::Memory(bytes, _)]) => {
                let mut op = Sysctl::read_from_bytes(bytes).unwrap();
                self.state.borrow_mut().calls.push(format!("{:?}", op.cmd));
                if op.cmd != SysctlCmd::PHYSINFO {
                    return Err(libc::ENOSYS);
                }
                let mut info = SysctlPhysinfo::new_zeroed();
                info.free_pages = self.state.borrow().free;
                op.u = SysctlU::from_physinfo(info);
                bytes.copy_from_slice(op.as_bytes());
                Ok(0)
            }
            (HypercallNr::MEMORY_OP, [Arg::Number(op), Arg::Memory(bytes, lent)]) => {
                let op = MemoryOp(u32::try_from(*op).unwrap());
                self.state.borrow_mut().calls.push(format!("{op:?}"));
                let reservation = MemoryReservation::read_from_bytes(bytes).unwrap();
                self.memory_op(op, &reservation, lent)
            }
            (HypercallNr::MMUEXT_OP, [Arg::Memory(bytes, _), _, _, Arg::Number(domain)]) => {
                let op = MmuextOp::read_from_bytes(bytes).unwrap();
                let mut state = self.state.borrow_mut();
                state.calls.push(format!("{:?}", op.cmd));
                let domain = state.domains.get_mut(&u16::try_from(*domain).unwrap());
                domain.ok_or(libc::ESRCH)?.pinned = Some(op.arg1.as_mfn());
                Ok(0)
            }
            (number, _) => panic!("unexpected call {number:?}"),
        }
    }

    fn map_frames(
        &self,
        domain: DomId,
        mfns: &[u64],
        _writable: bool,
    ) -> Result<Box<dyn GuestMemory>, XenError> {
        let state = self.state.borrow();
        let owner = &state.domains[&domain.0];
        let owned =
            |mfn: &u64| *mfn == owner.shared_info || owner.p2m.values().any(|other| other == mfn);
        // Checking all of a kernel's frames this way would take long.
        if !mfns.iter().take(4).all(owned) || owner.pinned.is_some() && mfns.len() > 1 {
            return Err(XenError::new(
                "mapping of frames",
                Some(domain),
                libc::EINVAL,
            ));
        }
        Ok(Box::new(View {
            frames: self.frames.clone(),
            mfns: mfns.to_vec(),
        }))
    }

    fn map_resource(
        &self,
        domain: DomId,
        kind: MemResource,
        _id: u32,
        count: usize,
    ) -> Result<Box<dyn GuestMemory>, XenError> {
        assert_eq!((kind, count), (MemResource::GRANT_TABLE, 1));
        let mfns = vec![self.state.borrow().domains[&domain.0].grants];
        Ok(Box::new(View {
            frames: self.frames.clone(),
            mfns,
        }))
    }
}
