//! Exits of a guest that runs in hardware, on the simulated machine: its memory and tables are real, what it executes is
//! bytes in that memory.

extern crate std;

mod memory;

use std::sync::Arc;

use hypercall_abi::arch_x86::{CpuUserRegs, X86EmulationFlags};
use hypercall_abi::errno::Errno;
use hypercall_abi::xen::{DomId, HypercallNr};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::lapic::LapicIdentity;
use super::{GuestView, P2mKind};
use crate::domain::{Domain, DomainConfig, Privileges, Vcpu, VcpuFlags};
use crate::hypervisor::{CpuLocal, Hypervisor};
use crate::machine::{
    EventKind, ExitReason, Frames, GuestMemory, HvmEvent, HvmExit, HvmState, NestedFault,
    PortAccess, Segment,
};
use crate::mm::AllocOptions;
use crate::num::{CpuId, Pfn, VcpuId};
use crate::sim::{SimMachine, world};

const CPU: CpuId = CpuId(0);
/// Guest frames with memory, from 0 on.
const PAGES: u64 = 64;
/// Where code is put.
const CODE: u64 = 0x8000;
/// Where the tables of 64-bit mode are.
const TABLES: u64 = 0x10000;
/// RFLAGS.IF.
const IF: u64 = 1 << 9;

struct Guest {
    hv: Hypervisor<SimMachine>,
    domain: Arc<Domain>,
    cpu: CpuLocal,
    regs: CpuUserRegs,
}

impl Guest {
    /// A guest of two vCPUs in 32-bit protected mode without paging, the first one on the processor.
    fn new() -> Self {
        let hv = world();
        let domain = hv
            .create_domain(DomainConfig {
                id: DomId(1),
                privileges: Privileges::default(),
                max_vcpus: 2,
                max_evtchn_port: 1023,
                max_grant_frames: 4,
                max_maptrack_frames: 4,
                cpu_policy: hv.policies.hvm_default.clone(),
                handle: [0; 16],
                ssidref: 0,
                paused: false,
                hvm: Some(X86EmulationFlags::LAPIC),
            })
            .expect("room");
        for gfn in (0..PAGES).map(Pfn) {
            let mfn = hv
                .mem
                .allocate(&hv.machine, &domain.pages, 0, AllocOptions::default())
                .expect("memory");
            let p2m = &domain.hvm.as_ref().expect("translated").p2m;
            p2m.map(&hv.mem, &hv.machine, gfn, mfn, 0, P2mKind::Ram)
                .expect("free");
        }
        let first = hv.create_vcpu(&domain, VcpuId(0));
        hv.create_vcpu(&domain, VcpuId(1));
        let mut cpu = CpuLocal::new(CPU);
        let mut regs = CpuUserRegs::new_zeroed();
        first.set_flags(VcpuFlags::INITIALISED);
        first.clear_flags(VcpuFlags::DOWN);
        assert!(hv.switch_in(&mut cpu, &mut regs, &first));
        let mut guest = Self {
            hv,
            domain,
            cpu,
            regs,
        };
        let flat = |attributes| Segment {
            attributes,
            limit: u32::MAX,
            ..Segment::default()
        };
        let state = guest.state();
        state.cr0 = 0x11;
        state.cs = flat(0xc9b);
        state.ss = flat(0xc93);
        state.ds = state.ss;
        state.es = state.ss;
        guest.regs.rip = CODE;
        guest.regs.rflags = 2;
        guest
    }

    /// The same in 64-bit mode, memory mapped where it is and in the upper half too.
    fn long() -> Self {
        let mut guest = Self::new();
        let page = |n: u64| TABLES + n * 4096;
        guest.poke(page(0), &[(page(1) | 7).to_le_bytes()]);
        guest.poke(page(0) + 0xff8, &[(page(1) | 7).to_le_bytes()]);
        guest.poke(page(1), &[(page(2) | 7).to_le_bytes()]);
        guest.poke(page(2), &[(page(3) | 7).to_le_bytes()]);
        for i in 0..PAGES {
            guest.poke(page(3) + i * 8, &[(i << 12 | 3).to_le_bytes()]);
        }
        let state = guest.state();
        state.cr0 = 0x8005_0033;
        state.cr3 = TABLES;
        state.cr4 = HvmState::CR4_PAE;
        state.efer = HvmState::EFER_LME | HvmState::EFER_LMA;
        state.cs.attributes = 0xa9b;
        guest
    }

    fn state(&mut self) -> &mut HvmState {
        let running = self.cpu.current.as_mut().expect("runs");
        &mut running.ctx.hvm.as_mut().expect("in hardware").state
    }

    fn event(&mut self) -> Option<HvmEvent> {
        let running = self.cpu.current.as_mut().expect("runs");
        running.ctx.hvm.as_mut().expect("in hardware").event.take()
    }

    fn vcpu(&self, id: u32) -> Arc<Vcpu> {
        self.domain.vcpu(VcpuId(id)).expect("exists").clone()
    }

    fn view(&mut self) -> GuestView {
        let root = self.domain.hvm.as_ref().expect("translated").p2m.root();
        let rflags = self.regs.rflags;
        GuestView::kernel(root, self.state(), rflags)
    }

    /// Writes to guest-physical memory.
    fn poke<T: IntoBytes + Immutable + ?Sized>(&mut self, at: u64, value: &T) {
        let mapped = self.lookup(at >> 12).expect("memory");
        let offset = (at & 0xfff) as usize;
        self.hv
            .machine
            .write_frame(mapped.mfn, offset, value.as_bytes());
    }

    fn peek(&mut self, at: u64) -> u64 {
        let mapped = self.lookup(at >> 12).expect("memory");
        let mut bytes = [0; 8];
        let offset = (at & 0xfff) as usize;
        self.hv.machine.read_frame(mapped.mfn, offset, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn lookup(&self, gfn: u64) -> Option<super::Mapped> {
        let p2m = &self.domain.hvm.as_ref().expect("translated").p2m;
        p2m.get(&self.hv.machine, Pfn(gfn))
    }

    /// The guest executes `code`, which makes it exit.
    fn exit(&mut self, code: &[u8], reason: ExitReason) -> Option<super::Fatal> {
        self.regs.rip = CODE;
        self.poke(CODE, code);
        let exit = HvmExit {
            reason,
            length: None,
            unfinished: None,
            task_priority: 0,
        };
        self.hv.emulate_exit(&mut self.cpu, &mut self.regs, &exit)
    }

    /// Bytes that RIP has moved since the last exit.
    fn stepped(&self) -> u64 {
        self.regs.rip - CODE
    }

    /// A hypercall of 64-bit code.
    fn hypercall(&mut self, nr: HypercallNr, args: [u64; 3]) -> i64 {
        let view = self.view();
        self.hv.machine.set_guest_view(Some(view));
        self.regs.rax = nr.0;
        [self.regs.rdi, self.regs.rsi, self.regs.rdx] = args;
        let running = self.cpu.current.as_mut().expect("runs");
        let done = crate::hypercall::enter_from_hardware(
            &self.hv,
            CPU,
            &running.domain,
            &running.vcpu,
            &mut running.ctx,
            &mut self.regs,
            true,
        );
        self.hv.machine.set_guest_view(None);
        assert!(done);
        self.regs.rax as i64
    }

    /// What `deliver_in_hardware` leaves for the next entry.
    fn deliver(&mut self) -> Option<HvmEvent> {
        let _ = self.hv.deliver_in_hardware(&mut self.cpu, &mut self.regs);
        self.event()
    }
}

const fn gp() -> Option<HvmEvent> {
    Some(HvmEvent {
        kind: EventKind::Exception,
        vector: 13,
        error_code: Some(0),
    })
}

fn err(errno: Errno) -> i64 {
    errno.to_ret()
}

#[test]
fn an_instruction_is_stepped_over_with_its_prefixes() {
    let mut guest = Guest::long();
    guest.regs.rax = 0x4000_0000;
    assert_eq!(
        guest.exit(&[0x66, 0x48, 0x0f, 0xa2], ExitReason::Cpuid),
        None
    );
    assert_eq!((guest.regs.rbx, guest.stepped()), (0x566e_6558, 4));
    (guest.regs.rax, guest.regs.rcx) = (0x4000_0004, 0);
    guest.exit(&[0x0f, 0xa2], ExitReason::Cpuid);
    assert_eq!(guest.regs.rax & 0x5c, 0x5c, "vCPU, domain, upcall vector");
    assert_eq!((guest.regs.rbx, guest.regs.rcx), (0, 1));
    assert_eq!(guest.event(), None);
}

#[test]
fn what_cannot_be_fetched_or_decoded_is_the_guests_fault() {
    let mut guest = Guest::long();
    guest.poke(CODE, &[0x0f, 0x0b]);
    guest.exit(&[0xff, 0xff], ExitReason::Cpuid);
    assert_eq!(guest.event().map(|event| event.vector), Some(6));
    guest.state().cr3 = PAGES << 12;
    guest.exit(&[0x0f, 0xa2], ExitReason::Cpuid);
    assert_eq!(guest.event(), gp());
    assert_eq!(guest.stepped(), 0);
}

#[test]
fn control_registers_follow_the_rules_of_the_processor() {
    let mut guest = Guest::new();
    // mov cr0, eax without PAE in long mode's way: EFER first.
    guest.regs.rcx = 0xc000_0080;
    guest.regs.rax = 0x100;
    guest.exit(&[0x0f, 0x30], ExitReason::WriteMsr);
    assert_eq!(guest.state().efer, 0x100);
    guest.regs.rax = 0x8000_0001;
    guest.exit(&[0x0f, 0x22, 0xc0], ExitReason::SystemRegister);
    assert_eq!(guest.event(), gp(), "paging in long mode needs PAE");
    guest.regs.rax = 0x20;
    guest.exit(&[0x0f, 0x22, 0xe0], ExitReason::SystemRegister);
    guest.regs.rax = 0x8000_0001;
    guest.exit(&[0x0f, 0x22, 0xc0], ExitReason::SystemRegister);
    assert_eq!(guest.event(), None);
    assert_eq!(guest.stepped(), 3);
    assert_eq!(
        (guest.state().cr0, guest.state().efer),
        (0x8000_0011, 0x500)
    );
    // mov ebx, cr0
    guest.state().cr3 = TABLES;
    let mut guest = Guest::long();
    guest.exit(&[0x0f, 0x20, 0xc3], ExitReason::SystemRegister);
    assert_eq!(guest.regs.rbx, 0x8005_0033);
    // clts, and a user who tries.
    guest.state().cr0 |= 8;
    guest.exit(&[0x0f, 0x06], ExitReason::SystemRegister);
    assert_eq!(guest.state().cr0 & 8, 0);
}

#[test]
fn ports_and_memory_without_devices_read_as_ones() {
    let mut guest = Guest::long();
    let access = |bytes, input| {
        ExitReason::Port(PortAccess {
            port: 0x71,
            bytes,
            input,
            string: false,
            repeat: false,
        })
    };
    guest.regs.rax = 0x1234_5678;
    guest.exit(&[0xec], access(1, true));
    assert_eq!((guest.regs.rax, guest.stepped()), (0x1234_56ff, 1));
    guest.exit(&[0xed], access(4, true));
    assert_eq!(guest.regs.rax, 0xffff_ffff);
    let fault = |address, write| {
        ExitReason::Nested(NestedFault {
            address,
            present: false,
            write,
            fetch: false,
            table_walk: false,
        })
    };
    // mov eax, [rbx]; mov [rbx], eax
    guest.regs.rax = 0;
    guest.exit(&[0x8b, 0x03], fault(0xfed0_0000, false));
    assert_eq!((guest.regs.rax, guest.stepped()), (0xffff_ffff, 2));
    guest.exit(&[0x89, 0x03], fault(0xfed0_0000, true));
    assert_eq!((guest.event(), guest.stepped()), (None, 2));
    // Tables in what is no memory.
    let walk = ExitReason::Nested(NestedFault {
        address: 0xfed0_0000,
        present: false,
        write: false,
        fetch: false,
        table_walk: true,
    });
    guest.exit(&[0x8b, 0x03], walk);
    assert_eq!(guest.event(), gp());
}

#[test]
fn a_string_of_ports_goes_on_after_a_stretch() {
    let mut guest = Guest::long();
    let rep_insb = ExitReason::Port(PortAccess {
        port: 0x60,
        bytes: 1,
        input: true,
        string: true,
        repeat: true,
    });
    (guest.regs.rcx, guest.regs.rdi) = (300, 0x9000);
    guest.exit(&[0xf3, 0x6c], rep_insb);
    assert_eq!(
        (guest.regs.rcx, guest.regs.rdi, guest.stepped()),
        (44, 0x9100, 0)
    );
    guest.exit(&[0xf3, 0x6c], rep_insb);
    assert_eq!((guest.regs.rcx, guest.stepped()), (0, 2));
    assert_eq!(guest.peek(0x9128), 0xffff_ffff);
    assert_eq!(guest.peek(0x9130), 0);
    // Into a page that is not mapped.
    (guest.regs.rcx, guest.regs.rdi) = (1, PAGES << 12);
    guest.exit(&[0xf3, 0x6c], rep_insb);
    let fault = guest.event().expect("a page fault");
    assert_eq!((fault.vector, fault.error_code), (14, Some(2)));
    assert_eq!(guest.state().cr2, PAGES << 12);
}

#[test]
fn the_local_apic_is_reached_in_both_modes() {
    let mut guest = Guest::long();
    let fault = |offset: u64, write| {
        ExitReason::Nested(NestedFault {
            address: 0xfee0_0000 + offset,
            present: false,
            write,
            fetch: false,
            table_walk: false,
        })
    };
    guest.exit(&[0x8b, 0x03], fault(0x30, false));
    assert_eq!(guest.regs.rax, 0x0005_0014);
    guest.regs.rax = 0x1ff;
    guest.exit(&[0x89, 0x03], fault(0xf0, true));
    let mailbox = guest.vcpu(0);
    let mailbox = mailbox.hvm.as_deref().expect("in hardware");
    let identity =
        LapicIdentity::unpack(mailbox.identity.load(core::sync::atomic::Ordering::SeqCst));
    assert!(identity.takes_vectors());
    // x2APIC.
    (guest.regs.rcx, guest.regs.rax, guest.regs.rdx) = (0x1b, 0xfee0_0d00, 0);
    guest.exit(&[0x0f, 0x30], ExitReason::WriteMsr);
    assert_eq!(guest.event(), None);
    guest.regs.rcx = 0x802;
    guest.exit(&[0x0f, 0x32], ExitReason::ReadMsr);
    assert_eq!((guest.regs.rax, guest.event()), (0, None));
    guest.regs.rcx = 0x831;
    guest.exit(&[0x0f, 0x30], ExitReason::WriteMsr);
    assert_eq!(guest.event(), gp());
}

#[test]
fn interrupts_wait_for_the_guest_and_wake_it() {
    let mut guest = Guest::long();
    (guest.regs.rcx, guest.regs.rax, guest.regs.rdx) = (0x1b, 0xfee0_0d00, 0);
    guest.exit(&[0x0f, 0x30], ExitReason::WriteMsr);
    (guest.regs.rcx, guest.regs.rax, guest.regs.rdx) = (0x80f, 0x1ff, 0);
    guest.exit(&[0x0f, 0x30], ExitReason::WriteMsr);
    let vcpu = guest.vcpu(0);
    let mailbox = vcpu.hvm.as_deref().expect("in hardware");
    mailbox.post(0x51, false);
    guest.regs.rflags = 2;
    assert_eq!(guest.deliver(), None, "interrupts are off");
    let running = guest.cpu.current.as_ref().expect("runs");
    assert!(
        running
            .ctx
            .hvm
            .as_ref()
            .expect("in hardware")
            .interrupt_window
    );
    guest.regs.rflags = 2 | IF;
    guest.state().interrupt_shadow = true;
    assert_eq!(guest.deliver(), None, "one instruction after STI");
    guest.state().interrupt_shadow = false;
    let event = guest.deliver().expect("due");
    assert_eq!((event.kind, event.vector), (EventKind::Interrupt, 0x51));
    // In service: one of the same class waits for its end.
    mailbox.post(0x52, false);
    assert_eq!(guest.deliver(), None);
    (guest.regs.rcx, guest.regs.rax, guest.regs.rdx) = (0x80b, 0, 0);
    guest.exit(&[0x0f, 0x30], ExitReason::WriteMsr);
    assert_eq!(guest.deliver().expect("due").vector, 0x52);
    // HLT sleeps until the next one, and not for good.
    guest.exit(&[0x0f, 0x30], ExitReason::WriteMsr);
    guest.exit(&[0xf4], ExitReason::Halt);
    assert_eq!(guest.deliver(), None);
    assert!(vcpu.flags().contains(VcpuFlags::BLOCKED));
    mailbox.post(0x53, false);
    guest.hv.wake(&vcpu);
    assert!(!vcpu.flags().contains(VcpuFlags::BLOCKED));
    assert_eq!(guest.deliver().expect("due").vector, 0x53);
}

#[test]
fn a_second_exception_on_the_way_is_a_double_fault_and_a_third_the_end() {
    let mut guest = Guest::long();
    let exception = |vector| ExitReason::Exception {
        vector,
        error_code: 0,
    };
    let running = guest.cpu.current.as_mut().expect("runs");
    running.ctx.hvm.as_mut().expect("in hardware").event = gp();
    guest.regs.rcx = 0x1b;
    (guest.regs.rax, guest.regs.rdx) = (1, 0);
    assert_eq!(guest.exit(&[0x0f, 0x30], ExitReason::WriteMsr), None);
    let running = guest.cpu.current.as_mut().expect("runs");
    let event = running.ctx.hvm.as_mut().expect("in hardware").event;
    assert_eq!(event.map(|event| event.vector), Some(8));
    let fatal = guest.exit(&[0x90], exception(17));
    assert_eq!(fatal, Some(super::Fatal::TripleFault));
}

#[test]
fn the_last_processor_that_halts_for_good_powers_the_domain_off() {
    let mut guest = Guest::long();
    guest.regs.rflags = 2;
    guest.exit(&[0xf4], ExitReason::Halt);
    assert!(guest.vcpu(0).flags().contains(VcpuFlags::DOWN));
    assert_eq!(guest.domain.ending.lock().shutdown, Some(0));
}

#[test]
fn another_processor_is_started_by_init_and_sipi() {
    let mut guest = Guest::long();
    (guest.regs.rcx, guest.regs.rax, guest.regs.rdx) = (0x1b, 0xfee0_0d00, 0);
    guest.exit(&[0x0f, 0x30], ExitReason::WriteMsr);
    let second = guest.vcpu(1);
    for command in [0x4500, 0x4600 | 0x9a, 0x4600 | 0x77] {
        (guest.regs.rcx, guest.regs.rax, guest.regs.rdx) = (0x830, command, 2);
        guest.exit(&[0x0f, 0x30], ExitReason::WriteMsr);
    }
    assert_eq!(guest.event(), None);
    assert!(second.flags().contains(VcpuFlags::INITIALISED));
    assert!(!second.flags().contains(VcpuFlags::DOWN));
    let parked = second.parked.lock();
    let ctx = parked.as_ref().expect("waits");
    let state = &ctx.hvm.as_ref().expect("in hardware").state;
    assert_eq!(
        (state.cs.selector, state.cs.base),
        (0x9a00, 0x9a000),
        "the first SIPI counts"
    );
    assert_eq!((ctx.regs.rip, state.cr0), (0, 0x10));
}
