//! `kexec_op`: crash and replacement kernels (public header kexec.h).
//!
//! Memory for a crash kernel is set aside by `crashkernel=`, which this hypervisor does not have. So it answers as Xen
//! does without it: ranges are empty, no image is loaded, none can be, and there is nothing to start. A replacement
//! kernel (KEXEC_TYPE_DEFAULT), which Xen would load, finds no memory.

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::kexec::{
    KexecCmd, KexecExec, KexecLoad, KexecLoadV1, KexecRange, KexecRangeKind, KexecSegment,
    KexecStatus, KexecType, KexecUnload,
};

use super::Call;
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};

/// Most segments of an image.
const MAX_SEGMENTS: u32 = 16;

impl<M: Machine> Call<'_, M> {
    pub(super) fn kexec_op(&mut self, op: u32, arg: GuestHandle<u8>) -> HypercallResult {
        if !self.domain.privileges.control {
            return Err(Errno::EPERM.into());
        }
        let machine = &self.hv.machine;
        match KexecCmd(op) {
            KexecCmd::KEXEC_GET_RANGE => self.kexec_range(arg.cast())?,
            KexecCmd::KEXEC => {
                let exec: KexecExec = machine.read(arg.cast())?;
                kind(u8::try_from(exec.r#type).map_err(|_| Errno::EINVAL)?)?;
                return Err(Errno::ENOENT.into());
            }
            KexecCmd::KEXEC_LOAD => {
                let load: KexecLoad = machine.read(arg.cast())?;
                return Err(self.kexec_load(&load)?.into());
            }
            KexecCmd::KEXEC_LOAD_V1 => {
                let load: KexecLoadV1 = machine.read(arg.cast())?;
                let kind = kind(u8::try_from(load.r#type).map_err(|_| Errno::EINVAL)?)?;
                return Err(refusal(kind).into());
            }
            // There is nothing to unload, which is what was wanted.
            KexecCmd::KEXEC_UNLOAD => {
                let unload: KexecUnload = machine.read(arg.cast())?;
                kind(unload.r#type)?;
            }
            KexecCmd::KEXEC_UNLOAD_V1 => {
                let unload: KexecLoadV1 = machine.read(arg.cast())?;
                kind(u8::try_from(unload.r#type).map_err(|_| Errno::EINVAL)?)?;
            }
            KexecCmd::KEXEC_STATUS => {
                let status: KexecStatus = machine.read(arg.cast())?;
                kind(status.r#type)?;
            }
            _ => return Err(Errno::EINVAL.into()),
        }
        Ok(Outcome::Done(0))
    }

    fn kexec_range(&self, at: GuestHandle<KexecRange>) -> Result<(), Errno> {
        let machine = &self.hv.machine;
        let mut range: KexecRange = machine.read(at)?;
        match KexecRangeKind(range.range) {
            KexecRangeKind::MA_CRASH
            | KexecRangeKind::MA_XEN
            | KexecRangeKind::MA_XENHEAP
            | KexecRangeKind::MA_VMCOREINFO => {}
            // Notes of processors are made only for a crash kernel to read.
            KexecRangeKind::MA_CPU => {
                let known = u32::try_from(range.nr).is_ok_and(|nr| nr < self.nr_cpus());
                return Err(if known { Errno::EINVAL } else { Errno::ERANGE });
            }
            _ => return Err(Errno::EINVAL),
        }
        (range.start, range.size) = (0, 0);
        machine.write(at, &range)
    }

    /// Why an image cannot be loaded.
    fn kexec_load(&self, load: &KexecLoad) -> Result<Errno, Errno> {
        let kind = kind(load.r#type)?;
        if load.nr_segments >= MAX_SEGMENTS {
            return Err(Errno::EINVAL);
        }
        for segment in 0..load.nr_segments {
            let _: KexecSegment = self
                .hv
                .machine
                .read_at(load.segments.as_h(), segment.into())?;
        }
        Ok(refusal(kind))
    }
}

/// The kind of image.
fn kind(value: u8) -> Result<KexecType, Errno> {
    match KexecType(value) {
        known @ (KexecType::DEFAULT | KexecType::CRASH) => Ok(known),
        _ => Err(Errno::EINVAL),
    }
}

/// A crash kernel must lie in the memory set aside for it, of which there is none.
const fn refusal(kind: KexecType) -> Errno {
    match kind {
        KexecType::CRASH => Errno::EADDRNOTAVAIL,
        _ => Errno::ENOMEM,
    }
}

#[cfg(test)]
mod tests {
    use hypercall_abi::xen::HypercallNr;
    use zerocopy::{FromZeros, Immutable, IntoBytes};

    use super::*;
    use crate::num::Pfn;
    use crate::sim::{PvGuest, world};

    #[test]
    fn nothing_can_be_loaded_and_nothing_is() {
        let hv = world();
        let mut dom0 = PvGuest::dom0(&hv, 64);
        let mut raw = |op: KexecCmd, addr: u64| {
            let args = [op.0.into(), addr, 0, 0, 0, 0];
            dom0.hypercall(&hv, HypercallNr::KEXEC_OP, args)
        };
        assert_eq!(raw(KexecCmd::KEXEC_GET_RANGE, 0), Errno::EFAULT.to_ret());
        assert_eq!(raw(KexecCmd(99), 0), Errno::EINVAL.to_ret());

        fn call<T: IntoBytes + Immutable>(
            hv: &crate::hypervisor::Hypervisor<crate::sim::SimMachine>,
            dom0: &mut PvGuest,
            op: KexecCmd,
            arg: &T,
        ) -> i64 {
            let addr = dom0.put(hv, Pfn(1), arg);
            let args = [op.0.into(), addr, 0, 0, 0, 0];
            dom0.hypercall(hv, HypercallNr::KEXEC_OP, args)
        }
        let mut range = KexecRange::new_zeroed();
        (range.start, range.size) = (7, 7);
        assert_eq!(call(&hv, &mut dom0, KexecCmd::KEXEC_GET_RANGE, &range), 0);
        assert_eq!(dom0.load(&hv, dom0.va(Pfn(1)) + 8), Ok(0));
        range.range = KexecRangeKind::MA_CPU.0;
        for (nr, errno) in [(0, Errno::EINVAL), (1, Errno::ERANGE), (-1, Errno::ERANGE)] {
            range.nr = nr;
            assert_eq!(
                call(&hv, &mut dom0, KexecCmd::KEXEC_GET_RANGE, &range),
                errno.to_ret()
            );
        }
        range.range = 99;
        assert_eq!(
            call(&hv, &mut dom0, KexecCmd::KEXEC_GET_RANGE, &range),
            Errno::EINVAL.to_ret()
        );
        let mut load = KexecLoad::new_zeroed();
        load.r#type = KexecType::CRASH.0;
        assert_eq!(
            call(&hv, &mut dom0, KexecCmd::KEXEC_LOAD, &load),
            Errno::EADDRNOTAVAIL.to_ret()
        );
        load.nr_segments = 1;
        assert_eq!(
            call(&hv, &mut dom0, KexecCmd::KEXEC_LOAD, &load),
            Errno::EFAULT.to_ret()
        );
        load.nr_segments = 16;
        assert_eq!(
            call(&hv, &mut dom0, KexecCmd::KEXEC_LOAD, &load),
            Errno::EINVAL.to_ret()
        );
        for (kind, status, exec) in [(0u8, 0, Errno::ENOENT), (1, 0, Errno::ENOENT)] {
            let arg = KexecStatus { r#type: kind };
            assert_eq!(call(&hv, &mut dom0, KexecCmd::KEXEC_STATUS, &arg), status);
            assert_eq!(call(&hv, &mut dom0, KexecCmd::KEXEC_UNLOAD, &arg), 0);
            let arg = KexecExec {
                r#type: kind.into(),
            };
            assert_eq!(call(&hv, &mut dom0, KexecCmd::KEXEC, &arg), exec.to_ret());
        }
        let arg = KexecStatus { r#type: 2 };
        assert_eq!(
            call(&hv, &mut dom0, KexecCmd::KEXEC_STATUS, &arg),
            Errno::EINVAL.to_ret()
        );
        let mut guest = PvGuest::unprivileged(&hv, 3, 32);
        assert_eq!(
            call(&hv, &mut guest, KexecCmd::KEXEC_STATUS, &arg),
            Errno::EPERM.to_ret()
        );
    }
}
