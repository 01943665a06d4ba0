//! Contexts of vCPUs, set and read by the toolstack.

use std::boxed::Box;
use std::sync::Arc;
use std::vec;

use hypercall_abi::arch_x86::{VcpuGuestContext, VgcfFlags};
use zerocopy::{FromBytes, IntoBytes};

use super::*;
use crate::domain::{Domain, Vcpu};
use crate::mm::PageType;
use crate::num::VcpuId;

/// A page of dom0's and the one behind it, for contexts.
const CONTEXT: Pfn = Pfn(8);

/// dom0 and a parked guest.
struct Scene {
    hv: World,
    dom0: PvGuest,
    domain: Arc<Domain>,
    vcpu: Arc<Vcpu>,
}

impl Scene {
    fn new() -> Self {
        let hv = rich_world();
        let dom0 = PvGuest::dom0(&hv, 64);
        let guest = PvGuest::unprivileged(&hv, 1, 64);
        guest.vcpu.set_flags(VcpuFlags::INITIALISED);
        let domain = guest.park(&hv);
        let vcpu = domain.vcpu(VcpuId(0)).expect("built").clone();
        Self {
            hv,
            dom0,
            domain,
            vcpu,
        }
    }

    fn arg(&self, vcpu: u32) -> DomctlU {
        let mut arg = DomctlVcpucontext::new_zeroed();
        arg.vcpu = vcpu;
        arg.ctxt = GuestHandle::from_addr(self.dom0.va(CONTEXT));
        DomctlU::from_vcpucontext(arg)
    }

    fn get(&mut self, vcpu: u32) -> Result<Box<VcpuGuestContext>, Errno> {
        let u = self.arg(vcpu);
        let get = op(DomctlCmd::GETVCPUCONTEXT, 1, u);
        call(&self.hv, &mut self.dom0, &get)?;
        let mut bytes = vec![0u8; size_of::<VcpuGuestContext>()];
        for (at, chunk) in (0..).step_by(8).zip(bytes.chunks_mut(8)) {
            let word = self
                .dom0
                .load(&self.hv, self.dom0.va(CONTEXT) + at)
                .expect("mapped");
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        Ok(Box::new(
            VcpuGuestContext::read_from_bytes(&bytes).expect("its size"),
        ))
    }

    fn set(&mut self, vcpu: u32, context: &VcpuGuestContext) -> Result<u64, Errno> {
        let bytes = context.as_bytes();
        self.dom0
            .store(&self.hv, self.dom0.va(CONTEXT), &bytes[..4096])
            .expect("mapped");
        let next = self.dom0.va(CONTEXT) + 4096;
        self.dom0
            .store(&self.hv, next, &bytes[4096..])
            .expect("mapped");
        let u = self.arg(vcpu);
        let set = op(DomctlCmd::SETVCPUCONTEXT, 1, u);
        call(&self.hv, &mut self.dom0, &set)
    }

    fn reset(&mut self) -> Result<u64, Errno> {
        let u = DomctlU::from_vcpucontext(DomctlVcpucontext::new_zeroed());
        let set = op(DomctlCmd::SETVCPUCONTEXT, 1, u);
        call(&self.hv, &mut self.dom0, &set)
    }
}

#[test]
fn a_context_is_read_changed_and_set_again() {
    let mut scene = Scene::new();
    let root = {
        let mut parked = scene.vcpu.parked.lock();
        let ctx = parked.as_mut().expect("parked");
        ctx.regs.rdx = 77;
        ctx.iopl = 1;
        ctx.segments.fs_base = 0x1000;
        ctx.callbacks.syscall.mask_events = true;
        ctx.kernel_root.expect("built")
    };
    scene
        .domain
        .vm_assist
        .store(4, core::sync::atomic::Ordering::SeqCst);
    let mut context = scene.get(0).expect("initialised");
    let flags = VgcfFlags::I387_VALID | VgcfFlags::IN_KERNEL | VgcfFlags::SYSCALL_DISABLES_EVENTS;
    assert_eq!(context.flags, flags.bits());
    assert_eq!((context.user_regs.rdx, context.fs_base), (77, 0x1000));
    assert_eq!(context.user_regs.rflags >> 12 & 3, 1);
    assert_eq!(context.ctrlreg[3], root.addr());
    assert_eq!((context.ctrlreg[1], context.vm_assist), (0, 4));
    assert_eq!(context.debugreg[6], 0xffff_0ff0);
    // As a cancelled suspension ends.
    context.user_regs.rax = 1;
    context.flags |= VgcfFlags::ONLINE.bits();
    assert_eq!(scene.set(0, &context), Ok(0));
    assert!(!scene.vcpu.flags().contains(VcpuFlags::DOWN));
    assert_eq!(scene.get(0).expect("set").user_regs.rax, 1);
    context.flags &= !VgcfFlags::ONLINE.bits();
    assert_eq!(scene.set(0, &context), Ok(0));
    assert!(scene.vcpu.flags().contains(VcpuFlags::DOWN));
    // Other tables, and addresses that cannot be.
    let mut other = context.clone();
    other.ctrlreg[3] += 4096;
    assert_eq!(scene.set(0, &other), Err(Errno::EOPNOTSUPP));
    let mut other = context.clone();
    other.gdt_ents = 1;
    assert_eq!(scene.set(0, &other), Err(Errno::EOPNOTSUPP));
    let mut other = context.clone();
    other.flags &= !VgcfFlags::IN_KERNEL.bits();
    assert_eq!(scene.set(0, &other), Err(Errno::EOPNOTSUPP));
    let mut other = context;
    other.user_regs.rip = 1 << 63;
    assert_eq!(scene.set(0, &other), Err(Errno::EINVAL));
}

#[test]
fn a_reset_vcpu_can_be_set_anew() {
    let mut scene = Scene::new();
    let mut context = scene.get(0).expect("initialised");
    let root = crate::num::Mfn::from_addr(context.ctrlreg[3]);
    assert_eq!(scene.reset(), Ok(0));
    assert_eq!(scene.get(0).err(), Some(Errno::ENODATA));
    assert_eq!(scene.hv.mem.type_of(root).count(), 0);
    context.vm_assist = 1 << 40;
    assert_eq!(scene.set(0, &context), Err(Errno::EINVAL));
    context.vm_assist = 0;
    context.ctrlreg[1] = 0xffff_f000;
    assert_eq!(scene.set(0, &context), Err(Errno::EINVAL));
    assert_eq!(scene.hv.mem.type_of(root).count(), 0);
    context.ctrlreg[1] = 0;
    assert_eq!(scene.set(0, &context), Ok(0));
    assert_eq!(scene.hv.mem.type_of(root).kind(), PageType::L4);
    assert_eq!(scene.hv.mem.type_of(root).count(), 1);
}

#[test]
fn who_may_not_be_asked_or_set() {
    let mut scene = Scene::new();
    let context = scene.get(0).expect("initialised");
    assert_eq!(scene.get(9).err(), Some(Errno::EINVAL));
    assert_eq!(scene.set(9, &context), Err(Errno::EINVAL));
    for cmd in [DomctlCmd::SETVCPUCONTEXT, DomctlCmd::GETVCPUCONTEXT] {
        let u = scene.arg(0);
        let own = op(cmd, 0, u);
        assert_eq!(call(&scene.hv, &mut scene.dom0, &own), Err(Errno::EINVAL));
    }
    for cmd in [
        DomctlCmd::GET_EXT_VCPUCONTEXT,
        DomctlCmd::GETVCPUEXTSTATE,
        DomctlCmd::SETVCPUEXTSTATE,
        DomctlCmd::GET_VCPU_MSRS,
        DomctlCmd::SET_VCPU_MSRS,
        DomctlCmd::SET_EXT_VCPUCONTEXT,
    ] {
        let own = plain(cmd, 0);
        assert_eq!(call(&scene.hv, &mut scene.dom0, &own), Err(Errno::EINVAL));
        let mut u = DomctlU::new_zeroed();
        u.0[0] = 9;
        let missing = op(cmd, 1, u);
        assert_eq!(
            call(&scene.hv, &mut scene.dom0, &missing),
            Err(Errno::ESRCH)
        );
    }
    // One that runs elsewhere is waited for.
    scene.vcpu.set_running(Some(CpuId(1)));
    let u = scene.arg(0);
    let get = op(DomctlCmd::GETVCPUCONTEXT, 1, u);
    let addr = scene.dom0.put(&scene.hv, ARG, &get);
    let args = [addr, 0, 0, 0, 0, 0];
    let waits = scene
        .dom0
        .hypercall_once(&scene.hv, HypercallNr::DOMCTL, args);
    assert_eq!(waits, Err(args));
    assert!(scene.vcpu.flags().contains(VcpuFlags::PAUSED));
    scene.vcpu.set_running(None);
    assert!(scene.get(0).is_ok());
    assert!(!scene.vcpu.flags().contains(VcpuFlags::PAUSED));
}

#[test]
fn extended_entry_points_come_and_go() {
    let mut scene = Scene::new();
    let mut arg = DomctlExtVcpucontext::new_zeroed();
    (
        arg.size,
        arg.syscall32_callback_eip,
        arg.sysenter_callback_eip,
    ) = (32, 0x1234, 0x5678);
    arg.sysenter_disables_events = 1;
    let mut ask = |cmd, arg| {
        let u = DomctlU::from_ext_vcpucontext(arg);
        call(&scene.hv, &mut scene.dom0, &op(cmd, 1, u))
            .map(|_| answer(&scene.hv, &scene.dom0).as_ext_vcpucontext())
    };
    let (get, set) = (
        DomctlCmd::GET_EXT_VCPUCONTEXT,
        DomctlCmd::SET_EXT_VCPUCONTEXT,
    );
    assert!(ask(set, arg).is_ok());
    let got = ask(get, DomctlExtVcpucontext::new_zeroed()).expect("there");
    assert_eq!(got.size, 64);
    assert_eq!(got.syscall32_callback_eip, 0x1234);
    assert_eq!(got.sysenter_callback_eip, 0x5678);
    assert_eq!(
        (got.sysenter_disables_events, got.syscall32_disables_events),
        (1, 0)
    );
    assert_ne!(got.vmce.caps, 0);
    assert!(ask(set, got).is_ok());
    let mut bad = got;
    bad.vmce.caps = 1 << 40;
    assert_eq!(ask(set, bad).err(), Some(Errno::EPERM));
    let mut bad = got;
    bad.syscall32_callback_eip = 1 << 63;
    assert_eq!(ask(set, bad).err(), Some(Errno::EINVAL));
    bad.syscall32_callback_eip = 0;
    bad.size = 31;
    assert_eq!(ask(set, bad).err(), Some(Errno::EINVAL));
}

#[test]
fn the_xsave_area_goes_along() {
    let mut scene = Scene::new();
    let buffer = GuestHandle::from_addr(scene.dom0.va(CONTEXT));
    let mask = scene.hv.policies.host.xcr0_mask();
    assert_ne!(mask, 0, "the simulated processor has XSAVE");
    let mut ask = |cmd, arg| {
        let u = DomctlU::from_vcpuextstate(arg);
        call(&scene.hv, &mut scene.dom0, &op(cmd, 1, u))
            .map(|_| answer(&scene.hv, &scene.dom0).as_vcpuextstate())
    };
    let (get, set) = (DomctlCmd::GETVCPUEXTSTATE, DomctlCmd::SETVCPUEXTSTATE);
    let sizes = ask(get, DomctlVcpuextstate::new_zeroed()).expect("there");
    assert_eq!(sizes.xfeature_mask, mask);
    let full = DomctlVcpuextstate { buffer, ..sizes };
    let got = ask(get, full).expect("fits");
    assert_eq!(got.size, 16 + 576);
    assert!(ask(set, got).is_ok());
    assert_eq!(
        ask(get, DomctlVcpuextstate { size: 64, ..full }).err(),
        Some(Errno::EINVAL)
    );
    let other = DomctlVcpuextstate {
        xfeature_mask: 1,
        ..full
    };
    assert_eq!(ask(get, other).err(), Some(Errno::EINVAL));
    let none = DomctlVcpuextstate { size: 16, ..got };
    assert!(ask(set, none).is_ok());
    for size in [15, 100, sizes.size + 1] {
        let bad = DomctlVcpuextstate { size, ..got };
        assert_eq!(ask(set, bad).err(), Some(Errno::EINVAL), "{size}");
    }
}

#[test]
fn msrs_go_along_if_they_hold_anything() {
    let mut scene = Scene::new();
    let list = scene.dom0.va(CONTEXT);
    let ask = |scene: &mut Scene, cmd, msr_count, null: bool| {
        let mut arg = DomctlVcpuMsrs::new_zeroed();
        arg.msr_count = msr_count;
        if !null {
            arg.msrs = GuestHandle::from_addr(list);
        }
        let u = DomctlU::from_vcpu_msrs(arg);
        call(&scene.hv, &mut scene.dom0, &op(cmd, 1, u))
            .map(|_| answer(&scene.hv, &scene.dom0).as_vcpu_msrs().msr_count)
    };
    let (get, set) = (DomctlCmd::GET_VCPU_MSRS, DomctlCmd::SET_VCPU_MSRS);
    assert_eq!(ask(&mut scene, get, 0, true), Ok(7));
    assert_eq!(ask(&mut scene, get, 7, false), Ok(0));
    let aux = |value| DomctlVcpuMsr {
        index: 0xc000_0103,
        reserved: 0,
        value,
    };
    scene.dom0.put(&scene.hv, CONTEXT, &aux(5));
    assert_eq!(ask(&mut scene, set, 1, false), Ok(1));
    scene.dom0.put(&scene.hv, CONTEXT, &aux(0));
    assert_eq!(ask(&mut scene, get, 0, false), Err(Errno::ENOBUFS));
    assert_eq!(ask(&mut scene, get, 7, false), Ok(1));
    assert_eq!(word(&scene.hv, &scene.dom0, CONTEXT), 0xc000_0103);
    scene.dom0.put(&scene.hv, CONTEXT, &aux(1 << 32));
    assert_eq!(ask(&mut scene, set, 1, false), Err(Errno::EINVAL));
    let mut strange = aux(0);
    strange.index = 0x10;
    scene.dom0.put(&scene.hv, CONTEXT, &strange);
    assert_eq!(ask(&mut scene, set, 1, false), Err(Errno::EINVAL));
    assert_eq!(ask(&mut scene, set, 8, false), Err(Errno::EINVAL));
}

#[test]
fn two_that_look_at_each_other_do_not_both_stop() {
    let mut scene = Scene::new();
    let other = scene.hv.create_vcpu(&scene.dom0.domain, VcpuId(1));
    other.set_flags(VcpuFlags::INITIALISED);
    other.set_running(Some(CpuId(1)));
    let u = scene.arg(1);
    let get = op(DomctlCmd::GETVCPUCONTEXT, 0, u);
    let addr = scene.dom0.put(&scene.hv, ARG, &get);
    let args = [addr, 0, 0, 0, 0, 0];
    let caller = scene.dom0.vcpu.clone();
    let mut ask = || {
        scene
            .dom0
            .hypercall_once(&scene.hv, HypercallNr::DOMCTL, args)
    };
    // The other one was first, and waits for the caller.
    caller.set_flags(VcpuFlags::PAUSED);
    assert_eq!(ask(), Err(args));
    assert!(!other.flags().contains(VcpuFlags::PAUSED));
    // When it is done, it is the caller's turn.
    caller.clear_flags(VcpuFlags::PAUSED);
    assert_eq!(ask(), Err(args));
    assert!(other.flags().contains(VcpuFlags::PAUSED));
    other.set_running(None);
    assert_eq!(ask(), Ok(0));
    assert!(!other.flags().contains(VcpuFlags::PAUSED));
}
