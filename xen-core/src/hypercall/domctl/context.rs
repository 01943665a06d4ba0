//! Setting, reading and resetting the state of a vCPU: registers, entry points, floating point, MSRs.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;

use hypercall_abi::arch_x86::VcpuGuestContext;
use hypercall_abi::arch_x86::hvm::save::HvmVmceVcpu;
use hypercall_abi::domctl::{
    DomctlExtVcpucontext, DomctlVcpuMsr, DomctlVcpuMsrs, DomctlVcpucontext, DomctlVcpuextstate,
};
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use zerocopy::{FromZeros, IntoBytes};

use super::Call;
use crate::domain::{Callback, Domain, Vcpu, VcpuCtx, VcpuFlags};
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::num::{VcpuId, is_canonical};
use crate::outcome::Stop;
use crate::pv::emulate::msr::machine_check_capabilities;
use crate::pv::{context, fpu, mm};

/// Bytes before the machine-check state in `struct xen_domctl_ext_vcpucontext`.
const EXT_WITHOUT_VMCE: u32 = 32;
/// Bytes up to `mcg_cap` of it, which is all that old toolstacks know.
const EXT_WITH_MCG_CAP: u32 = 40;
/// Two words before the XSAVE area: XCR0, and all bits it ever had.
const XCR0_WORDS: usize = 16;

impl<M: Machine> Call<'_, M> {
    /// The vCPU that a call is about.
    fn find(target: &Domain, id: u32, missing: Errno) -> Result<&Arc<Vcpu>, Errno> {
        target.vcpu(VcpuId(id)).ok_or(missing)
    }

    /// The same, for calls that a vCPU cannot make about itself.
    fn find_other<'t>(
        &self,
        target: &'t Domain,
        id: u32,
        missing: Errno,
    ) -> Result<&'t Arc<Vcpu>, Errno> {
        let vcpu = Self::find(target, id, missing)?;
        if Arc::ptr_eq(vcpu, self.vcpu) {
            return Err(Errno::EINVAL);
        }
        Ok(vcpu)
    }

    /// Does `work` with the private half of a vCPU of which nothing runs meanwhile.
    fn with_context<T>(
        &self,
        target: &Arc<Domain>,
        vcpu: &Arc<Vcpu>,
        work: impl FnOnce(&mut VcpuCtx) -> Result<T, Errno>,
    ) -> Result<T, Stop> {
        self.hv.vcpu_at_rest(target, vcpu, self.vcpu, || {
            let mut parked = vcpu.parked.lock();
            // Absent while its pages are being validated for somebody else's call.
            let ctx = parked.as_mut().ok_or(Stop::Preempted)?;
            Ok(work(ctx)?)
        })
    }

    pub(super) fn set_context(
        &self,
        target: &Arc<Domain>,
        arg: DomctlVcpucontext,
    ) -> Result<(), Stop> {
        let hv = self.hv;
        if target.id == self.domain.id || target.is_translated() {
            return Err(Errno::EINVAL.into());
        }
        let vcpu = Self::find(target, arg.vcpu, Errno::EINVAL)?;
        if arg.ctxt.is_null() {
            return hv.at_rest(target, || self.reset_vcpu(target, vcpu));
        }
        let mut guest = Box::new([0u8; size_of::<VcpuGuestContext>()]);
        hv.machine.read_bytes(arg.ctxt.addr(), &mut guest[..])?;
        let guest: VcpuGuestContext = zerocopy::transmute!(*guest);
        hv.at_rest(target, || {
            self.take_over(target, vcpu, &guest)?;
            if vcpu.id.0 == 0 {
                // The toolstack has cleared the shared page.
                hv.publish_wallclock(target);
            }
            context::go_online(hv, vcpu, &guest);
            Ok(())
        })
    }

    fn take_over(
        &self,
        target: &Arc<Domain>,
        vcpu: &Arc<Vcpu>,
        guest: &VcpuGuestContext,
    ) -> Result<(), Stop> {
        let hv = self.hv;
        mm::in_stretches(hv, |budget| mm::drain(hv, &target.pages, budget))?;
        let mut ctx = vcpu.parked.lock().take().ok_or(Stop::Preempted)?;
        // Asked only now: destruction waits for a context that is not in its place.
        let result = if target.ending.lock().dying {
            Err(Errno::EINVAL.into())
        } else if vcpu.flags().contains(VcpuFlags::INITIALISED) {
            context::replace(hv, target, vcpu, &mut ctx, guest).map_err(Stop::Fail)
        } else {
            let result = context::prepare(hv, target, vcpu, &mut ctx, guest);
            if matches!(result, Err(Stop::Fail(_))) {
                mm::drop_roots(hv, &mut ctx);
            }
            result
        };
        *vcpu.parked.lock() = Some(ctx);
        if matches!(result, Err(Stop::Fail(_))) {
            // What is left of that is the next operation's to finish, if something more urgent waits.
            let _ = mm::in_stretches(hv, |budget| mm::drain(hv, &target.pages, budget));
        }
        result
    }

    /// Makes a vCPU what it was when it was created.
    fn reset_vcpu(&self, target: &Arc<Domain>, vcpu: &Arc<Vcpu>) -> Result<(), Stop> {
        let hv = self.hv;
        vcpu.set_flags(VcpuFlags::DOWN);
        vcpu.clear_flags(
            VcpuFlags::INITIALISED
                | VcpuFlags::BLOCKED
                | VcpuFlags::POLLING
                | VcpuFlags::NMI_PENDING
                | VcpuFlags::MCE_PENDING,
        );
        hv.set_poll_timeout(vcpu, 0);
        let mut ctx = vcpu.parked.lock().take().ok_or(Stop::Preempted)?;
        mm::drop_roots(hv, &mut ctx);
        let mut fresh = Box::new(VcpuCtx::new(hv.machine.fpu_area_size()));
        fresh.hvm = target.is_translated().then(|| {
            Box::new(crate::hvm::HvmVcpu::new(
                vcpu.id.0,
                target.cpu_policy().address_bits(),
            ))
        });
        *vcpu.parked.lock() = Some(fresh);
        mm::in_stretches(hv, |budget| mm::drain(hv, &target.pages, budget))
    }

    pub(super) fn get_context(
        &self,
        target: &Arc<Domain>,
        arg: DomctlVcpucontext,
    ) -> Result<(), Stop> {
        let vcpu = self.find_other(target, arg.vcpu, Errno::EINVAL)?;
        if !vcpu.flags().contains(VcpuFlags::INITIALISED) {
            return Err(Errno::ENODATA.into());
        }
        let mut out = Box::new(VcpuGuestContext::new_zeroed());
        self.with_context(target, vcpu, |ctx| {
            context::describe(self.hv, target, vcpu, ctx, &mut out);
            Ok(())
        })?;
        self.hv
            .machine
            .write_bytes(arg.ctxt.addr(), out.as_bytes())?;
        Ok(())
    }

    pub(super) fn get_extended_context(
        &self,
        target: &Arc<Domain>,
        at: GuestHandle<DomctlExtVcpucontext>,
        mut arg: DomctlExtVcpucontext,
    ) -> Result<(), Stop> {
        let vcpu = self.find_other(target, arg.vcpu, Errno::ESRCH)?;
        let callbacks = self.with_context(target, vcpu, |ctx| Ok(ctx.callbacks))?;
        arg.size = size_of::<DomctlExtVcpucontext>() as u32;
        // ABI: 64-bit guests register no code selector with these.
        (arg.syscall32_callback_cs, arg.sysenter_callback_cs) = (0, 0);
        arg.syscall32_callback_eip = callbacks.syscall32.address;
        arg.syscall32_disables_events = callbacks.syscall32.mask_events.into();
        arg.sysenter_callback_eip = callbacks.sysenter.address;
        arg.sysenter_disables_events = callbacks.sysenter.mask_events.into();
        arg.vmce = HvmVmceVcpu::new_zeroed();
        arg.vmce.caps = machine_check_capabilities(&target.cpu_policy());
        self.hv.machine.write(at, &arg)?;
        Ok(())
    }

    pub(super) fn set_extended_context(
        &self,
        target: &Arc<Domain>,
        arg: DomctlExtVcpucontext,
    ) -> Result<(), Stop> {
        let vcpu = Self::find(target, arg.vcpu, Errno::ESRCH)?;
        let fine = target.id != self.domain.id
            && arg.size >= EXT_WITHOUT_VMCE
            && is_canonical(arg.syscall32_callback_eip)
            && is_canonical(arg.sysenter_callback_eip);
        if !fine {
            return Err(Errno::EINVAL.into());
        }
        self.with_context(target, vcpu, |ctx| {
            ctx.callbacks.syscall32 = Callback {
                address: arg.syscall32_callback_eip,
                mask_events: arg.syscall32_disables_events & 1 != 0,
            };
            ctx.callbacks.sysenter = Callback {
                address: arg.sysenter_callback_eip,
                mask_events: arg.sysenter_disables_events & 1 != 0,
            };
            Ok(())
        })?;
        if arg.size >= EXT_WITH_MCG_CAP {
            /// Number of banks, and MCG_CTL, of which Xen takes any.
            const ANY: u64 = 0x1ff;
            let known = machine_check_capabilities(&target.cpu_policy());
            if arg.vmce.caps & !known & !ANY != 0 {
                return Err(Errno::EPERM.into());
            }
        }
        Ok(())
    }

    pub(super) fn get_extended_state(
        &self,
        target: &Arc<Domain>,
        at: GuestHandle<DomctlVcpuextstate>,
        mut arg: DomctlVcpuextstate,
    ) -> Result<(), Stop> {
        let vcpu = self.find_other(target, arg.vcpu, Errno::ESRCH)?;
        let machine = &self.hv.machine;
        let host = &self.hv.policies.host;
        let mask = host.xcr0_mask();
        let sized = |xcr0: u64| {
            if mask == 0 {
                0
            } else {
                XCR0_WORDS + host.xstate_size(xcr0) as usize
            }
        };
        if arg.buffer.is_null() || (arg.size == 0 && arg.xfeature_mask == 0) {
            arg.xfeature_mask = mask;
            arg.size = sized(mask) as u64;
            machine.write(at, &arg)?;
            return Ok(());
        }
        let state = self.with_context(target, vcpu, |ctx| {
            let size = sized(ctx.xcr0_accum);
            if arg.size < size as u64 || arg.xfeature_mask != mask {
                return Err(Errno::EINVAL);
            }
            let mut state = vec![0u8; size];
            if let Some((words, area)) = state.split_at_mut_checked(XCR0_WORDS) {
                words[..8].copy_from_slice(&ctx.xcr0.to_le_bytes());
                words[8..].copy_from_slice(&ctx.xcr0_accum.to_le_bytes());
                let has = area.len().min(ctx.fpu.len());
                area[..has].copy_from_slice(&ctx.fpu[..has]);
            }
            Ok(state)
        })?;
        machine.write_bytes(arg.buffer.addr(), &state)?;
        arg.size = state.len() as u64;
        machine.write(at, &arg)?;
        Ok(())
    }

    pub(super) fn set_extended_state(
        &self,
        target: &Arc<Domain>,
        arg: DomctlVcpuextstate,
    ) -> Result<(), Stop> {
        let vcpu = self.find_other(target, arg.vcpu, Errno::ESRCH)?;
        let host = &self.hv.policies.host;
        let most = XCR0_WORDS + host.xstate_size(host.xcr0_mask()) as usize;
        let size = usize::try_from(arg.size).map_err(|_| Errno::EINVAL)?;
        if host.xcr0_mask() == 0 || !(XCR0_WORDS..=most).contains(&size) {
            return Err(Errno::EINVAL.into());
        }
        let mut state = vec![0u8; size];
        self.hv.machine.read_bytes(arg.buffer.addr(), &mut state)?;
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&state[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        if size == XCR0_WORDS {
            // Nothing to restore.
            return Ok(());
        }
        let policy = target.cpu_policy();
        self.with_context(target, vcpu, |ctx| {
            fpu::set_extended(ctx, &policy, word(0), word(8), &state[XCR0_WORDS..])
        })
    }

    pub(super) fn get_msrs(
        &self,
        target: &Arc<Domain>,
        at: GuestHandle<DomctlVcpuMsrs>,
        mut arg: DomctlVcpuMsrs,
    ) -> Result<(), Stop> {
        let vcpu = self.find_other(target, arg.vcpu, Errno::ESRCH)?;
        let machine = &self.hv.machine;
        if arg.msrs.is_null() {
            arg.msr_count = context::MIGRATED_MSRS.len() as u32;
            machine.write(at, &arg)?;
            return Ok(());
        }
        let policy = target.cpu_policy();
        let values = self.with_context(target, vcpu, |ctx| {
            Ok(context::MIGRATED_MSRS.map(|msr| context::get_msr(ctx, &policy, msr)))
        })?;
        let present = context::MIGRATED_MSRS
            .into_iter()
            .zip(values)
            .filter_map(|(index, value)| Some((index, value.filter(|&value| value != 0)?)));
        let mut count = 0u32;
        for (index, value) in present {
            if count < arg.msr_count {
                let entry = DomctlVcpuMsr {
                    index,
                    reserved: 0,
                    value,
                };
                machine.write_at(arg.msrs, count.into(), &entry)?;
            }
            count += 1;
        }
        let fits = count <= arg.msr_count;
        arg.msr_count = count;
        machine.write(at, &arg)?;
        if fits {
            Ok(())
        } else {
            Err(Errno::ENOBUFS.into())
        }
    }

    pub(super) fn set_msrs(
        &self,
        target: &Arc<Domain>,
        at: GuestHandle<DomctlVcpuMsrs>,
        mut arg: DomctlVcpuMsrs,
    ) -> Result<(), Stop> {
        let vcpu = self.find_other(target, arg.vcpu, Errno::ESRCH)?;
        let machine = &self.hv.machine;
        if arg.msr_count as usize > context::MIGRATED_MSRS.len() {
            return Err(Errno::EINVAL.into());
        }
        let policy = target.cpu_policy();
        for i in 0..arg.msr_count {
            let set = machine
                .read_at(arg.msrs, i.into())
                .map_err(Stop::Fail)
                .and_then(|entry: DomctlVcpuMsr| {
                    self.with_context(target, vcpu, |ctx| {
                        let done = context::set_msr(ctx, &policy, entry.index, entry.value);
                        done.filter(|()| entry.reserved == 0).ok_or(Errno::EINVAL)
                    })
                });
            match set {
                Ok(()) => {}
                Err(Stop::Preempted) => return Err(Stop::Preempted),
                Err(Stop::Fail(errno)) => {
                    // ABI: how far it came.
                    arg.msr_count = i;
                    machine.write(at, &arg)?;
                    return Err(errno.into());
                }
            }
        }
        Ok(())
    }
}
