//! Which door a number leads to, and with which argument widths.

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::HypercallNr;

use super::{Args, Call};
use crate::machine::Machine;
use crate::outcome::HypercallResult;

impl<M: Machine> Call<'_, M> {
    /// Calls the handler of hypercall `nr`. An unknown number is `ENOSYS`.
    pub(super) fn route(&mut self, nr: HypercallNr, a: Args) -> HypercallResult {
        use HypercallNr as H;
        match nr {
            H::SET_TRAP_TABLE => self.set_trap_table(a.handle(0)),
            H::MMU_UPDATE => self.mmu_update(a.handle(0), a.uint(1), a.handle(2), a.uint(3)),
            H::SET_GDT => self.set_gdt(a.handle(0), a.uint(1)),
            H::STACK_SWITCH => self.stack_switch(a.ulong(0), a.ulong(1)),
            H::SET_CALLBACKS => self.set_callbacks(a.ulong(0), a.ulong(1), a.ulong(2)),
            H::FPU_TASKSWITCH => self.fpu_taskswitch(a.uint(0)),
            H::PLATFORM_OP => self.platform_op(a.handle(0)),
            H::SET_DEBUGREG => self.set_debugreg(a.uint(0), a.ulong(1)),
            H::GET_DEBUGREG => self.get_debugreg(a.uint(0)),
            H::UPDATE_DESCRIPTOR => self.update_descriptor(a.ulong(0), a.ulong(1)),
            H::MEMORY_OP => self.memory_op(a.ulong(0), a.handle(1)),
            H::MULTICALL => self.multicall(a.handle(0), a.uint(1)),
            H::UPDATE_VA_MAPPING => self.update_va_mapping(a.ulong(0), a.ulong(1), a.ulong(2)),
            H::SET_TIMER_OP => self.set_timer_op(a.ulong(0)),
            H::XEN_VERSION => self.xen_version(a.uint(0), a.handle(1)),
            H::CONSOLE_IO => self.console_io(a.uint(0), a.uint(1), a.handle(2)),
            H::GRANT_TABLE_OP => self.grant_table_op(a.uint(0), a.handle(1), a.uint(2)),
            H::VM_ASSIST => self.vm_assist(a.uint(0), a.uint(1)),
            H::UPDATE_VA_MAPPING_OTHERDOMAIN => {
                self.update_va_mapping_otherdomain(a.ulong(0), a.ulong(1), a.ulong(2), a.uint(3))
            }
            H::IRET => self.iret(),
            H::VCPU_OP => self.vcpu_op(a.uint(0), a.uint(1), a.ulong(2)),
            H::SET_SEGMENT_BASE => self.set_segment_base(a.uint(0), a.ulong(1)),
            H::MMUEXT_OP => self.mmuext_op(a.handle(0), a.uint(1), a.handle(2), a.uint(3)),
            H::NMI_OP => self.nmi_op(a.uint(0), a.handle(1)),
            H::SCHED_OP => self.sched_op(a.uint(0), a.ulong(1)),
            H::CALLBACK_OP => self.callback_op(a.uint(0), a.ulong(1)),
            H::EVENT_CHANNEL_OP => self.event_channel_op(a.uint(0), a.handle(1)),
            H::PHYSDEV_OP => self.physdev_op(a.uint(0), a.handle(1)),
            H::SYSCTL => self.sysctl(a.handle(0)),
            H::DOMCTL => self.domctl(a.handle(0)),
            H::ARCH_0 => self.mca(a.handle(0)),
            H::KEXEC_OP => self.kexec_op(a.uint(0), a.handle(1)),
            H::HVM_OP => self.hvm_op(a.uint(0), a.handle(1)),
            _ => Err(Errno::ENOSYS.into()),
        }
    }
}

/// How many argument registers hypercall `nr` has. A continuation changes no others: a guest may keep values of its own
/// in registers that the call does not use.
#[must_use]
pub(super) const fn argument_count(nr: HypercallNr) -> usize {
    use HypercallNr as H;
    match nr {
        H::SET_TRAP_TABLE
        | H::PLATFORM_OP
        | H::SET_TIMER_OP
        | H::ARCH_0
        | H::DOMCTL
        | H::SYSCTL => 1,
        H::SET_GDT
        | H::STACK_SWITCH
        | H::MEMORY_OP
        | H::MULTICALL
        | H::XEN_VERSION
        | H::SCHED_OP
        | H::EVENT_CHANNEL_OP
        | H::KEXEC_OP
        | H::HVM_OP
        | H::PHYSDEV_OP => 2,
        H::UPDATE_VA_MAPPING | H::CONSOLE_IO | H::GRANT_TABLE_OP | H::VCPU_OP => 3,
        H::MMU_UPDATE | H::MMUEXT_OP | H::UPDATE_VA_MAPPING_OTHERDOMAIN => 4,
        _ => 5,
    }
}
