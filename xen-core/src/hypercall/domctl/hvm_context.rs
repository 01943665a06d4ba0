//! XEN_DOMCTL_gethvmcontext and its relatives: the state of a guest that runs in hardware, as a sequence of records.

use alloc::sync::Arc;
use alloc::vec::Vec;

use hypercall_abi::arch_x86::hvm::save::{
    FILE_MAGIC, FILE_VERSION, HvmHwCpu, HvmHwLapic, HvmHwLapicRegs, HvmHwMtrr, HvmSaveCode,
    HvmSaveHeader, HvmTscAdjust, HvmVmceVcpu,
};
use hypercall_abi::domctl::{DomctlHvmcontext, DomctlHvmcontextPartial};
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::hvm::save::HvmSaveDescriptor;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::Call;
use crate::domain::{Domain, Vcpu, VcpuFlags};
use crate::guest::GuestAccess;
use crate::hvm::record;
use crate::machine::{CpuidLeaf, Machine};
use crate::num::VcpuId;
use crate::outcome::Stop;
use crate::pv::emulate::msr::machine_check_capabilities;

/// Bytes of the CPU record without its last two fields, as older hypervisors wrote it.
const OLD_CPU_SIZE: usize = 1024;
/// The longest sequence that is taken.
const MAX_SIZE: u32 = 1 << 20;

/// Records of a domain.
struct Records(Vec<u8>);

impl Records {
    fn add<T: IntoBytes + Immutable>(&mut self, code: HvmSaveCode, instance: u32, body: &T) {
        let head = HvmSaveDescriptor {
            typecode: code,
            instance: instance as u16,
            length: size_of::<T>() as u32,
        };
        self.0.extend_from_slice(head.as_bytes());
        self.0.extend_from_slice(body.as_bytes());
    }
}

fn header(cpuid: CpuidLeaf, khz: u64) -> HvmSaveHeader {
    let mut header = HvmSaveHeader::new_zeroed();
    header.magic = FILE_MAGIC;
    header.version = FILE_VERSION;
    header.cpuid = cpuid.a;
    header.gtsc_khz = u32::try_from(khz).unwrap_or(u32::MAX);
    header
}

impl<M: Machine> Call<'_, M> {
    /// All records of a domain at rest.
    fn records(&self, target: &Arc<Domain>) -> Result<Vec<u8>, Stop> {
        let machine = &self.hv.machine;
        let mut out = Records(Vec::new());
        let signature = machine.cpuid(1, 0);
        out.add(
            HvmSaveCode::HEADER,
            0,
            &header(signature, machine.tsc_khz()),
        );
        let (now, tsc) = (machine.now_ns(), machine.tsc());
        let vmce = HvmVmceVcpu {
            caps: machine_check_capabilities(&target.cpu_policy()),
            ..HvmVmceVcpu::new_zeroed()
        };
        for vcpu in target.vcpus() {
            let parked = vcpu.parked.lock();
            let ctx = parked.as_deref().ok_or(Stop::Preempted)?;
            let hvm = ctx.hvm.as_deref().ok_or(Errno::EINVAL)?;
            let id = vcpu.id.0;
            if !vcpu.flags().contains(VcpuFlags::DOWN) {
                out.add(HvmSaveCode::CPU, id, &record::save_cpu(ctx, hvm, tsc));
            }
            out.add(HvmSaveCode::LAPIC, id, &hvm.lapic.save());
            out.add(HvmSaveCode::LAPIC_REGS, id, &hvm.lapic.save_regs(now));
            out.add(HvmSaveCode::MTRR, id, &hvm.mtrr.save());
            out.add(HvmSaveCode::VMCE_VCPU, id, &vmce);
            let adjust = HvmTscAdjust {
                tsc_adjust: hvm.tsc_adjust,
            };
            out.add(HvmSaveCode::TSC_ADJUST, id, &adjust);
        }
        let end = HvmSaveDescriptor {
            typecode: HvmSaveCode::END,
            instance: 0,
            length: 0,
        };
        out.0.extend_from_slice(end.as_bytes());
        Ok(out.0)
    }

    pub(super) fn get_hvm_context(
        &self,
        target: &Arc<Domain>,
        at: GuestHandle<DomctlHvmcontext>,
        mut arg: DomctlHvmcontext,
    ) -> Result<(), Stop> {
        self.check_translated(target)?;
        let records = self.hv.at_rest(target, || self.records(target))?;
        let size = u32::try_from(records.len()).map_err(|_| Errno::ENOMEM)?;
        if !arg.buffer.is_null() {
            if arg.size < size {
                return Err(Errno::ENOSPC.into());
            }
            self.hv.machine.write_bytes(arg.buffer.addr(), &records)?;
        }
        arg.size = size;
        self.hv.machine.write(at, &arg)?;
        Ok(())
    }

    fn check_translated(&self, target: &Domain) -> Result<(), Errno> {
        if target.id == self.domain.id || !target.is_translated() {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    pub(super) fn get_hvm_record(
        &self,
        target: &Arc<Domain>,
        at: GuestHandle<DomctlHvmcontextPartial>,
        mut arg: DomctlHvmcontextPartial,
    ) -> Result<(), Stop> {
        self.check_translated(target)?;
        let records = self.hv.at_rest(target, || self.records(target))?;
        let wanted = |head: &HvmSaveDescriptor| {
            u32::from(head.typecode.0) == arg.r#type && u32::from(head.instance) == arg.instance
        };
        let body = Reader(&records)
            .find(|(head, _)| wanted(head))
            .map(|(_, body)| body)
            .ok_or(Errno::ENOENT)?;
        if !arg.buffer.is_null() {
            if arg.bufsz < body.len() as u64 {
                return Err(Errno::ENOSPC.into());
            }
            self.hv.machine.write_bytes(arg.buffer.addr(), body)?;
        }
        arg.bufsz = body.len() as u64;
        self.hv.machine.write(at, &arg)?;
        Ok(())
    }

    pub(super) fn set_hvm_context(
        &self,
        target: &Arc<Domain>,
        arg: DomctlHvmcontext,
    ) -> Result<(), Stop> {
        self.check_translated(target)?;
        if arg.size > MAX_SIZE {
            return Err(Errno::ENOMEM.into());
        }
        let mut bytes = alloc::vec![0; arg.size as usize];
        self.hv.machine.read_bytes(arg.buffer.addr(), &mut bytes)?;
        check_order(&bytes)?;
        self.hv.at_rest(target, || {
            // Every vCPU is down until its record says otherwise.
            for vcpu in target.vcpus() {
                vcpu.set_flags(VcpuFlags::DOWN);
                vcpu.clear_flags(VcpuFlags::INITIALISED | VcpuFlags::BLOCKED);
            }
            for (head, body) in Reader(&bytes) {
                self.load_record(target, &head, body)?;
            }
            Ok(())
        })
    }

    fn load_record(
        &self,
        target: &Arc<Domain>,
        head: &HvmSaveDescriptor,
        body: &[u8],
    ) -> Result<(), Stop> {
        match head.typecode {
            HvmSaveCode::HEADER => return Ok(()),
            HvmSaveCode::CPU
            | HvmSaveCode::LAPIC
            | HvmSaveCode::LAPIC_REGS
            | HvmSaveCode::MTRR
            | HvmSaveCode::VMCE_VCPU
            | HvmSaveCode::TSC_ADJUST => {}
            _ => return Err(Errno::EINVAL.into()),
        }
        let vcpu = target
            .vcpu(VcpuId(head.instance.into()))
            .ok_or(Errno::EINVAL)?;
        {
            let mut parked = vcpu.parked.lock();
            let ctx = parked.as_deref_mut().ok_or(Stop::Preempted)?;
            let mut hvm = ctx.hvm.take().ok_or(Errno::EINVAL)?;
            let result = self.load_into(target, ctx, &mut hvm, head.typecode, body);
            self.hv.publish_lapic(vcpu, &hvm);
            if let Some(mailbox) = vcpu.hvm.as_deref() {
                mailbox
                    .tsc_offset
                    .store(hvm.state.tsc_offset, core::sync::atomic::Ordering::SeqCst);
            }
            ctx.hvm = Some(hvm);
            result?;
        }
        if head.typecode == HvmSaveCode::CPU {
            go_online(vcpu);
            self.hv.publish_time(vcpu);
        }
        Ok(())
    }

    fn load_into(
        &self,
        target: &Domain,
        ctx: &mut crate::domain::VcpuCtx,
        hvm: &mut crate::hvm::HvmVcpu,
        code: HvmSaveCode,
        body: &[u8],
    ) -> Result<(), Errno> {
        let machine = &self.hv.machine;
        let policy = target.cpu_policy();
        match code {
            HvmSaveCode::CPU => {
                let mut whole = [0; size_of::<HvmHwCpu>()];
                if body.len() != whole.len() && body.len() != OLD_CPU_SIZE {
                    return Err(Errno::EINVAL);
                }
                whole[..body.len()].copy_from_slice(body);
                let record: HvmHwCpu = zerocopy::transmute!(whole);
                record::load_cpu(ctx, hvm, &policy, &record, machine.tsc())
            }
            HvmSaveCode::LAPIC => hvm.lapic.load(&whole::<HvmHwLapic>(body)?),
            HvmSaveCode::LAPIC_REGS => {
                let record = whole::<HvmHwLapicRegs>(body)?;
                hvm.lapic.load_regs(&record, machine.now_ns());
                Ok(())
            }
            HvmSaveCode::MTRR => {
                hvm.mtrr.load(&whole::<HvmHwMtrr>(body)?)?;
                hvm.state.pat = hvm.mtrr.pat();
                Ok(())
            }
            HvmSaveCode::TSC_ADJUST => {
                hvm.tsc_adjust = whole::<HvmTscAdjust>(body)?.tsc_adjust;
                Ok(())
            }
            _ => whole::<HvmVmceVcpu>(body).map(drop),
        }
    }
}

/// The vCPU has its state.
fn go_online(vcpu: &Vcpu) {
    vcpu.set_flags(VcpuFlags::INITIALISED);
    vcpu.clear_flags(VcpuFlags::DOWN);
}

fn whole<T: FromBytes>(body: &[u8]) -> Result<T, Errno> {
    T::read_from_bytes(body).map_err(|_| Errno::EINVAL)
}

/// Whether the sequence begins with a header of ours and has an end.
fn check_order(bytes: &[u8]) -> Result<(), Errno> {
    let (first, body) = Reader(bytes).next().ok_or(Errno::ENODATA)?;
    if first.typecode != HvmSaveCode::HEADER {
        return Err(Errno::ENODATA);
    }
    let header: HvmSaveHeader = whole(body)?;
    if header.magic != FILE_MAGIC || header.version != FILE_VERSION {
        return Err(Errno::EINVAL);
    }
    let mut reader = Reader(bytes);
    while reader.next().is_some() {}
    let end = HvmSaveDescriptor::read_from_prefix(reader.0).map(|(head, _)| head);
    if end.is_ok_and(|head| head.typecode == HvmSaveCode::END) {
        Ok(())
    } else {
        Err(Errno::ENODATA)
    }
}

/// Records up to the end.
struct Reader<'b>(&'b [u8]);

impl<'b> Iterator for Reader<'b> {
    type Item = (HvmSaveDescriptor, &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = HvmSaveDescriptor::read_from_prefix(self.0).ok()?;
        if head.typecode == HvmSaveCode::END {
            return None;
        }
        let (body, rest) = rest.split_at_checked(head.length as usize)?;
        self.0 = rest;
        Some((head, body))
    }
}
