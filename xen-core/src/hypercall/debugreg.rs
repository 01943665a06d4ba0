//! `set_debugreg` and `get_debugreg`.

use super::Call;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};
use crate::pv::debugreg;

impl<M: Machine> Call<'_, M> {
    pub(super) fn set_debugreg(&mut self, register: u32, value: u64) -> HypercallResult {
        debugreg::set(self.ctx, register, value)?;
        self.hv
            .machine
            .load_debug_regs(&debugreg::hardware_regs(self.ctx));
        Ok(Outcome::Done(0))
    }

    pub(super) fn get_debugreg(&mut self, register: u32) -> HypercallResult {
        Ok(Outcome::Done(debugreg::get(self.ctx, register)?))
    }
}

#[cfg(test)]
mod tests {
    use hypercall_abi::errno::Errno;
    use hypercall_abi::xen::HypercallNr;

    use crate::sim::{PvGuest, world};

    #[test]
    fn a_register_reads_back_and_reaches_the_processor() {
        let hv = world();
        let mut guest = PvGuest::unprivileged(&hv, 1, 32);
        let set = |guest: &mut PvGuest, register: u64, value| {
            guest.hypercall(
                &hv,
                HypercallNr::SET_DEBUGREG,
                [register, value, 0, 0, 0, 0],
            )
        };
        assert_eq!(set(&mut guest, 1, 0x4000), 0);
        // Upper garbage of the register number is cut off.
        assert_eq!(set(&mut guest, 7 | 1 << 32, 4), 0);
        assert_eq!(hv.machine.debug_regs(guest.cpu).addr[1], 0x4000);
        assert_eq!(hv.machine.debug_regs(guest.cpu).dr7, 0x404);
        let read = |guest: &mut PvGuest, register| {
            guest.hypercall(&hv, HypercallNr::GET_DEBUGREG, [register, 0, 0, 0, 0, 0])
        };
        assert_eq!(read(&mut guest, 1), 0x4000);
        assert_eq!(read(&mut guest, 7), 0x404);
        assert_eq!(read(&mut guest, 8), -i64::from(Errno::ENODEV as i32));
        assert_eq!(
            set(&mut guest, 0, 0xffff_8000_0000_0000),
            -i64::from(Errno::EPERM as i32)
        );
        assert_eq!(
            set(&mut guest, 6, 1 << 32),
            -i64::from(Errno::EINVAL as i32)
        );
    }
}
