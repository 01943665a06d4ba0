//! `event_channel_op`: binding, sending, masking.

use alloc::sync::Arc;

use hypercall_abi::errno::Errno;
use hypercall_abi::event_channel::{
    BIND_PIRQ__WILL_SHARE, EvtchnAllocUnbound, EvtchnBindInterdomain, EvtchnBindIpi,
    EvtchnBindPirq, EvtchnBindVcpu, EvtchnBindVirq, EvtchnClose, EvtchnExpandArray,
    EvtchnInitControl, EvtchnOp, EvtchnReset, EvtchnSend, EvtchnSetPriority, EvtchnStat,
    EvtchnStatus, EvtchnStatusInterdomain, EvtchnStatusU, EvtchnStatusUnbound, EvtchnUnmask,
    FIFO_LINK_BITS,
};
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::xen::DomId;

use super::Call;
use crate::domain::Domain;
use crate::evtchn::Binding;
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::num::{Mfn, Pirq, Port, VcpuId};
use crate::outcome::{HypercallResult, Outcome, Stop};

impl<M: Machine> Call<'_, M> {
    pub(super) fn event_channel_op(&mut self, cmd: u32, arg: GuestHandle<u8>) -> HypercallResult {
        let hv = self.hv;
        let machine = &hv.machine;
        if matches!(
            EvtchnOp(cmd),
            EvtchnOp::ALLOC_UNBOUND
                | EvtchnOp::BIND_INTERDOMAIN
                | EvtchnOp::BIND_VIRQ
                | EvtchnOp::BIND_IPI
                | EvtchnOp::BIND_PIRQ
                | EvtchnOp::INIT_CONTROL
                | EvtchnOp::EXPAND_ARRAY
        ) {
            // Ports are the hypervisor's memory.
            hv.check_heap()?;
        }
        match EvtchnOp(cmd) {
            EvtchnOp::SEND => {
                let op: EvtchnSend = machine.read(arg.cast())?;
                hv.send_event(self.domain, Port(op.port))?;
            }
            EvtchnOp::UNMASK => {
                let op: EvtchnUnmask = machine.read(arg.cast())?;
                hv.unmask_event(self.domain, Port(op.port))?;
            }
            EvtchnOp::ALLOC_UNBOUND => {
                let mut op: EvtchnAllocUnbound = machine.read(arg.cast())?;
                let target = self.controlled_domain(op.dom)?;
                let remote = self.numbered(op.remote_dom);
                op.port = hv.alloc_unbound(&target, remote)?.0;
                machine.write(arg.cast(), &op)?;
            }
            EvtchnOp::BIND_INTERDOMAIN => {
                let mut op: EvtchnBindInterdomain = machine.read(arg.cast())?;
                let remote = hv.domain(self.domain, op.remote_dom).ok_or(Errno::ESRCH)?;
                op.local_port = hv
                    .bind_interdomain(self.domain, &remote, Port(op.remote_port))?
                    .0;
                machine.write(arg.cast(), &op)?;
            }
            EvtchnOp::BIND_VIRQ => {
                let mut op: EvtchnBindVirq = machine.read(arg.cast())?;
                op.port = hv.bind_virq(self.domain, op.virq, VcpuId(op.vcpu))?.0;
                machine.write(arg.cast(), &op)?;
            }
            EvtchnOp::BIND_IPI => {
                let mut op: EvtchnBindIpi = machine.read(arg.cast())?;
                op.port = hv.bind_ipi(self.domain, VcpuId(op.vcpu))?.0;
                machine.write(arg.cast(), &op)?;
            }
            EvtchnOp::BIND_PIRQ => {
                let mut op: EvtchnBindPirq = machine.read(arg.cast())?;
                let share = op.flags & BIND_PIRQ__WILL_SHARE != 0;
                op.port = hv.bind_pirq(self.domain, Pirq(op.pirq), share)?.0;
                machine.write(arg.cast(), &op)?;
            }
            EvtchnOp::BIND_VCPU => {
                let op: EvtchnBindVcpu = machine.read(arg.cast())?;
                hv.bind_vcpu(self.domain, Port(op.port), VcpuId(op.vcpu))?;
            }
            EvtchnOp::CLOSE => {
                let op: EvtchnClose = machine.read(arg.cast())?;
                hv.close_port(self.domain, Port(op.port))?;
            }
            EvtchnOp::STATUS => {
                let mut op: EvtchnStatus = machine.read(arg.cast())?;
                self.port_status(&mut op)?;
                machine.write(arg.cast(), &op)?;
            }
            EvtchnOp::RESET | EvtchnOp::RESET_CONT => {
                let op: EvtchnReset = machine.read(arg.cast())?;
                return self.reset(op, EvtchnOp(cmd) == EvtchnOp::RESET_CONT, arg);
            }
            EvtchnOp::INIT_CONTROL => {
                let mut op: EvtchnInitControl = machine.read(arg.cast())?;
                op.link_bits = FIFO_LINK_BITS as u8;
                let frame = self
                    .domain
                    .frame(machine, op.control_gfn)
                    .unwrap_or(Mfn(u64::MAX));
                hv.init_control(self.domain, VcpuId(op.vcpu), frame, op.offset)?;
                machine.write(arg.cast(), &op)?;
            }
            EvtchnOp::EXPAND_ARRAY => {
                let op: EvtchnExpandArray = machine.read(arg.cast())?;
                let frame = self
                    .domain
                    .frame(machine, op.array_gfn)
                    .unwrap_or(Mfn(u64::MAX));
                hv.expand_array(self.domain, frame)?;
            }
            EvtchnOp::SET_PRIORITY => {
                let op: EvtchnSetPriority = machine.read(arg.cast())?;
                hv.set_port_priority(self.domain, Port(op.port), op.priority)?;
            }
            _ => return Err(Errno::ENOSYS.into()),
        }
        Ok(Outcome::Done(0))
    }

    /// The domain that the caller names and may act for: himself, or any for the control domain.
    fn controlled_domain(&self, id: DomId) -> Result<Arc<Domain>, Errno> {
        let target = self.hv.domain(self.domain, id).ok_or(Errno::ESRCH)?;
        if target.id == self.domain.id || self.domain.privileges.control {
            Ok(target)
        } else {
            Err(Errno::EPERM)
        }
    }

    /// A domain's number, with DOMID_SELF replaced by the caller's.
    fn numbered(&self, id: DomId) -> DomId {
        if id == DomId::SELF {
            self.domain.id
        } else {
            id
        }
    }

    fn port_status(&self, op: &mut EvtchnStatus) -> Result<(), Errno> {
        let target = self.hv.domain(self.domain, op.dom).ok_or(Errno::ESRCH)?;
        let port = self.hv.port_status(&target, Port(op.port))?;
        if target.id != self.domain.id && !self.domain.privileges.control {
            return Err(Errno::EPERM);
        }
        op.status = match port.binding {
            Binding::Free | Binding::Reserved => EvtchnStat::CLOSED,
            Binding::Unbound { remote } => {
                op.u.set_unbound(EvtchnStatusUnbound { dom: remote });
                EvtchnStat::UNBOUND
            }
            Binding::Interdomain(peer) => {
                op.u = EvtchnStatusU::from_interdomain(EvtchnStatusInterdomain {
                    dom: peer.id,
                    _pad: [0; 2],
                    port: peer.port.0,
                });
                EvtchnStat::INTERDOMAIN
            }
            Binding::Pirq(pirq) => {
                op.u.set_pirq(pirq.0);
                EvtchnStat::PIRQ
            }
            Binding::Virq(virq) => {
                op.u.set_virq(virq.0);
                EvtchnStat::VIRQ
            }
            Binding::Ipi => EvtchnStat::IPI,
        };
        op.vcpu = port.notify.0;
        Ok(())
    }

    fn reset(&self, op: EvtchnReset, resuming: bool, arg: GuestHandle<u8>) -> HypercallResult {
        let target = self.controlled_domain(op.dom)?;
        // Another domain must stand still, or it binds what was just closed.
        let paused = target
            .pause_count
            .load(core::sync::atomic::Ordering::SeqCst)
            != 0;
        if target.id != self.domain.id && !paused {
            return Err(Errno::EINVAL.into());
        }
        match self.hv.reset_events(&target, resuming) {
            Ok(()) => Ok(Outcome::Done(0)),
            // ABI: the continuation is a command of its own, so that a guest's second reset is told apart.
            Err(Stop::Preempted) => Ok(Outcome::Again([
                u64::from(EvtchnOp::RESET_CONT.0),
                arg.addr(),
                0,
                0,
                0,
                0,
            ])),
            Err(stop) => Err(stop),
        }
    }
}
