//! A second domain that runs: a program of a few instructions waits for an event, makes the hypercall that it finds in a
//! page, and answers with an event. So the first domain sees every call from the second one's side.

use core::mem::offset_of;
use core::sync::atomic::Ordering;

use pv_guest_shim::hypercall_abi::arch_x86::xen_x86_64::{FLAT_RING3_CS64, FLAT_RING3_SS64};
use pv_guest_shim::hypercall_abi::arch_x86::{CpuUserRegs, VcpuGuestContext};
use pv_guest_shim::hypercall_abi::domctl::{DomctlCmd, DomctlVcpucontext};
use pv_guest_shim::hypercall_abi::event_channel::{EvtchnAllocUnbound, EvtchnOp};
use pv_guest_shim::hypercall_abi::guest_handle::GuestHandle;
use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr, MmuextCmd};
use pv_guest_shim::{events, mmu, sched, shared, time};
use zerocopy::FromZeros;

use super::domain::{Domain, domctl};
use super::map;
use crate::call::{call, mmuext};
use crate::report::number;
use crate::{code, pages};

/// Frames of the domain by use.
const CODE: usize = 0;
const STACK: usize = 1;
const REQUEST: usize = 2;
/// The page for arguments, that both see.
pub const ARGUMENT: usize = 3;
/// A page without a mapping of the domain's own.
pub const SPARE: usize = 4;
pub const L1: usize = 10;
const L2: usize = 11;
const L3: usize = 12;
const L4: usize = 13;

/// Where the domain sees its pages: number `at` of its only L1 table.
const BASE: u64 = 0x40_0000;
const SHARED: u64 = 8;
/// Entry of the L1 table that is the checks' to use.
pub const WINDOW: u64 = 9;

const FLAGS: u64 = mmu::KERNEL_RW;
const ONLINE: u64 = 32;
const IN_KERNEL: u64 = 4;
const INTERRUPTS: u64 = 1 << 9;
/// Nanoseconds after which the domain counts as dead.
const PATIENCE: u64 = 10_000_000_000;

/// Places in the request page.
const RESULT: u64 = 48;
const COUNT: u64 = 56;
const SEND: u64 = 64;
const POLL: u64 = 72;
const PORTS: u64 = 96;

/// The running domain.
pub struct Remote {
    pub domain: Domain,
    /// The own end of the channel.
    pub port: u32,
    request: u64,
    argument: u64,
}

/// Its program: RBX is the request page, RBP the shared page.
fn program() -> u64 {
    code!(
        "2:",
        "mov eax, 29",
        "mov edi, 3",
        "lea rsi, [rbx + 72]",
        "syscall",
        "lock btr qword ptr [rbp + 0x800], 1",
        "jnc 2b",
        "mov rax, [rbx]",
        "mov rdi, [rbx + 8]",
        "mov rsi, [rbx + 16]",
        "mov rdx, [rbx + 24]",
        "mov r10, [rbx + 32]",
        "mov r8, [rbx + 40]",
        "syscall",
        "mov [rbx + 48], rax",
        "inc qword ptr [rbx + 56]",
        "mov eax, 32",
        "mov edi, 4",
        "lea rsi, [rbx + 64]",
        "syscall",
        "jmp 2b",
    )
}

/// The address of page `at` of the domain's own mapping.
pub const fn address(at: u64) -> u64 {
    BASE + at * mmu::PAGE_SIZE
}

impl Remote {
    /// Builds it and lets it run.
    pub fn new() -> Self {
        let domain = Domain::new();
        domain.give_vcpu();
        let frame = |at: usize| domain.frames[at];
        let (_, op) = domctl(DomctlCmd::GETDOMAININFO, domain.id, |_| {});
        let shared_info = op.u.as_getdomaininfo().shared_info_frame;
        let window = pages::take();
        let writable = |frame: u64| {
            let mapped = map(window, frame, FLAGS, domain.id).0;
            number("page of the running domain", mapped, 0);
        };
        writable(frame(CODE));
        for at in 0..32 {
            pages::write(window + at * 8, pages::read::<u64>(program() + at * 8));
        }
        writable(frame(L1));
        for (at, use_of) in [CODE, STACK, REQUEST, ARGUMENT].into_iter().enumerate() {
            pages::write(window + at as u64 * 8, frame(use_of) << 12 | FLAGS);
        }
        pages::write(window + SHARED * 8, shared_info << 12 | FLAGS);
        writable(frame(L2));
        pages::write(window + BASE / 0x20_0000 * 8, frame(L1) << 12 | FLAGS);
        writable(frame(L3));
        pages::write(window, frame(L2) << 12 | FLAGS);
        writable(frame(L4));
        pages::write(window, frame(L3) << 12 | FLAGS);
        // Nobody upcalls a program without a callback.
        writable(shared_info);
        pages::write(window + 1, 1_u8);
        let gone = map(window, 0, 0, DomId::SELF).0;
        number("pages are let go", gone, 0);
        let pinned = mmuext(
            &[mmu::frame_op(MmuextCmd::PIN_L4_TABLE, frame(L4), 0)],
            domain.id,
        );
        number("tables of the running domain", pinned.0, 0);
        let port = channel(domain.id);
        let [request, argument] = [REQUEST, ARGUMENT].map(|at| {
            let page = pages::take();
            number(
                "page that both see",
                map(page, frame(at), FLAGS, domain.id).0,
                0,
            );
            page
        });
        pages::write(request + SEND, 1_u32);
        pages::write(request + POLL, address(2) + PORTS);
        pages::write(request + POLL + 8, 1_u32);
        pages::write(request + PORTS, 1_u32);
        let remote = Self {
            domain,
            port,
            request,
            argument,
        };
        remote.set_context();
        let (result, _) = domctl(DomctlCmd::UNPAUSEDOMAIN, remote.domain.id, |_| {});
        number("unpausedomain", result, 0);
        remote
    }

    fn set_context(&self) {
        // Two pages behind each other.
        let at = pages::take();
        let _ = pages::take();
        let set = |offset: usize, value: u64| pages::write(at + offset as u64, value);
        let regs = offset_of!(VcpuGuestContext, user_regs);
        set(offset_of!(VcpuGuestContext, flags), ONLINE | IN_KERNEL);
        set(regs + offset_of!(CpuUserRegs, rip), address(0));
        set(regs + offset_of!(CpuUserRegs, rsp), address(2));
        set(regs + offset_of!(CpuUserRegs, rbx), address(2));
        set(regs + offset_of!(CpuUserRegs, rbp), address(SHARED));
        set(regs + offset_of!(CpuUserRegs, rflags), INTERRUPTS);
        set(regs + offset_of!(CpuUserRegs, cs), FLAT_RING3_CS64.into());
        set(regs + offset_of!(CpuUserRegs, ss), FLAT_RING3_SS64.into());
        set(
            offset_of!(VcpuGuestContext, kernel_ss),
            FLAT_RING3_SS64.into(),
        );
        set(offset_of!(VcpuGuestContext, kernel_sp), address(2));
        let root = self.domain.frames[L4] << 12;
        set(offset_of!(VcpuGuestContext, ctrlreg) + 3 * 8, root);
        let (result, _) = domctl(DomctlCmd::SETVCPUCONTEXT, self.domain.id, |op| {
            op.u.set_vcpucontext(DomctlVcpucontext {
                vcpu: 0,
                _pad: [0; 4],
                ctxt: GuestHandle::from_addr(at),
            });
        });
        number("setvcpucontext", result, 0);
    }

    /// Has the domain make a hypercall; `None` if it does not answer.
    pub fn call<const N: usize>(&self, nr: HypercallNr, args: [u64; N]) -> Option<i64> {
        pages::write(self.request, nr.0);
        for at in 0..5 {
            let value = args.get(at).copied().unwrap_or(0);
            pages::write(self.request + 8 + at as u64 * 8, value);
        }
        let before = self.count();
        let (word, bit) = shared::pending_word(self.port);
        word.fetch_and(!bit, Ordering::SeqCst);
        events::send(self.port).ok()?;
        let deadline = time::now() + PATIENCE;
        while word.load(Ordering::SeqCst) & bit == 0 {
            if time::now() > deadline {
                return None;
            }
            sched::poll(&[self.port], deadline);
        }
        if self.count() != before + 1 {
            return None;
        }
        Some(pages::read(self.request + RESULT))
    }

    /// Has it make a hypercall whose argument number `at` is the structure of these words.
    pub fn with_argument(
        &self,
        nr: HypercallNr,
        mut args: [u64; 5],
        at: usize,
        words: &[u64],
    ) -> i64 {
        for (index, word) in (0..).zip(words) {
            pages::write(self.argument + index * 8, *word);
        }
        args[at] = address(3);
        self.call(nr, args).unwrap_or(i64::MIN)
    }

    /// A word of the page for arguments.
    pub fn answer<T: Copy + zerocopy::FromBytes>(&self, offset: u64) -> T {
        pages::read(self.argument + offset)
    }

    /// Calls that it has made.
    pub fn count(&self) -> u64 {
        pages::read(self.request + COUNT)
    }

    /// Lets go of the pages that both see.
    pub fn let_go(&self) {
        for page in [self.request, self.argument] {
            number("page is let go", map(page, 0, 0, DomId::SELF).0, 0);
        }
    }
}

/// Connects port 1 of the domain.
fn channel(domain: DomId) -> u32 {
    let mut arg = EvtchnAllocUnbound::new_zeroed();
    arg.dom = domain;
    let args = [EvtchnOp::ALLOC_UNBOUND.0.into(), (&raw mut arg) as u64];
    number("port", call(HypercallNr::EVENT_CHANNEL_OP, args), 0);
    number("first port", arg.port.into(), 1);
    events::bind_interdomain(domain, arg.port).unwrap_or(0)
}
