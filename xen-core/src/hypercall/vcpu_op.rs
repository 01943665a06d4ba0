//! `vcpu_op`: starting and stopping vCPUs, their timers and the areas they share.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use hypercall_abi::arch_x86::VcpuGuestContext;
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::vcpu::{
    VcpuGetPhysid, VcpuOp, VcpuRegisterRunstateMemoryArea, VcpuRegisterTimeMemoryArea,
    VcpuRegisterVcpuInfo, VcpuSetPeriodicTimer, VcpuSetSingleshotTimer,
};

use super::Call;
use crate::domain::{Vcpu, VcpuFlags, VcpuInfo};
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::num::{CpuId, VcpuId};
use crate::outcome::{HypercallResult, Outcome, Stop};
use crate::pv::{areas, context};

/// The shortest period of the periodic timer.
const MIN_PERIOD_NS: u64 = 1_000_000;
/// SHUTDOWN_poweroff.
const SHUTDOWN_POWEROFF: u32 = 0;

impl<M: Machine> Call<'_, M> {
    pub(super) fn vcpu_op(&mut self, cmd: u32, id: u32, arg: u64) -> HypercallResult {
        let hv = self.hv;
        let machine = &hv.machine;
        let vcpu = self.domain.vcpu(VcpuId(id)).cloned().ok_or(Errno::ENOENT)?;
        match VcpuOp(cmd) {
            VcpuOp::INITIALISE => return self.initialise(&vcpu, arg),
            VcpuOp::UP => {
                if !vcpu.flags().contains(VcpuFlags::INITIALISED) {
                    return Err(Errno::EINVAL.into());
                }
                vcpu.clear_flags(VcpuFlags::DOWN);
                hv.wake(&vcpu);
            }
            VcpuOp::DOWN => {
                vcpu.set_flags(VcpuFlags::DOWN);
                hv.kick_vcpu(&vcpu);
                hv.retire_vcpu(&vcpu);
                let none_left = self
                    .domain
                    .vcpus()
                    .all(|v| v.flags().contains(VcpuFlags::DOWN));
                if none_left {
                    hv.shut_down(self.domain, SHUTDOWN_POWEROFF);
                }
            }
            VcpuOp::IS_UP => {
                return Ok(Outcome::Done(u64::from(
                    !vcpu.flags().contains(VcpuFlags::DOWN),
                )));
            }
            VcpuOp::GET_RUNSTATE_INFO => {
                let info = areas::runstate_info(&vcpu, machine.now_ns());
                machine.write(GuestHandle::from_addr(arg), &info)?;
            }
            VcpuOp::REGISTER_RUNSTATE_MEMORY_AREA => {
                let arg: VcpuRegisterRunstateMemoryArea =
                    machine.read(GuestHandle::from_addr(arg))?;
                let area = arg.addr.0[0];
                areas::check_address(area)?;
                vcpu.runstate_area.store(area, Ordering::Relaxed);
                if Arc::ptr_eq(&vcpu, self.vcpu) {
                    // The caller sees it filled at once.
                    hv.write_runstate_area(self.domain, &vcpu);
                } else {
                    let info = areas::runstate_info(&vcpu, machine.now_ns());
                    machine.write(GuestHandle::from_addr(area), &info)?;
                }
            }
            VcpuOp::SET_PERIODIC_TIMER => {
                let arg: VcpuSetPeriodicTimer = machine.read(GuestHandle::from_addr(arg))?;
                if arg.period_ns < MIN_PERIOD_NS || i64::try_from(arg.period_ns).is_err() {
                    return Err(Errno::EINVAL.into());
                }
                hv.set_periodic(&vcpu, arg.period_ns);
            }
            VcpuOp::STOP_PERIODIC_TIMER => hv.stop_periodic(&vcpu),
            VcpuOp::SET_SINGLESHOT_TIMER => {
                if !Arc::ptr_eq(&vcpu, self.vcpu) {
                    return Err(Errno::EINVAL.into());
                }
                let arg: VcpuSetSingleshotTimer = machine.read(GuestHandle::from_addr(arg))?;
                // ABI: 4.17 no longer knows VCPU_SSHOTTMR_future; a deadline in the past fires at once.
                hv.set_singleshot(&vcpu, arg.timeout_abs_ns);
            }
            VcpuOp::STOP_SINGLESHOT_TIMER => {
                if !Arc::ptr_eq(&vcpu, self.vcpu) {
                    return Err(Errno::EINVAL.into());
                }
                hv.stop_singleshot(&vcpu);
            }
            VcpuOp::REGISTER_VCPU_INFO => {
                let arg: VcpuRegisterVcpuInfo = machine.read(GuestHandle::from_addr(arg))?;
                self.register_vcpu_info(&vcpu, arg)?;
            }
            VcpuOp::SEND_NMI => {
                if arg != 0 {
                    return Err(Errno::EINVAL.into());
                }
                vcpu.set_flags(VcpuFlags::NMI_PENDING);
                hv.wake(&vcpu);
            }
            VcpuOp::GET_PHYSID => {
                if !self.domain.privileges.hardware || !hv.options.dom0_vcpus_pin {
                    return Err(Errno::EINVAL.into());
                }
                let cpu = CpuId(vcpu.cpu.load(Ordering::Relaxed));
                let apic = u64::from(machine.apic_id(cpu).ok_or(Errno::EINVAL)?);
                let info = VcpuGetPhysid {
                    phys_id: apic | u64::from(cpu.0) << 32,
                };
                machine.write(GuestHandle::from_addr(arg), &info)?;
            }
            VcpuOp::REGISTER_VCPU_TIME_MEMORY_AREA => {
                let arg: VcpuRegisterTimeMemoryArea = machine.read(GuestHandle::from_addr(arg))?;
                let area = arg.addr.0[0];
                areas::check_address(area)?;
                vcpu.time_area.store(area, Ordering::Relaxed);
                vcpu.areas_stale.store(true, Ordering::Relaxed);
            }
            _ => return Err(Errno::ENOSYS.into()),
        }
        Ok(Outcome::Done(0))
    }

    fn initialise(&mut self, vcpu: &Arc<Vcpu>, arg: u64) -> HypercallResult {
        if vcpu.info().is_none() {
            return Err(Errno::EINVAL.into());
        }
        let mut guest = Box::new([0u8; size_of::<VcpuGuestContext>()]);
        self.hv.machine.read_bytes(arg, &mut guest[..])?;
        let initialised = || vcpu.flags().contains(VcpuFlags::INITIALISED);
        if initialised() {
            return Err(Errno::EEXIST.into());
        }
        let guest: VcpuGuestContext = zerocopy::transmute!(*guest);
        let mut ctx = vcpu.parked.lock().take().ok_or(Errno::EBUSY)?;
        // Only now can no other vCPU be doing the same.
        let result = if initialised() {
            Err(Errno::EEXIST.into())
        } else {
            let result = context::prepare(self.hv, self.domain, vcpu, &mut ctx, &guest);
            if matches!(result, Err(Stop::Fail(_))) {
                crate::pv::mm::drop_roots(self.hv, &mut ctx);
            }
            result
        };
        *vcpu.parked.lock() = Some(ctx);
        result?;
        context::go_online(self.hv, vcpu, &guest);
        Ok(Outcome::Done(0))
    }

    fn register_vcpu_info(
        &mut self,
        vcpu: &Arc<Vcpu>,
        arg: VcpuRegisterVcpuInfo,
    ) -> Result<(), Errno> {
        let hv = self.hv;
        let size = VcpuInfo::WORDS as u32 * 8;
        if arg.offset > 4096 - size || !arg.offset.is_multiple_of(8) {
            return Err(Errno::ENXIO);
        }
        if vcpu.info_registered.load(Ordering::SeqCst) {
            return Err(Errno::EINVAL);
        }
        // Another vCPU's information can be moved only while that vCPU is down.
        if !Arc::ptr_eq(vcpu, self.vcpu) && !vcpu.flags().contains(VcpuFlags::DOWN) {
            return Err(Errno::EINVAL);
        }
        let mfn = self
            .domain
            .frame(&hv.machine, arg.mfn)
            .ok_or(Errno::EINVAL)?;
        let page = hv
            .mem
            .get_writable(mfn, self.domain.id)
            .map_err(|_| Errno::EINVAL)?;
        // Once only, whichever vCPU asks first: there is one reference to give back.
        if vcpu.info_registered.swap(true, Ordering::SeqCst) {
            return Err(Errno::EINVAL);
        }
        let new = VcpuInfo {
            mfn,
            first_word: arg.offset as usize / 8,
        };
        let words = new.all_words(&hv.machine);
        match vcpu.info() {
            Some(old) => {
                for (to, from) in words.iter().zip(old.all_words(&hv.machine)) {
                    to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
                }
            }
            None => {
                for word in words {
                    word.store(0, Ordering::Relaxed);
                }
                new.set_upcall_mask(&hv.machine, true);
            }
        }
        // The reference lives as long as the vCPU: released when the domain is destroyed.
        let _ = page.into_raw();
        vcpu.set_info(new);
        // Nothing that became pending around the move may be lost: make the guest look at everything.
        new.pending_sel(&hv.machine)
            .store(u64::MAX, Ordering::SeqCst);
        new.set_upcall_pending(&hv.machine);
        hv.publish_time(vcpu);
        Ok(())
    }
}
